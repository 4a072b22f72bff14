"""Magnetic order against temperature."""

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.plotting.style import LINES, look, pyplot


def magnetisation_curve(temperatures, magnetisation, *, errors=None, binder=None, critical=None, axes=None):
    """Magnetisation against temperature for systems of several sizes and, below, their Binder cumulants.

    temperatures: (n,) in K.
    magnetisation: dict of size (a number of cells or atoms, or a name) to (n,) mean magnetisation over saturation.
    errors: dict of size to (n,) standard errors of the magnetisation.
    binder: dict of size to (n,) cumulants U = 1 - <m^4> / 3 <m^2>^2, or None for one panel.
    critical: temperature in K where the cumulants cross, or (temperature, its standard error), drawn as a line and a
        band.
    axes: one Axes, or two with cumulants, or None for a new figure. Returns them as a list.
    Raises InputError when an array has another length than the temperatures.
    """
    temperatures = np.asarray(temperatures, float)
    count = 1 if binder is None else 2
    if axes is None:
        axes = pyplot().subplots(count, 1, sharex=True, squeeze=False, layout="constrained", figsize=(6.4, 3 * count))
        axes = axes[1][:, 0]
    axes = list(np.atleast_1d(np.array(axes, dtype=object)))
    if len(axes) != count:
        raise InputError(f"Expected {count} Axes, got {len(axes)}: cumulants have one of their own.")
    quantities = [(magnetisation, errors or {}, "magnetisation $M/M_0$"), (binder, {}, "Binder cumulant $U$")]
    for ax, (values, bars, label) in zip(axes, quantities, strict=False):
        for k, (size, mean) in enumerate(values.items()):
            mean, bar = _fitting(temperatures, mean), bars.get(size)
            bar = None if bar is None else _fitting(temperatures, bar)
            style = {"ms": 4, "lw": 1.2, "ls": LINES[k % len(LINES)], "capsize": 2, **look(k)}
            ax.errorbar(temperatures, mean, bar, label=f"{size}", **style)
        ax.set(ylabel=label)
        if critical is not None:
            _draw_critical(ax, critical)
    axes[0].legend(fontsize="small", title="size")
    axes[-1].set(xlabel="temperature (K)")
    return axes


def _fitting(temperatures, values):
    values = np.asarray(values, float)
    if values.shape != temperatures.shape:
        raise InputError(f"Expected one value for each of {len(temperatures)} temperatures, got shape {values.shape}.")
    return values


def _draw_critical(ax, critical):
    """A line at the critical temperature with its value, and a band of one standard error."""
    temperature, error = critical if np.ndim(critical) else (critical, 0.0)
    text = f"$T_c$ = {temperature:.4g} K" if not error else f"$T_c$ = {temperature:.4g} $\\pm$ {error:.2g} K"
    ax.axvline(temperature, color="0.5", lw=1.0, zorder=0, label=text)
    if error:
        ax.axvspan(temperature - error, temperature + error, color="0.5", alpha=0.25, lw=0, zorder=0)
