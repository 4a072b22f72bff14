"""Pictures of models and runs: matplotlib Axes in, the same Axes out.

Every function draws on ``ax`` when given, otherwise on a new figure, and returns the Axes for further work; saving is
the caller's (``ax.figure.savefig(...)``). Colours are those of Okabe and Ito, told apart with any colour vision; what
colour separates, a marker or a line style separates as well. matplotlib is imported when something is drawn.
"""

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.moments import get_spins, magnetic_mask

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def parity(reference, predicted, *, label, unit, groups=None, ax=None):
    """Predicted against reference values, the RMSE of every group in the legend, the residuals in a strip below.

    The first group is drawn on top.
    reference, predicted: arrays of one shape, flattened.
    label, unit: what the values are; the axis label reads "reference ``label`` (``unit``)".
    groups: sequence of names, one per value (after flattening), or None for one group.
    Raises InputError when the shapes differ or nothing is there to draw.
    """
    reference, predicted = np.asarray(reference, float), np.asarray(predicted, float)
    if reference.shape != predicted.shape or reference.size == 0:
        raise InputError(
            f"reference and predicted values must have one shape and at least one value, got {reference.shape} and "
            f"{predicted.shape}: give the prediction for every reference value"
        )
    reference, predicted = reference.ravel(), predicted.ravel()
    groups = np.full(reference.size, "") if groups is None else np.asarray(groups)
    if groups.shape != reference.shape:
        raise InputError(f"groups must name each of the {reference.size} values, got {groups.size} names")
    ax = _axes(ax)
    residuals = _strip_below(ax)
    for k, group in enumerate(dict.fromkeys(groups.tolist())):
        chosen = groups == group
        error = predicted[chosen] - reference[chosen]
        style = {**_style(k), "zorder": 3 - 0.1 * k}
        name = f"{group}: " if group else ""
        rmse = f"{name}RMSE {np.sqrt(np.mean(error**2)):.3g} {unit}"
        ax.plot(reference[chosen], predicted[chosen], ls="", ms=4, alpha=0.7, label=rmse, **style)
        residuals.plot(reference[chosen], error, ls="", ms=3, alpha=0.7, **style)
    ax.axline((reference[0], reference[0]), slope=1, color="0.5", lw=0.8, zorder=0)
    residuals.axhline(0, color="0.5", lw=0.8, zorder=0)
    residuals.set(xlabel=f"reference {label} ({unit})", ylabel="residual")
    ax.set(ylabel=f"predicted {label} ({unit})")
    ax.legend(loc="upper left", fontsize="small")
    return ax


def energy_drift(times, energies, *, ax=None):
    """Total energy about its first value, with the fitted drift and its standard error in the legend.

    The error is taken from the scatter of the means of up to ten stretches of the run about the line, as neighbouring
    values are correlated; a drift within twice its error is none that this run can tell.

    times: (n,) in ps; energies: (n,) total energy in meV per atom.
    Raises InputError for fewer than three points.
    """
    times, energies = _series(times, energies, least=3)
    ax = _axes(ax)
    change = energies - energies[0]
    slope, offset, error = _drift(times, change)
    ax.plot(times, change, color=COLOURS[0], lw=1, label="total energy")
    label = f"drift {slope:.3f} $\\pm$ {error:.3f} meV/atom/ps"
    ax.plot(times, offset + slope * times, color=COLOURS[1], ls="--", lw=1.5, label=label)
    ax.set(xlabel="time (ps)", ylabel="change of total energy (meV/atom)")
    ax.legend(fontsize="small")
    return ax


