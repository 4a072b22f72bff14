"""Closed-form energy terms as ASE calculators: Heisenberg, Zeeman, and any ordinary calculator through NonMagnetic.

All report ``exchange_fields`` H_i = -dE/dm_i, (N, 3), eV/mu_B, beside ASE's own properties, and add up with
:class:`ase.calculators.mixing.SumCalculator`. Heisenberg depends on directions only and gives the transverse part, H_i
= -(1/m_i) dE/de_i perpendicular to e_i; Zeeman depends on the lengths as well and gives the full field, of which the
motion dm/dt = -gamma m x H sees the transverse part only. Rows of zero moments are zero. Stress (where the cell has a
volume) is the symmetric part of the strain derivative at fixed moments.
"""

import numpy as np
from ase.calculators.calculator import BaseCalculator

from ase_spinml.calculators.shells import Bonds
from ase_spinml.calculators.tensors import heisenberg_fields, moment_lengths, uniform_energy, uniform_fields
from ase_spinml.calculators.term import Drive, DrivenTerm, SpinTerm
from ase_spinml.errors import InputError
from ase_spinml.moments import get_moments, magnetic_mask, transverse, unit_rows
from ase_spinml.units import MU_B


class Heisenberg(SpinTerm):
    """Exchange by neighbour shell, E = -sum over unique pairs of [J e_i.e_j + D_ij.(e_i x e_j) + B (e_i.e_j)^2].

    J > 0 is ferromagnetic. D_ij = D rhat_ij lies along the bond from i to j (Lifshitz type, so the crystal must be
    chiral for it to be physical; no symmetry is checked). Sites are the atoms with a moment, all species alike.

    Shells are found once, in ``reference`` or else in the first frame seen, and then belong to the atoms: vibrations
    neither move a bond to another shell nor change its strength. A frame of other atoms, boundary conditions or
    magnetic sites, of a cell strained by more than 10 percent, or with a site displaced by more than half a bond gets
    its own shells, unless a reference was given: then it is refused. In the frame that shells are found in they have to
    stand apart, so a run that starts or restarts from a strongly vibrating frame needs the reference.

    Parameters
    ----------
    exchange, dmi, biquadratic : sequence of float
        J, D, B in eV of the first, second, ... shell; missing entries are zero.
    reference : ase.Atoms, optional
        Ideal structure with moments on the magnetic sites, in which the shells are found.
    tolerance : float
        Distances closer than this, in Angstrom, belong to one shell.

    Raises
    ------
    InputError
        No or unusable constants; when a frame is seen: no moments, fewer shells than constants, shells smeared out by
        displacements, a frame that does not fit the reference.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase_spinml import Heisenberg, set_moments
    >>> atoms = Atoms("Fe2", positions=[[0, 0, 0], [2.5, 0, 0]])
    >>> set_moments(atoms, [[0, 0, 2], [2, 0, 0]])
    >>> atoms.calc = Heisenberg(exchange=[0.020], dmi=[0.003])
    >>> round(atoms.get_potential_energy(), 6)
    0.0
    >>> atoms.calc.get_property("exchange_fields", atoms).round(6) + 0.0
    array([[ 0.01  ,  0.    ,  0.    ],
           [ 0.    , -0.0015,  0.01  ]])
    """

    directional = True

    def __init__(self, exchange=(), dmi=(), biquadratic=(), reference=None, tolerance=0.05):
        super().__init__()
        constants = [
            _constants(name, values)
            for name, values in [("exchange", exchange), ("dmi", dmi), ("biquadratic", biquadratic)]
        ]
        n_shells = max(len(values) for values in constants)
        if n_shells == 0:
            raise InputError("Expected exchange, dmi or biquadratic constants by shell, got none: give a list of eV.")
        if not tolerance > 0:
            raise InputError(f"Expected a tolerance above zero in Angstrom, got {tolerance}.")
        self._by_shell = np.array([np.pad(values, (0, n_shells - len(values))) for values in constants])
        self._tolerance = tolerance
        self._reference = reference
        self._bonds = None
        if reference is not None:
            self._find_bonds(reference, magnetic_mask(reference))

    def terms(self, atoms, moments):
        magnetic = moments.any(axis=1)
        self._fit_bonds(atoms, magnetic)
        spins = unit_rows(moments)
        exchange, dmi, biquadratic = self._by_bond
        energies, gradient = exchange_term(spins, self._bonds, exchange)
        forces, virial = np.zeros((len(atoms), 3)), np.zeros((3, 3))
        if biquadratic.any():
            more = biquadratic_term(spins, self._bonds, biquadratic)
            energies, gradient = energies + more[0], gradient + more[1]
        if dmi.any():
            *more, forces, virial = dmi_term(spins, self._bonds, dmi, self._bonds.vectors(atoms))
            energies, gradient = energies + more[0], gradient + more[1]
        length = np.where(magnetic, np.linalg.norm(moments, axis=1), 1.0)
        return energies, -gradient / length[:, None], forces, virial

    def torch_fields(self, atoms, device, dtype):
        """Fields as a function of tensors, see :mod:`ase_spinml.calculators.tensors`."""
        self._fit_bonds(atoms, magnetic_mask(atoms))
        vectors = self._bonds.vectors(atoms)
        return heisenberg_fields(self._bonds, self._by_bond, vectors, moment_lengths(atoms), device, dtype)

    def _fit_bonds(self, atoms, magnetic):
        if self._bonds is None or not self._bonds.fit(atoms, magnetic):
            if self._reference is not None:
                raise InputError(
                    f"Expected a frame that fits the reference {self._reference.get_chemical_formula()} (same atoms, "
                    f"magnetic sites and boundary conditions, similar cell and positions), got "
                    f"{atoms.get_chemical_formula()} that does not: give it a Heisenberg with a reference of its own."
                )
            self._find_bonds(atoms, magnetic)

    def _find_bonds(self, atoms, magnetic):
        self._bonds = Bonds(atoms, magnetic, self._by_shell.shape[1], self._tolerance)
        self._by_bond = self._by_shell[:, self._bonds.shell]


