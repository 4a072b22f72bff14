"""Fields that vary with time, for :class:`~ase_spinml.calculators.analytic.Zeeman`.

Each function here returns a function of the time t, in ASE time units, whose value is B in tesla, (3,). Frequencies are
cycles, not radians, per time: 1 THz is one cycle in ``1000 * ase.units.fs``. Moments precess counter-clockwise about
their field, seen from its tip, with g mu_B/h = 0.028 THz per tesla.
"""

from functools import partial

import numpy as np
from ase import units

from ase_spinml.calculators.term import Drive, direction, number
from ase_spinml.errors import InputError

TERAHERTZ = 1.0 / (1000 * units.fs)
"""1 THz in 1/(ASE time)."""


def ac_field(amplitude_T, frequency_THz, phase_deg=0.0, static_T=(0.0, 0.0, 0.0)):
    """Linearly polarised field, B(t) = B_static + B_1 cos(2 pi f t + phase).

    Parameters
    ----------
    amplitude_T : array_like, shape (3,)
        B_1 in tesla.
    frequency_THz : float
        f in THz.
    phase_deg : float
        Phase at t = 0 in degrees.
    static_T : array_like, shape (3,)
        Constant field beside it in tesla.

    Returns
    -------
    callable
        B in tesla, (3,), as a function of the time in ASE time units.

    Raises
    ------
    InputError
        Values that are not finite numbers of the right shape.

    Examples
    --------
    >>> from ase import units
    >>> from ase_spinml import ac_field
    >>> field = ac_field((0.1, 0, 0), frequency_THz=1.0, static_T=(0, 0, 1.0))
    >>> field(500 * units.fs).round(6).tolist()                # half a period
    [-0.1, 0.0, 1.0]
    """
    return partial(
        _ac, _vector("amplitude_T", amplitude_T), *_turn(frequency_THz, phase_deg), _vector("static_T", static_T)
    )


def rotating_field(amplitude_T, frequency_THz, normal=(0, 0, 1), phase_deg=0.0, static_T=(0.0, 0.0, 0.0)):
    """Circularly polarised field, B(t) = B_static + B_1 [cos(2 pi f t + phase) u + sin(2 pi f t + phase) v].

    For f > 0 it turns counter-clockwise seen from the tip of the normal n, the sense in which moments precess about a
    static field along n, and so drives their resonance; f < 0 turns the other way. u is the Cartesian axis least along
    n (the first of equals) made perpendicular to it, and v = n x u; for the default normal u, v = x, y.

    Parameters
    ----------
    amplitude_T : float
        B_1 in tesla.
    frequency_THz : float
        f in THz.
    normal : array_like, shape (3,)
        Normal n of the plane of rotation; only its direction counts.
    phase_deg, static_T
        As in :func:`ac_field`.

    Returns
    -------
    callable
        As in :func:`ac_field`.

    Raises
    ------
    InputError
        As in :func:`ac_field`; a normal of zero.

    Examples
    --------
    >>> from ase import units
    >>> from ase_spinml import rotating_field
    >>> field = rotating_field(0.1, frequency_THz=1.0)
    >>> (field(250 * units.fs).round(6) + 0.0).tolist()        # a quarter of a period
    [0.0, 0.1, 0.0]
    """
    normal = direction("normal", normal)
    u = np.eye(3)[np.argmin(np.abs(normal))]
    u = u - (u @ normal) * normal
    u /= np.linalg.norm(u)
    plane = number("amplitude_T", amplitude_T, "tesla") * np.array([u, np.cross(normal, u)])
    return partial(_rotating, plane, *_turn(frequency_THz, phase_deg), _vector("static_T", static_T))


def pulsed_field(peak_T, centre, width, frequency_THz=0.0, phase_deg=0.0, static_T=(0.0, 0.0, 0.0)):
    """Gaussian pulse, B(t) = B_static + B_1 exp(-(t - t_c)^2 / (2 w^2)) cos(2 pi f (t - t_c) + phase).

    Parameters
    ----------
    peak_T : array_like, shape (3,)
        B_1 in tesla, the value at the centre when the phase is zero.
    centre : float
        t_c in ASE time units.
    width : float
        Standard deviation w in ASE time units; full width at half maximum is 2.355 w.
    frequency_THz : float
        f of the carrier in THz; zero for a pulse of one sign.
    phase_deg : float
        Phase of the carrier at the centre in degrees.
    static_T
        As in :func:`ac_field`.

    Returns
    -------
    callable
        As in :func:`ac_field`.

    Raises
    ------
    InputError
        As in :func:`ac_field`; a width that is not above zero.

    Examples
    --------
    >>> from ase import units
    >>> from ase_spinml import pulsed_field
    >>> field = pulsed_field((0, 5.0, 0), centre=2000 * units.fs, width=200 * units.fs)
    >>> field(2000 * units.fs).tolist()
    [0.0, 5.0, 0.0]
    """
    width = number("width", width, "ASE time units")
    if not width > 0:
        raise InputError(f"Expected width above zero in ASE time units, got {width}.")
    centre = number("centre", centre, "ASE time units")
    turn = _turn(frequency_THz, phase_deg)
    return partial(_pulsed, _vector("peak_T", peak_T), centre, width, *turn, _vector("static_T", static_T))


def _ac(amplitude, omega, phase, static, time):
    return static + amplitude * np.cos(omega * time + phase)


def _rotating(plane, omega, phase, static, time):
    angle = omega * time + phase
    return static + np.array([np.cos(angle), np.sin(angle)]) @ plane


def _pulsed(peak, centre, width, omega, phase, static, time):
    late = time - centre
    return static + peak * np.exp(-0.5 * (late / width) ** 2) * np.cos(omega * late + phase)


def _turn(frequency_THz, phase_deg):
    """Angular frequency in radians per ASE time and phase in radians."""
    omega = 2 * np.pi * TERAHERTZ * number("frequency_THz", frequency_THz, "THz")
    return omega, np.radians(number("phase_deg", phase_deg, "degrees"))


def _vector(name, value):
    return Drive(name, value, (3,), "tesla")(0.0)
