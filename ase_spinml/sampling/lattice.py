"""Recipes of displacements and of strains. Every function returns a list of recipes; lists are added with +.

None stands for the undisplaced or unstrained reference: ``strains=[None, *isotropic_strains([-0.02, 0.02])]``.
"""

import numpy as np
from ase import units
from scipy.integrate import quad

from ase_spinml.errors import InputError
from ase_spinml.sampling.recipes import build, values, whole

PLANES = {"yz": (1, 2), "xz": (0, 2), "xy": (0, 1)}
HBAR = units._hbar * units.J * units.s
"""Planck's constant in ASE units, eV times ASE time."""


def rattles(stdev, count=1):
    """Gaussian displacements.

    Parameters
    ----------
    stdev : float or sequence of float
        Standard deviation of each Cartesian component in Angstrom.
    count : int
        Displacements for each standard deviation.
    """
    return [
        {"kind": "rattle", "stdev": value}
        for value in values("stdev", stdev, 0.0, np.inf, "Angstrom")
        for _ in range(whole("count", count))
    ]


def thermal_displacements(temperatures_K, debye_temperature_K, count=1):
    """Gaussian displacements as large as those of a Debye crystal, heavier atoms displaced less.

    Parameters
    ----------
    temperatures_K : float or sequence of float
        Zero leaves the zero-point motion.
    debye_temperature_K : float
    count : int
        Displacements for each temperature. Neighbours move independently.
    """
    (debye,) = values("debye_temperature_K", debye_temperature_K, 1e-6, np.inf, "K")
    return [
        {"kind": "debye", "temperature_K": temperature, "debye_temperature_K": debye}
        for temperature in values("temperatures_K", temperatures_K, 0.0, np.inf, "K")
        for _ in range(whole("count", count))
    ]


def isotropic_strains(strains):
    """Every length of the crystal times 1 + strain."""
    return [{"kind": "isotropic", "strain": value} for value in values("strains", strains, -0.5, 0.5)]


def shear_strains(strains, planes=("yz", "xz", "xy")):
    """Symmetric shear: off-diagonal elements of the strain tensor, e_ab = e_ba = strain, for each plane ab."""
    for plane in planes:
        if plane not in PLANES:
            raise InputError(f"Expected planes from yz, xz, xy, got {plane!r}.")
    return [
        {"kind": "shear", "plane": plane, "strain": value}
        for plane in planes
        for value in values("strains", strains, -0.5, 0.5)
    ]


def displace(atoms, recipe, rng):
    """Displace ``atoms``, in place, by a recipe; InputError for an unknown one."""
    shape = atoms.positions.shape
    atoms.positions += build("displacement", DISPLACEMENTS, recipe, atoms) * rng.normal(size=shape)


def strain(atoms, recipe):
    """Strain cell and positions of ``atoms``, in place, by a recipe; InputError for an unknown one."""
    deformation = np.eye(3) + build("strain", STRAINS, recipe)
    atoms.positions = atoms.positions @ deformation
    atoms.set_cell(atoms.cell.array @ deformation)


def debye_displacement(temperature_K, debye_temperature_K, mass):
    """Standard deviation in Angstrom of each component of the displacement of an atom in a Debye crystal.

    <u_x^2> = 3 hbar^2 / (M kB theta) [1/4 + (T/theta)^2 int_0^{theta/T} x dx / (e^x - 1)], for M in atomic mass units.
    """
    reduced = temperature_K / debye_temperature_K
    occupied = 0.0
    if reduced > 0:
        occupied = reduced**2 * quad(lambda x: x / np.expm1(x) if x > 0 else 1.0, 0.0, min(1 / reduced, 100.0))[0]
    return np.sqrt(3 * HBAR**2 / (mass * units.kB * debye_temperature_K) * (0.25 + occupied))


def _rattle(atoms, stdev):
    return stdev


def _debye(atoms, temperature_K, debye_temperature_K):
    return debye_displacement(temperature_K, debye_temperature_K, atoms.get_masses())[:, None]


def _isotropic(strain):
    return strain * np.eye(3)


def _shear(plane, strain):
    tensor = np.zeros((3, 3))
    a, b = PLANES[plane]
    tensor[a, b] = tensor[b, a] = strain
    return tensor


DISPLACEMENTS = {"rattle": _rattle, "debye": _debye}
STRAINS = {"isotropic": _isotropic, "shear": _shear}