def magnetisation_and_temperatures(times, magnetisation, lattice, spins, *, target=None, electrons=None, axes=None):
    """Magnetisation above, the temperatures below, against time.

    times: (n,) in ps; magnetisation: (n,) length of the mean moment in mu_B; lattice, spins: (n,) temperatures in K.
    target: bath temperature in K, one number or (n,), drawn as a line.
    electrons: (n,) temperatures of the electrons in K.
    axes: two Axes, or None for a new figure. Returns both.
    Raises InputError when the lengths differ or fewer than two points are given.
    """
    times, magnetisation = _series(times, magnetisation)
    if axes is None:
        axes = _pyplot().subplots(2, 1, sharex=True, layout="constrained", figsize=(6.4, 6.0))[1]
    upper, lower = axes
    upper.plot(times, magnetisation, color=COLOURS[0], lw=1.2)
    upper.set(ylabel=r"magnetisation ($\mu_B$/atom)")
    lower.plot(times, _series(times, lattice)[1], color=COLOURS[1], lw=1.2, label="lattice")
    lower.plot(times, _series(times, spins)[1], color=COLOURS[2], lw=1.2, ls="--", label="spins")
    if electrons is not None:
        lower.plot(times, _series(times, electrons)[1], color=COLOURS[3], lw=1.2, ls=":", label="electrons", zorder=1)
    if target is not None:
        bath = _series(times, np.broadcast_to(target, times.shape))[1]
        lower.plot(times, bath, color="0.5", lw=0.8, zorder=0, label="bath")
    lower.set(xlabel="time (ps)", ylabel="temperature (K)")
    lower.legend(fontsize="small")
    return axes


def error_against_angle(angles, errors, *, label, unit, bins=9, ax=None):
    """Absolute errors against an angle between spins, with the RMSE of each of ``bins`` equal ranges.

    angles: (n,) in degrees, 0 to 180; errors: (n,) predicted minus reference.
    Raises InputError when the lengths differ or fewer than two points are given.
    """
    angles, errors = _series(angles, errors)
    ax = _axes(ax)
    ax.plot(angles, np.abs(errors), ls="", ms=3, alpha=0.4, label="each value", **_style(5))
    edges = np.linspace(0, 180, bins + 1)
    number = np.clip(np.digitize(angles, edges) - 1, 0, bins - 1)
    filled = np.unique(number)
    rmse = [np.sqrt(np.mean(errors[number == k] ** 2)) for k in filled]
    ax.plot((edges[filled] + edges[filled + 1]) / 2, rmse, ms=6, lw=1.5, label="RMSE of the range", **_style(1))
    ax.set(xlabel="angle between spins (degrees)", ylabel=f"error of {label} ({unit})", xlim=(0, 180))
    ax.legend(fontsize="small")
    return ax