def exchange_term(spins, bonds, constants):
    """E = -sum J e_i.e_j over bonds.

    Parameters
    ----------
    spins : (N, 3) array
        Unit rows e_i, zero for non-magnetic atoms.
    bonds : Bonds
        P bonds.
    constants : (P,) array
        J of every bond, eV.

    Returns
    -------
    energies : (N,) array
        Half of every bond to either end, eV.
    gradient : (N, 3) array
        dE/de_i, eV, its longitudinal part included.
    """
    weight = constants[:, None]
    gradient = -(bonds.at_i @ (weight * spins[bonds.j]) + bonds.at_j @ (weight * spins[bonds.i]))
    return 0.5 * _dot(spins, gradient), gradient


def biquadratic_term(spins, bonds, constants):
    """E = -sum B (e_i.e_j)^2 over bonds; arguments and results as in :func:`exchange_term`."""
    weight = 2 * constants * _dot(spins[bonds.i], spins[bonds.j])
    energies, gradient = exchange_term(spins, bonds, weight)
    return 0.5 * energies, gradient


def dmi_term(spins, bonds, constants, vectors):
    """E = -sum D rhat_ij.(e_i x e_j) over bonds.

    Parameters
    ----------
    spins, bonds, constants
        As in :func:`exchange_term`, with D for J.
    vectors : (P, 3) array
        R_j - R_i of every bond, Angstrom.

    Returns
    -------
    energies, gradient
        As in :func:`exchange_term`.
    forces : (N, 3) array
        -dE/dR_i, eV/Angstrom: bonds turn with their atoms.
    virial : (3, 3) array
        dE/d(strain) at fixed spins, eV.
    """
    first, second = spins[bonds.i], spins[bonds.j]
    distance = np.linalg.norm(vectors, axis=1)[:, None]
    along = vectors / distance
    axis = constants[:, None] * along
    gradient = -(bonds.at_i @ np.cross(second, axis) + bonds.at_j @ np.cross(axis, first))
    pull = constants[:, None] / distance * transverse(np.cross(first, second), along)  # -dE/dr_ij
    return 0.5 * _dot(spins, gradient), gradient, bonds.at_j @ pull - bonds.at_i @ pull, -pull.T @ vectors


