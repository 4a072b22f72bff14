"""Predictions against references, and what is left between them."""

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.plotting.style import LINES, canvas, look, pyplot, strip_below


def parity(reference, predicted, *, label, unit, groups=None, ax=None):
    """Predicted against reference values, the RMSE of every group in the legend, the residuals in a strip below.

    The first group is drawn on top.

    Parameters
    ----------
    reference, predicted : arrays of one shape
        Flattened.
    label, unit : str
        What the values are; the axis label reads "reference ``label`` (``unit``)".
    groups : sequence of str, optional
        A name for every value (after flattening); one group by default.
    ax : matplotlib Axes, optional
        A new figure by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        Shapes that differ, nothing to draw.
    """
    reference, predicted, groups = _grouped(reference, predicted, groups)
    ax = canvas(ax)
    residuals = strip_below(ax)
    for k, group in enumerate(dict.fromkeys(groups.tolist())):
        chosen = groups == group
        error = predicted[chosen] - reference[chosen]
        style = {**look(k), "zorder": 3 - 0.1 * k}
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


def residuals(reference, predicted, *, label, unit, groups=None, axes=None):
    """Predicted minus reference values: against the reference on the left, their histogram on the right.

    Both share the axis of the residuals. The legend tells mean and standard deviation of every group; the histograms
    are densities, so that groups of any size compare, with one bin width for all.

    Parameters
    ----------
    reference, predicted, label, unit, groups
        As in :func:`parity`.
    axes : two matplotlib Axes, optional
        They should share their y axis. A new figure by default.

    Returns
    -------
    two matplotlib Axes

    Raises
    ------
    InputError
        As :func:`parity`.
    """
    reference, predicted, groups = _grouped(reference, predicted, groups)
    error = predicted - reference
    if axes is None:
        options = {"width_ratios": (2, 1), "sharey": True, "layout": "constrained", "figsize": (7.2, 4.2)}
        axes = pyplot().subplots(1, 2, **options)[1]
    left, right = axes
    count = len(np.histogram_bin_edges(error, bins="fd")) - 1 if np.ptp(error) else 1
    edges = np.histogram_bin_edges(error, bins=int(np.clip(count, 8, 60)))
    for k, group in enumerate(dict.fromkeys(groups.tolist())):
        chosen = groups == group
        name = f"{group}: " if group else ""
        text = f"{name}mean {error[chosen].mean():.2g}, deviation {error[chosen].std():.3g} {unit}"
        left.plot(reference[chosen], error[chosen], ls="", ms=4, alpha=0.6, label=text, zorder=3 - 0.1 * k, **look(k))
        style = {"histtype": "step", "lw": 1.5, "ls": LINES[k % len(LINES)], "color": look(k)["color"]}
        right.hist(error[chosen], edges, density=True, orientation="horizontal", zorder=3 - 0.1 * k, **style)
    for ax in axes:
        ax.axhline(0, color="0.5", lw=0.8, zorder=0)
    left.set(xlabel=f"reference {label} ({unit})", ylabel=f"predicted - reference ({unit})")
    right.set(xlabel=f"density (1/({unit}))" if "/" in unit else f"density (1/{unit})")
    left.legend(fontsize="small")
    return axes


def _grouped(reference, predicted, groups):
    """Flat arrays of references, predictions and names of groups; InputError if they do not fit together."""
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
    return reference, predicted, groups
