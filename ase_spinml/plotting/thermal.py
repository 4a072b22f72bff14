"""Magnetic order against temperature."""

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.plotting.style import LINES, look, pyplot, with_error


def magnetisation_curve(temperatures, magnetisation, *, binder=None, critical=None, axes=None):
    """Magnetisation against temperature for systems of several sizes and, below, their Binder cumulants.

    Parameters
    ----------
    temperatures : (n,) array
        In K.
    magnetisation : dict of size to (n,) or (2, n) array
        Mean magnetisation over saturation, or also its standard errors, as ``values("magnetisation", size)`` of a
        :class:`~ase_spinml.analysis.curie.CurieResult` gives them; a size is a number or a name for the legend.
    binder : dict of size to (n,) or (2, n) array, optional
        Cumulants U = 1 - <m^4> / 3 <m^2>^2; one panel without.
    critical : float or (float, float), optional
        Temperature in K where the cumulants cross, or also its standard error: a line and a band.
    axes : matplotlib Axes, two with cumulants, optional
        A new figure by default.

    Returns
    -------
    list of matplotlib Axes

    Raises
    ------
    InputError
        An array of another length than the temperatures, another number of Axes.
    """
    temperatures = np.asarray(temperatures, float)
    quantities = [(magnetisation, "magnetisation $M/M_0$"), (binder, "Binder cumulant $U$")]
    quantities = quantities[: 1 if binder is None else 2]
    count = len(quantities)
    if axes is None:
        options = {"sharex": True, "squeeze": False, "layout": "constrained", "figsize": (6.4, 1.5 + 2.5 * count)}
        axes = pyplot().subplots(count, 1, **options)[1][:, 0]
    axes = list(np.ravel(np.array(axes, dtype=object)))
    if len(axes) != count:
        raise InputError(f"Expected {count} Axes, got {len(axes)}: cumulants have one of their own.")
    for ax, (curves, label) in zip(axes, quantities, strict=True):
        for k, (size, values) in enumerate(curves.items()):
            mean, bars = _mean_and_bars(temperatures, values)
            style = {"ms": 4, "lw": 1.2, "ls": LINES[k % len(LINES)], "capsize": 2, **look(k)}
            ax.errorbar(temperatures, mean, bars, label=f"{size}", **style)
        ax.set(ylabel=label)
    axes[0].legend(fontsize="small", title="size")
    axes[-1].set(xlabel="temperature (K)")
    if critical is not None:
        _draw_critical(axes, *(critical if np.ndim(critical) else (critical, 0.0)))
    return axes


def _mean_and_bars(temperatures, values):
    values = np.asarray(values, float)
    if values.shape not in (temperatures.shape, (2, *temperatures.shape)):
        raise InputError(
            f"Expected a value, or a value and its error, for each of {len(temperatures)} temperatures, got shape "
            f"{values.shape}."
        )
    return (values, None) if values.ndim == 1 else values


def _draw_critical(axes, temperature, error):
    """A line at the critical temperature with its value at the foot, and a band of one standard error."""
    text = f"$T_c$ = {with_error(temperature, error, 'K') if error else f'{temperature:.4g} K'}"
    for ax in axes:
        ax.axvline(temperature, color="0.5", lw=1.0, zorder=0)
        if error:
            ax.axvspan(temperature - error, temperature + error, color="0.5", alpha=0.25, lw=0, zorder=0)
    place = {"xycoords": ("data", "axes fraction"), "xytext": (-8, 0), "textcoords": "offset points"}
    axes[-1].annotate(text, (temperature - error, 0.05), ha="right", fontsize="small", **place)