class Zeeman(DrivenTerm):
    """Moments in a uniform field, E = -sum_i m_i.B, lowest along the field; exchange_fields is the full field mu_B B.

    Parameters
    ----------
    field_T : array_like, shape (3,), or callable
        B in tesla: constant, or a function of the time (ASE time units) such as those of
        :mod:`ase_spinml.calculators.driving`, taken at the attribute ``time``.

    Raises
    ------
    InputError
        The field is not three finite numbers; when a frame is seen: no moments.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase_spinml import Zeeman
    >>> atoms = Atoms("Fe", magmoms=[[0, 0, 2.2]])
    >>> atoms.calc = Zeeman((0, 0, 10.0))
    >>> round(atoms.get_potential_energy(), 6)
    -0.001273
    """

    def __init__(self, field_T):
        self._drive = Drive("field_T", field_T, (3,), "tesla")
        super().__init__(self._drive)

    @property
    def field(self):
        """B at the present time, (3,), in tesla."""
        return self._drive(self.time)

    def terms(self, atoms, moments):
        fields = np.where(moments.any(axis=1)[:, None], MU_B * self.field, 0.0)
        return -_dot(moments, fields), fields, np.zeros((len(atoms), 3)), np.zeros((3, 3))

    def torch_fields(self, atoms, device, dtype):
        """Fields as a function of tensors, see :mod:`ase_spinml.calculators.tensors`."""
        return uniform_fields(lambda: MU_B * self.field, magnetic_mask(atoms), device, dtype)

    def torch_energy(self, atoms, device, dtype):
        """Energy as a function of tensors, see :mod:`ase_spinml.calculators.tensors`."""
        return uniform_energy(lambda: MU_B * self.field, np.linalg.norm(get_moments(atoms), axis=1), device, dtype)


class NonMagnetic(BaseCalculator):
    """Any ordinary ASE calculator, with exchange fields of zero.

    The wrapped calculator never sees the moments: it gets a copy of the frame without them, and keeps its own results
    while only moments change. Energy, forces and stress pass through as far as it has them, magnetic properties of its
    own do not.

    Parameters
    ----------
    calc : ASE calculator
        The wrapped calculator.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from ase.calculators.mixing import SumCalculator
    >>> from ase_spinml import Anisotropy, NonMagnetic, set_moments
    >>> atoms = bulk("Ni", cubic=True)
    >>> set_moments(atoms, [[0, 0, 0.6]] * 4)
    >>> atoms.calc = SumCalculator([NonMagnetic(EMT()), Anisotropy(uniaxial=0.001)])
    >>> lattice = NonMagnetic(EMT()).get_property("energy", atoms)
    >>> print(round(atoms.get_potential_energy() - lattice, 6))
    -0.004
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress", "stresses", "exchange_fields"]

    def __init__(self, calc):
        super().__init__()
        self.calc = calc
        known = [*calc.implemented_properties, "exchange_fields"]
        self.implemented_properties = [name for name in type(self).implemented_properties if name in known]

    def calculate(self, atoms, properties, system_changes):
        bare = atoms.copy()
        bare.set_array("initial_magmoms", None)
        self.results = {"exchange_fields": np.zeros((len(atoms), 3))}
        ordinary = [name for name in self.implemented_properties if name != "exchange_fields"]
        for name in sorted(
            ordinary, key=lambda name: name not in properties
        ):  # first what is asked for, then by-products
            value = self.calc.get_property(name, bare, allow_calculation=name in properties)
            if value is not None:
                self.results[name] = value


def _constants(name, values):
    values = np.array(values, dtype=float)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise InputError(f"Expected {name} to be a list of finite numbers in eV, one per shell, got {values.tolist()}.")
    return values


def _dot(a, b):
    """Scalar products of the rows of two (n, 3) arrays, (n,)."""
    return np.einsum("ia,ia->i", a, b)
