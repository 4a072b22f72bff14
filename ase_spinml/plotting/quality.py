"""How good a model is: errors and what they depend on."""

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.plotting.style import LINES, canvas, look, plain_logarithmic, series


def error_against_angle(angles, errors, *, label, unit, bins=9, ax=None):
    """Absolute errors against an angle between spins, with the RMSE of each of some equal ranges.

    Parameters
    ----------
    angles : (n,) array
        In degrees, 0 to 180.
    errors : (n,) array
        Predicted minus reference.
    label, unit : str
        What the values are.
    bins : int
        Number of ranges.
    ax : matplotlib Axes, optional
        A new figure by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        Lengths that differ, fewer than two points.
    """
    angles, errors = series(angles, errors)
    ax = canvas(ax)
    ax.plot(angles, np.abs(errors), ls="", ms=3, alpha=0.4, label="each value", **look(5))
    edges = np.linspace(0, 180, bins + 1)
    number = np.clip(np.digitize(angles, edges) - 1, 0, bins - 1)
    filled = np.unique(number)
    rmse = [np.sqrt(np.mean(errors[number == k] ** 2)) for k in filled]
    ax.plot((edges[filled] + edges[filled + 1]) / 2, rmse, ms=6, lw=1.5, label="RMSE of the range", **look(1))
    ax.set(xlabel="angle between spins (degrees)", ylabel=f"error of {label} ({unit})", xlim=(0, 180))
    ax.legend(fontsize="small")
    return ax


def calibration(errors, standard_deviations, *, label, unit, ax=None):
    """Absolute errors against predicted standard deviations, with the RMSE of ranges of equal count on top.

    On the diagonal errors are as large as predicted, above it the model is too bold, below it too modest. Bars are
    standard errors for independent normal errors, RMSE / sqrt(2 n). The legend tells the root mean square of the
    z-scores, errors over standard deviations, which should be one.

    Parameters
    ----------
    errors : array
        Predicted minus reference values, flattened.
    standard_deviations : array of the same shape
        Above zero.
    label, unit : str
        What the values are.
    ax : matplotlib Axes, optional
        A new figure by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        Shapes that differ, nothing to draw, a standard deviation that is not above zero.
    """
    errors, predicted = np.asarray(errors, float), np.asarray(standard_deviations, float)
    if errors.shape != predicted.shape or errors.size == 0 or not np.all(predicted > 0):
        raise InputError(
            f"errors and standard deviations must have one shape and at least one value, and the latter be above "
            f"zero, got shapes {errors.shape} and {predicted.shape}: leave out atoms without a prediction"
        )
    errors, predicted = np.abs(errors.ravel()), predicted.ravel()
    score = np.sqrt(np.mean((errors / predicted) ** 2))
    parts = np.array_split(np.argsort(predicted), np.clip(len(errors) // 20, 1, 10))
    expected = np.array([np.sqrt(np.mean(predicted[part] ** 2)) for part in parts])
    observed = np.array([np.sqrt(np.mean(errors[part] ** 2)) for part in parts])
    bars = observed / np.sqrt(2 * np.array([len(part) for part in parts]))
    ax = canvas(ax)
    shown = errors > 0  # on a logarithmic axis
    ax.plot(predicted[shown], errors[shown], ls="", ms=3, alpha=0.3, zorder=1, label="each value", **look(5))
    ax.errorbar(expected, observed, bars, ms=6, lw=1.5, capsize=3, label=f"RMSE, z-scores {score:.2f}", **look(1))
    ax.axline((1.0, 1.0), (2.0, 2.0), color="0.5", lw=0.8, zorder=0)
    low = min(observed.min(), expected[0])
    ax.set(xscale="log", xlim=(0.3 * expected[0], 1.5 * predicted.max()))
    ax.set(yscale="log", ylim=(0.1 * low, 1.5 * max(errors.max(), predicted.max())))
    ax.set(xlabel=f"predicted error of {label} ({unit})", ylabel=f"error ({unit})")
    plain_logarithmic(ax.xaxis, ax.yaxis)
    ax.legend(loc="lower right", fontsize="small")
    return ax


def learning_curve(sizes, errors, *, label, unit, name="RMSE", ax=None):
    """Errors against the number of training frames, both logarithmic; call it again with ``ax`` for another model.

    Of repeats the median is drawn, with bars from the smallest to the largest.

    Parameters
    ----------
    sizes : (n,) array
        Numbers of frames, above zero.
    errors : (n,) or (n, k) array
        Above zero; k repeats with other frames.
    label, unit : str
        What the errors are of.
    name : str
        Of the curve.
    ax : matplotlib Axes, optional
        A new figure by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        Shapes that do not fit, values that are not above zero.
    """
    sizes, errors = np.asarray(sizes, float), np.asarray(errors, float)
    repeats = errors[:, None] if errors.ndim == 1 else errors
    if sizes.ndim != 1 or repeats.shape[:1] != sizes.shape or repeats.ndim != 2 or not repeats.size:
        raise InputError(f"Expected errors of shape (n,) or (n, k) for n sizes, got {errors.shape} and {sizes.shape}.")
    if not (np.all(sizes > 0) and np.all(repeats > 0)):
        raise InputError("Expected sizes and errors above zero, which logarithmic axes need, got others.")
    ax = canvas(ax)
    number, middle = len(ax.containers), np.median(repeats, axis=1)
    bars = (middle - repeats.min(axis=1), repeats.max(axis=1) - middle) if repeats.shape[1] > 1 else None
    ax.errorbar(sizes, middle, bars, ms=6, lw=1.5, ls=LINES[number % len(LINES)], capsize=3, label=name, **look(number))
    ax.set(xscale="log", yscale="log", xlabel="training frames", ylabel=f"error of {label} ({unit})")
    plain_logarithmic(ax.xaxis, ax.yaxis)
    ax.legend(fontsize="small")
    return ax
