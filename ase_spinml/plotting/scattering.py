"""Spin waves and correlations in reciprocal space."""

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.plotting.style import COLOURS, canvas

DECADES = 1e4
"""Highest over lowest intensity that a map of S(q, omega) tells apart."""


def magnon_bands(
    distances, energies, *, ticks=(), labels=(), intensity=None, measured=None, unit="meV", colorbar=True, ax=None
):
    """Magnon energies along a path through the Brillouin zone, over a map of S(q, omega) where there is one.

    Parameters
    ----------
    distances : (n,) array
        Along the path, in any unit.
    energies : (n, bands) or (n,) array
        In ``unit``.
    ticks, labels : sequences of one length
        Distances and names of the special points.
    intensity : tuple of (w,) array and (w, n) array, optional
        Energies in ``unit`` and the map, of which four decades are shown.
    measured : tuple of two or three (p,) arrays, optional
        Distances and energies of points, and the errors of the energies.
    unit : str
        Of energies.
    colorbar : bool
        Draw the scale of the map beside the picture.
    ax : matplotlib Axes, optional
        A new figure by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        Shapes that do not fit, a map without values above zero.
    """
    distances, energies = np.asarray(distances, float), np.atleast_2d(np.asarray(energies, float).T).T
    if distances.ndim != 1 or energies.ndim != 2 or len(energies) != len(distances) or len(ticks) != len(labels):
        raise InputError(
            f"Expected distances (n,), energies (n, bands) and a label for every tick, got {distances.shape}, "
            f"{energies.shape}, {len(ticks)} ticks and {len(labels)} labels."
        )
    ax = canvas(ax)
    if intensity is not None:
        _draw_intensity(ax, distances, *map(np.asarray, intensity), colorbar)
    lines = ax.plot(distances, energies, color=COLOURS[0] if intensity is None else COLOURS[4], lw=1.5)
    lines[0].set_label("spin-wave theory")
    if measured is not None:
        x, y, *bars = map(np.asarray, measured)
        style = {"color": COLOURS[1], "marker": "s", "ms": 5, "mec": "white", "ls": "", "capsize": 2}
        ax.errorbar(x, y, *bars, label="measured", zorder=3, **style)
    for tick in ticks:
        ax.axvline(tick, color="0.5", lw=0.8, zorder=1)
    if len(ticks):
        ax.set_xticks(ticks, labels)
    ax.set(xlabel="wave vector", ylabel=f"energy ({unit})", xlim=(distances[0], distances[-1]))
    ax.set_ylim(bottom=min(0.0, np.nanmin(energies)))
    if measured is not None or intensity is not None:
        ax.legend(fontsize="small")
    return ax


def structure_factor(qx, qy, intensity, *, unit="1/Å", logarithmic=False, colorbar=True, ax=None):
    """Map of the structure factor S(q) in a plane of reciprocal space.

    Parameters
    ----------
    qx, qy : (n,) and (m,) array
        Components of q in ``unit``, evenly spaced.
    intensity : (m, n) array
        Rows along qy.
    unit : str
        Of q.
    logarithmic : bool
        Show peaks and what lies between them on one scale; values then have to be above zero.
    colorbar : bool
        Draw the scale of the map beside the picture.
    ax : matplotlib Axes, optional
        A new figure by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        Shapes that do not fit, values of zero or below on a logarithmic scale.
    """
    from matplotlib.colors import LogNorm, Normalize

    qx, qy, intensity = (np.asarray(values, float) for values in (qx, qy, intensity))
    if intensity.shape != (len(qy), len(qx)):
        raise InputError(f"Expected a map of shape ({len(qy)}, {len(qx)}) for these qy and qx, got {intensity.shape}.")
    if logarithmic and not np.all(intensity > 0):
        raise InputError("Expected values above zero on a logarithmic scale, got others: leave logarithmic out.")
    ax = canvas(ax)
    scale = LogNorm() if logarithmic else Normalize(vmin=min(0.0, intensity.min()))
    mesh = ax.pcolormesh(qx, qy, intensity, cmap="cividis", norm=scale, rasterized=True)
    ax.set(xlabel=f"$q_x$ ({unit})", ylabel=f"$q_y$ ({unit})", aspect="equal")
    if colorbar:
        ax.figure.colorbar(mesh, ax=ax, label="$S(q)$", shrink=0.85)
    return ax


def _draw_intensity(ax, distances, energies, values, colorbar):
    if values.shape != (len(energies), len(distances)) or not np.max(values) > 0:
        raise InputError(
            f"Expected a map with values above zero of shape ({len(energies)}, {len(distances)}), energies by "
            f"distances, got {values.shape}."
        )
    from matplotlib.colors import LogNorm

    scale = LogNorm(values.max() / DECADES, values.max(), clip=True)
    mesh = ax.pcolormesh(distances, energies, values, cmap="Greys", norm=scale, zorder=0, rasterized=True)
    if colorbar:
        ax.figure.colorbar(mesh, ax=ax, label=r"$S(q, \omega)$")
