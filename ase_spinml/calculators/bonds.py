"""Strengths of the bonds of a lattice model: by neighbour shell, as functions of the distance, or as a matrix."""

from dataclasses import dataclass

import numpy as np

from ase_spinml.calculators.shells import Bonds
from ase_spinml.electrons.sd import matrix_bonds
from ase_spinml.errors import InputError
from ase_spinml.neighbors import NeighborList

STEP = 1e-3
"""Of the central difference that gives the slope of a function of the distance, in Angstrom."""


@dataclass
class BondTable:
    """P bonds of a frame.

    Attributes
    ----------
    i, j : (P,) int arrays
    shifts : (P, 3) array
        Lattice translations of the second site.
    vectors : (P, 3) array
        From the first site to the second, Angstrom; zero where a matrix says nothing of them.
    strengths, slopes : (Q, P) arrays
        Of Q quantities, and their derivatives by the distance.
    blocks : (P, 2, 2) array or None
        Hopping blocks of a matrix.
    """

    i: np.ndarray
    j: np.ndarray
    shifts: np.ndarray
    vectors: np.ndarray
    strengths: np.ndarray
    slopes: np.ndarray
    blocks: np.ndarray | None = None

    def part(self, chosen):
        """The bonds of a mask (P,)."""
        blocks = None if self.blocks is None else self.blocks[chosen]
        arrays = (self.i[chosen], self.j[chosen], self.shifts[chosen], self.vectors[chosen])
        return BondTable(*arrays, self.strengths[:, chosen], self.slopes[:, chosen], blocks)


def bond_source(quantities, cutoff, reference, tolerance):
    """The way bonds are found: an object with ``table(atoms)`` -> BondTable.

    Parameters
    ----------
    quantities : dict
        Name -> number (first shell), sequence of numbers by shell, or function of the distances (P,) in Angstrom; the
        first may be a Hermitian matrix (N, N) instead.
    cutoff : float or None
        Range of the functions in Angstrom.
    reference : ase.Atoms or None
    tolerance : float
        As for :class:`ase_spinml.Heisenberg`.

    Raises
    ------
    InputError
        Values of other kinds, or of several kinds at once.
    """
    first = next(iter(quantities))
    if np.ndim(quantities[first]) == 2:
        others = [name for name, value in quantities.items() if name != first and np.any(value)]
        if others:
            raise InputError(f"Expected {first} by shell or as a function with {', '.join(others)}, got a matrix.")
        return MatrixBonds(quantities[first], len(quantities))
    functions = {name: value for name, value in quantities.items() if callable(value)}
    if not functions:
        if cutoff is not None:
            raise InputError(f"Expected a cutoff with functions of the distance, got {first} by shell: leave it out.")
        return ShellBonds(quantities, reference, tolerance)
    by_shell = [name for name, value in quantities.items() if not callable(value) and np.any(value)]
    if by_shell:
        raise InputError(
            f"Expected all couplings by shell or all as functions of the distance, got {', '.join(functions)} as "
            f"functions and {', '.join(by_shell)} by shell."
        )
    if cutoff is None or not (np.isfinite(cutoff) and cutoff > 0):
        raise InputError(f"Expected cutoff > 0 in Angstrom with functions of the distance, got {cutoff}.")
    return DistanceBonds(quantities, cutoff)


class ShellBonds:
    """Bonds by neighbour shell, which stay with their atoms as those of :class:`ase_spinml.Heisenberg` do."""

    def __init__(self, quantities, reference, tolerance):
        values = [_by_shell(name, value) for name, value in quantities.items()]
        n_shells = max(len(one) for one in values)
        self._by_shell = np.array([np.pad(one, (0, n_shells - len(one))) for one in values])
        self._reference, self._tolerance = reference, tolerance
        self._bonds = None if reference is None else self._found(reference)

    def table(self, atoms):
        """Bonds of a frame; InputError as for :class:`ase_spinml.Heisenberg`."""
        if self._bonds is None or not self._bonds.fit(atoms, np.ones(len(atoms), bool)):
            if self._reference is not None:
                raise InputError(
                    f"Expected a frame that fits the reference {self._reference.get_chemical_formula()} (same atoms "
                    f"and boundary conditions, similar cell and positions), got {atoms.get_chemical_formula()} that "
                    f"does not: give it an SDModel with a reference of its own."
                )
            self._bonds = self._found(atoms)
        bonds = self._bonds
        strengths = self._by_shell[:, bonds.shell]
        return BondTable(bonds.i, bonds.j, bonds.shifts, bonds.vectors(atoms), strengths, np.zeros_like(strengths))

    def _found(self, atoms):
        return Bonds(atoms, np.ones(len(atoms), bool), self._by_shell.shape[1], self._tolerance)


class DistanceBonds:
    """Bonds up to a cutoff, with strengths that are functions of their length."""

    def __init__(self, quantities, cutoff):
        self._quantities, self._cutoff = quantities, float(cutoff)

    def table(self, atoms):
        """Bonds of a frame."""
        neighbors = NeighborList(self._cutoff)
        neighbors.update(atoms.positions, atoms.cell.array, atoms.pbc)
        vectors = neighbors.vectors(atoms.positions, atoms.cell.array)
        distances = np.linalg.norm(vectors, axis=1)
        strengths, slopes = np.zeros((2, len(self._quantities), len(distances)))
        for k, (name, function) in enumerate(self._quantities.items()):
            if callable(function):
                near = [_evaluated(name, function, distances + n * STEP) for n in (-2, -1, 1, 2)]
                strengths[k] = _evaluated(name, function, distances)
                slopes[k] = (near[0] - 8 * near[1] + 8 * near[2] - near[3]) / (12 * STEP)
        return BondTable(neighbors.i, neighbors.j, neighbors.shifts, vectors, strengths, slopes)


class MatrixBonds:
    """Bonds of a Hermitian hopping matrix, which knows no distances."""

    def __init__(self, matrix, n_quantities):
        self._i, self._j, self._blocks = matrix_bonds(matrix)
        self._n_sites, self._n_quantities = len(matrix), n_quantities

    def table(self, atoms):
        """Bonds of a frame with as many sites; InputError otherwise."""
        if len(atoms) != self._n_sites:
            raise InputError(f"Expected {self._n_sites} sites, as the hopping matrix has, got {len(atoms)} atoms.")
        zeros = np.zeros((len(self._i), 3))
        strengths = np.zeros((self._n_quantities, len(self._i)))
        return BondTable(self._i, self._j, zeros, zeros, strengths, strengths, self._blocks)


def _by_shell(name, value):
    try:
        values = np.atleast_1d(np.array(value, dtype=float))
    except (TypeError, ValueError):
        values = np.array([[]])
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise InputError(
            f"Expected {name} to be a finite real number, a list of them by neighbour shell, or a function of the "
            f"distance, got {value!r}."
        )
    return values


def _evaluated(name, function, distances):
    values = np.asarray(function(distances))
    if values.shape != distances.shape or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise InputError(
            f"Expected {name} as a function to give one finite real number for each of {len(distances)} distances, got "
            f"shape {values.shape} of type {values.dtype}."
        )
    return values
