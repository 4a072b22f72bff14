"""Temperatures as functions of the time, for ``temperature_K=`` and ``spin_temperature_K=`` of the dynamics.

Any function of the time t, in ASE time units (``5 * ase.units.fs``), that returns K will do; these are the usual ones.
The dynamics asks for the middle of each step.
"""

from functools import partial

import numpy as np

from ase_spinml.checks import not_negative
from ase_spinml.errors import InputError


def ramp(start_K, stop_K, duration, start_time=0.0):
    """Temperature that goes from one value to another along a straight line, and is constant before and after.

    Parameters
    ----------
    start_K, stop_K : float
        Temperatures before and after, in K.
    duration : float
        In ASE time units; zero is a quench, which has ``stop_K`` from ``start_time`` on.
    start_time : float
        Time at which it begins, in ASE time units.

    Returns
    -------
    callable
        Temperature in K as a function of the time in ASE time units.

    Raises
    ------
    InputError
        A temperature or duration that is negative, or a value that is not finite.

    Examples
    --------
    >>> from ase import units
    >>> from ase_spinml import ramp
    >>> temperature = ramp(300, 900, duration=1000 * units.fs)
    >>> [round(temperature(t * units.fs)) for t in (0, 500, 2000)]
    [300, 600, 900]
    """
    not_negative("start_K", start_K, "K")
    not_negative("stop_K", stop_K, "K")
    not_negative("duration", duration, "ASE time units")
    if not np.isfinite(start_time):
        raise InputError(f"Expected a finite start_time in ASE time units, got {start_time}.")
    return partial(_ramp, float(start_K), float(stop_K), float(duration), float(start_time))


def _ramp(start_K, stop_K, duration, start_time, time):
    late = time - start_time
    if late < 0:
        return start_K
    if late >= duration:
        return stop_K
    return start_K + (stop_K - start_K) * late / duration
