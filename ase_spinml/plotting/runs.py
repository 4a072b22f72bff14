"""Runs against time."""

import numpy as np

from ase_spinml.plotting.style import COLOURS, canvas, look, pyplot, series, with_error


def energy_drift(times, energies, *, label="total energy", unit="meV/atom", ax=None):
    """Energy about its first value, with the fitted drift and its standard error in the legend.

    The error is taken from the scatter of the means of up to ten stretches of the run about the line, as neighbouring
    values are correlated; a drift within twice its error is none that this run can tell.

    Parameters
    ----------
    times : (n,) array
        In ps.
    energies : (n,) array
        In ``unit``.
    label, unit : str
        What the energies are.
    ax : matplotlib Axes, optional
        A new figure by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        Lengths that differ, fewer than three points.
    """
    times, energies = series(times, energies, least=3)
    ax = canvas(ax)
    change = energies - energies[0]
    slope, offset, error = _drift(times, change)
    ax.plot(times, change, color=COLOURS[0], lw=1, label=label)
    drift = f"drift {with_error(slope, error, unit)}/ps"
    ax.plot(times, offset + slope * times, color=COLOURS[1], ls="--", lw=1.5, label=drift)
    ax.set(xlabel="time (ps)", ylabel=f"change of {label} ({unit})")
    ax.legend(fontsize="small")
    return ax


def magnetisation_and_temperatures(times, magnetisation, lattice, spins, *, target=None, electrons=None, axes=None):
    """Magnetisation above, the temperatures below, against time.

    Parameters
    ----------
    times : (n,) array
        In ps.
    magnetisation : (n,) array
        Length of the mean moment in mu_B.
    lattice, spins : (n,) array or None
        Temperatures in K; None for what has none, such as a frozen lattice.
    target : float or (n,) array, optional
        Temperature of the bath in K.
    electrons : (n,) array, optional
        Temperature of the electrons in K.
    axes : two matplotlib Axes, optional
        A new figure by default.

    Returns
    -------
    two matplotlib Axes

    Raises
    ------
    InputError
        Lengths that differ, fewer than two points.
    """
    times, magnetisation = series(times, magnetisation)
    if axes is None:
        axes = pyplot().subplots(2, 1, sharex=True, layout="constrained", figsize=(6.4, 6.0))[1]
    upper, lower = axes
    upper.plot(times, magnetisation, color=COLOURS[0], lw=1.2)
    upper.set(ylabel=r"magnetisation ($\mu_B$/atom)")
    if lattice is not None:
        lower.plot(times, series(times, lattice)[1], color=COLOURS[1], lw=1.2, label="lattice")
    if spins is not None:
        lower.plot(times, series(times, spins)[1], color=COLOURS[2], lw=1.2, ls="--", label="spins")
    if electrons is not None:
        lower.plot(times, series(times, electrons)[1], color=COLOURS[3], lw=1.2, ls=":", label="electrons", zorder=1)
    if target is not None:
        bath = series(times, np.broadcast_to(target, times.shape))[1]
        lower.plot(times, bath, color="0.5", lw=0.8, zorder=0, label="bath")
    lower.set(xlabel="time (ps)", ylabel="temperature (K)")
    if lower.lines:
        lower.legend(fontsize="small")
    return axes


def wall_position(times, positions, *, ax=None):
    """Position of a domain wall against time, with its mean velocity and standard error, as in :func:`energy_drift`.

    Parameters
    ----------
    times : (n,) array
        In ps.
    positions : (n,) array
        In Angstrom.
    ax : matplotlib Axes, optional
        A new figure by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        Lengths that differ, fewer than three points.
    """
    times, positions = series(times, positions, least=3)
    ax = canvas(ax)
    slope, offset, error = 100 * np.array(_drift(times, positions))  # 1 Angstrom/ps is 100 m/s
    ax.plot(times, positions, ls="", ms=4, label="wall", **look(0))
    line = (offset + slope * times) / 100
    ax.plot(times, line, color=COLOURS[1], ls="--", lw=1.5, label=with_error(slope, error, "m/s"))
    ax.set(xlabel="time (ps)", ylabel="position of the wall (Å)")
    ax.legend(fontsize="small")
    return ax


def relaxation(energies, forces, torques, *, axes=None):
    """Energy above its last value, and largest force and torque below, against the steps of a relaxation.

    Parameters
    ----------
    energies : (n,) array
        In eV.
    forces, torques : (n,) array
        Largest force in eV/A and torque in eV; what is zero throughout did not move and is left out.
    axes : two matplotlib Axes, optional
        A new figure by default.

    Returns
    -------
    two matplotlib Axes

    Raises
    ------
    InputError
        Lengths that differ, fewer than two steps.
    """
    steps = np.arange(len(energies))
    if axes is None:
        axes = pyplot().subplots(2, 1, sharex=True, layout="constrained", figsize=(6.4, 6.0))[1]
    upper, lower = axes
    steps, energies = series(steps, energies)
    upper.plot(steps, 1e3 * (energies - energies[-1]), ms=4, lw=1.2, **look(0))
    upper.set(ylabel="energy above the last (meV)")
    for k, (values, label) in enumerate([(forces, "force (eV/Å)"), (torques, "torque (eV)")], start=1):
        values = series(steps, values)[1]
        if values.any():
            lower.plot(steps, values, ms=4, lw=1.2, label=label, **look(k))
    lower.set(xlabel="step", ylabel="largest force or torque", yscale="log")
    lower.xaxis.get_major_locator().set_params(integer=True)
    if lower.lines:
        lower.legend(fontsize="small")
    return axes


def _drift(times, values):
    """Slope, offset and standard error of the slope of the line through the means of up to ten stretches."""
    x, y = (
        np.array([part.mean() for part in np.array_split(series, min(10, len(series)))]) for series in (times, values)
    )
    slope, offset = np.polyfit(x, y, 1)
    residual = y - offset - slope * x
    return slope, offset, np.sqrt(np.sum(residual**2) / (len(x) - 2) / np.sum((x - x.mean()) ** 2))
