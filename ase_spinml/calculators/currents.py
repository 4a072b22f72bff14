"""From a current density to the strength of its torque (:mod:`ase_spinml.calculators.torques`)."""

import numpy as np
from ase import units

from ase_spinml.calculators.term import Drive, number
from ase_spinml.errors import InputError
from ase_spinml.units import G_FACTOR


def drift_velocity(current_density, polarisation, magnetisation):
    """Drift velocity of a texture, u = -P g mu_B j / (2 e M_s).

    j is the conventional current and e > 0, so for P > 0 the texture goes with the electrons, against j. (Papers often
    write u = P g mu_B j / (2 e M_s) with j along the motion of the electrons.)

    Parameters
    ----------
    current_density : array_like, shape (3,)
        j in A/m^2.
    polarisation : float
        P, -1 to 1.
    magnetisation : float
        M_s in A/m.

    Returns
    -------
    (3,) array
        u in Angstrom per ASE time unit.

    Raises
    ------
    InputError
        Values that are not finite, a polarisation outside -1 to 1, a magnetisation that is not above zero.

    Examples
    --------
    >>> from ase import units
    >>> from ase_spinml import drift_velocity
    >>> u = drift_velocity((-1e12, 0, 0), polarisation=0.5, magnetisation=8e5)
    >>> print(f"{u[0] * units.second / units.m:.2f} m/s")
    36.18 m/s
    """
    current = Drive("current_density", current_density, (3,), "A/m^2")(0.0)
    metres_per_second = -_share("polarisation", polarisation) * G_FACTOR * units._hbar * current
    metres_per_second /= 4 * units._me * _positive("magnetisation", magnetisation, "A/m")
    return metres_per_second * units.m / units.second


def spin_current_field(current_density, efficiency, magnetisation, thickness):
    """Damping-like field of a spin current, B_DL = hbar eta j / (2 e M_s d).

    Parameters
    ----------
    current_density : float
        j in A/m^2.
    efficiency : float
        eta, the polarisation of the spins in a current through the layer, or the spin Hall angle of a layer beside it.
    magnetisation : float
        M_s in A/m.
    thickness : float
        d of the magnetic layer in Angstrom.

    Returns
    -------
    float
        B_DL in tesla, with the sign of eta j.

    Raises
    ------
    InputError
        Values that are not finite, a magnetisation or thickness that is not above zero.

    Examples
    --------
    >>> from ase_spinml import spin_current_field
    >>> field = spin_current_field(1e12, efficiency=0.1, magnetisation=8e5, thickness=10.0)
    >>> round(field, 4)                                        # tesla
    0.0411
    """
    current = number("current_density", current_density, "A/m^2")
    layer = _positive("magnetisation", magnetisation, "A/m") * _positive("thickness", thickness, "Angstrom") / units.m
    return float(units._hbar * number("efficiency", efficiency) * current / (2 * units._e * layer))


def _positive(name, value, unit):
    value = number(name, value, unit)
    if not value > 0:
        raise InputError(f"Expected {name} above zero in {unit}, got {value}.")
    return value


def _share(name, value):
    value = number(name, value)
    if not np.abs(value) <= 1:
        raise InputError(f"Expected {name} between -1 and 1, got {value}.")
    return value