def calibration(errors, standard_deviations, *, label, unit, ax=None):
    """Absolute errors against predicted standard deviations, with the RMSE of ranges of equal count on top.

    On the diagonal errors are as large as predicted, above it the model is too bold, below it too modest. Bars are
    standard errors for independent normal errors, RMSE / sqrt(2 n). The legend tells the root mean square of the
    z-scores, errors over standard deviations, which should be one.

    errors: array of predicted minus reference values, flattened.
    standard_deviations: array of the same shape, above zero.
    label, unit: what the values are.
    Raises InputError when the shapes differ, nothing is there to draw, or a standard deviation is not above zero.
    """
    errors, predicted = np.asarray(errors, float), np.asarray(standard_deviations, float)
    if errors.shape != predicted.shape or errors.size == 0 or not np.all(predicted > 0):
        raise InputError(
            f"errors and standard deviations must have one shape and at least one value, and the latter be above "
            f"zero, got shapes {errors.shape} and {predicted.shape}: leave out atoms without a prediction"
        )
    from matplotlib.ticker import LogLocator, NullFormatter

    errors, predicted = np.abs(errors.ravel()), predicted.ravel()
    score = np.sqrt(np.mean((errors / predicted) ** 2))
    parts = np.array_split(np.argsort(predicted), np.clip(len(errors) // 20, 1, 10))
    expected = np.array([np.sqrt(np.mean(predicted[part] ** 2)) for part in parts])
    observed = np.array([np.sqrt(np.mean(errors[part] ** 2)) for part in parts])
    bars = observed / np.sqrt(2 * np.array([len(part) for part in parts]))
    ax = _axes(ax)
    shown = errors > 0  # on a logarithmic axis
    ax.plot(predicted[shown], errors[shown], ls="", ms=3, alpha=0.3, zorder=1, label="each value", **_style(5))
    ax.errorbar(expected, observed, bars, ms=6, lw=1.5, capsize=3, label=f"RMSE, z-scores {score:.2f}", **_style(1))
    ax.axline((1.0, 1.0), (2.0, 2.0), color="0.5", lw=0.8, zorder=0)
    low = min(observed.min(), expected[0])
    ax.set(xscale="log", xlim=(0.3 * expected[0], 1.5 * predicted.max()))
    ax.set(yscale="log", ylim=(0.1 * low, 1.5 * max(errors.max(), predicted.max())))
    ax.set(xlabel=f"predicted error of {label} ({unit})", ylabel=f"error ({unit})")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    ax.legend(loc="lower right", fontsize="small")
    return ax


def spin_texture(atoms, *, ax=None, colorbar=True):
    """Magnetic atoms seen from +z: colour says how far a spin points up or down, the arrow its part in the plane.

    atoms: frame with moments; atoms without one are left out.
    colorbar: draw the scale of the colours beside the picture.
    Raises InputError when no atom has a moment.
    """
    magnetic = magnetic_mask(atoms)
    if not magnetic.any():
        raise InputError("Expected a frame with moments to draw, got none above zero: set them with set_moments.")
    from matplotlib.collections import EllipseCollection
    from scipy.spatial import cKDTree

    ax = _axes(ax)
    places, spins = atoms.positions[magnetic, :2], get_spins(atoms)[magnetic]
    apart = np.median(cKDTree(places).query(places, 2)[0][:, 1]) if len(places) > 1 else 1.0
    size = np.full(len(places), apart)
    where = {"offsets": places, "offset_transform": ax.transData, "units": "xy"}
    discs = EllipseCollection(size, size, 0 * size, cmap="RdBu", **where)
    discs.set(array=spins[:, 2], clim=(-1, 1), alpha=0.8, linewidth=0)
    ax.add_collection(discs)
    arrows = {"pivot": "mid", "angles": "xy", "units": "xy", "scale_units": "xy", "scale": 1 / apart, "minlength": 0}
    ax.quiver(*places.T, *spins[:, :2].T, width=0.1 * apart, color="black", **arrows)
    ax.set(xlabel="x (Å)", ylabel="y (Å)", aspect="equal")
    if colorbar:
        ax.figure.colorbar(discs, ax=ax, label="$e_z$", shrink=0.85)
    return ax


def energy_path(path, *, ax=None):
    """Energy along a path between two magnetic states: images, the curve through them, the barrier in the legend.

    path: :class:`ase_spinml.landscape.path.EnergyPath`, as from ``SpinNEB.path()``.
    """
    ax = _axes(ax)
    start = path.energies[0]
    x, energy = path.curve()
    ax.plot(x, 1e3 * (energy - start), color=COLOURS[0], lw=1.5, label=f"barrier {1e3 * path.barrier():.2f} meV")
    ax.plot(path.coordinates, 1e3 * (path.energies - start), ls="", ms=5, label="images", **_style(1))
    ax.axhline(0, color="0.5", lw=0.8, zorder=0)
    ax.set(xlabel="geodesic distance (rad)", ylabel="energy above the first state (meV)")
    ax.legend(fontsize="small")
    return ax


def _drift(times, values):
    """Slope, offset and standard error of the slope of the line through the means of up to ten stretches."""
    x, y = (
        np.array([part.mean() for part in np.array_split(series, min(10, len(series)))]) for series in (times, values)
    )
    slope, offset = np.polyfit(x, y, 1)
    residual = y - offset - slope * x
    return slope, offset, np.sqrt(np.sum(residual**2) / (len(x) - 2) / np.sum((x - x.mean()) ** 2))


def _pyplot():
    import matplotlib.pyplot as plt

    return plt


def _axes(ax):
    return _pyplot().subplots(layout="constrained")[1] if ax is None else ax


def _strip_below(ax):
    """New Axes in the lower quarter of the subplot ``ax``, which shrinks to the rest."""
    rows = ax.get_subplotspec().subgridspec(2, 1, height_ratios=(3, 1))
    ax.set_subplotspec(rows[0])
    ax.tick_params(labelbottom=False)
    return ax.figure.add_subplot(rows[1], sharex=ax)


def _style(k):
    return {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}


def _series(x, y, least=2):
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape != y.shape or x.ndim != 1 or len(x) < least:
        raise InputError(
            f"two series of one length, at least {least} points, are needed, got shapes {x.shape} and {y.shape}"
        )
    return x, y
