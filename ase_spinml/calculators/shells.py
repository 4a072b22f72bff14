"""Bonds between magnetic atoms by neighbour shell, which stay with their atoms while these vibrate."""

import numpy as np
from ase.calculators.calculator import compare_atoms
from scipy.sparse import csr_array

from ase_spinml.errors import InputError
from ase_spinml.neighbors import NeighborList

MAX_STRAIN = 0.1
"""Largest element of the strain between two cells that still counts as the same crystal."""


class Bonds:
    """Bonds of the first neighbour shells, tied to the atoms of the frame they were found in.

    Parameters
    ----------
    atoms : ase.Atoms
        Frame of N atoms.
    magnetic : (N,) bool array
        Which of them are sites.
    n_shells : int
        Number of shells.
    tolerance : float
        As in :func:`find_shells`, which also tells the errors.

    Attributes
    ----------
    i, j : (P,) int arrays
        Atoms of each unique bond, periodic images included.
    shell : (P,) int array
        Its shell, counted from zero.
    at_i, at_j : (N, P) sparse arrays of ones
        Sum a quantity of the bonds onto their first or second atoms.
    """

    def __init__(self, atoms, magnetic, n_shells, tolerance):
        self.sites = np.flatnonzero(magnetic)
        i, j, self.shifts, self.shell, self.shortest = find_shells(
            atoms.positions[self.sites], atoms.cell.complete().array, atoms.pbc, n_shells, tolerance
        )
        self.i, self.j = self.sites[i], self.sites[j]
        shape = (len(atoms), len(self.i))
        columns, ones = np.arange(shape[1]), np.ones(shape[1])
        self.at_i = csr_array((ones, (self.i, columns)), shape=shape)
        self.at_j = csr_array((ones, (self.j, columns)), shape=shape)
        self.magnetic, self.cell, self.scaled = magnetic.copy(), atoms.cell.complete().array, _scaled(atoms)
        self.scaled_vectors = self.scaled[self.j] - self.scaled[self.i] + self.shifts
        self._last = atoms.copy()

    def fit(self, atoms, magnetic):
        """Whether ``atoms`` is still the frame the bonds belong to.

        Same atoms, sites (``magnetic``, (N,) bool) and boundary conditions; a cell within :data:`MAX_STRAIN`; no site
        displaced against the others by half the shortest bond.
        """
        if not np.array_equal(magnetic, self.magnetic):
            return False
        if not set(compare_atoms(self._last, atoms)) & {"numbers", "pbc", "cell", "positions"}:
            return True
        if not (np.array_equal(atoms.numbers, self._last.numbers) and np.array_equal(atoms.pbc, self._last.pbc)):
            return False
        strain = np.linalg.solve(self.cell, atoms.cell.complete().array) - np.eye(3)
        if np.abs(strain).max() > MAX_STRAIN:
            return False
        step = (_scaled(atoms) - self.scaled)[self.sites]
        step -= step[0]
        step -= np.where(atoms.pbc, np.round(step), 0.0)
        step = step @ self.cell
        if np.linalg.norm(step - step.mean(axis=0), axis=1).max() >= 0.5 * self.shortest:
            return False
        self._last = atoms.copy()
        return True

    def vectors(self, atoms):
        """Vectors of the bonds from i to j, (P, 3), in Angstrom, whether or not positions were wrapped meanwhile."""
        scaled = _scaled(atoms)
        vectors = scaled[self.j] - scaled[self.i] + self.shifts
        vectors -= np.where(atoms.pbc, np.round(vectors - self.scaled_vectors), 0.0)
        return vectors @ atoms.cell.complete().array


def find_shells(positions, cell, pbc, n_shells, tolerance):
    """Unique pairs of the first ``n_shells`` neighbour shells.

    Parameters
    ----------
    positions : (n, 3) array
        Sites, Angstrom.
    cell : (3, 3) array
        Rows are lattice vectors.
    pbc : (3,) bool array
        Periodic directions.
    n_shells : int
        Number of shells.
    tolerance : float
        A gap wider than this, in Angstrom, separates shells. A wider shell is refused as smeared or merged
        when it is wider than the gap behind it or than a tenth of its distance, and so is one with fewer pairs than a
        quarter of the sites, the tail of a smeared one.

    Returns
    -------
    i, j : (P,) int arrays
        Sites of each bond.
    shifts : (P, 3) array
        Its vector is R_j + shift.cell - R_i.
    shell : (P,) int array
        0 to n_shells - 1.
    shortest : float
        Length of the shortest bond, Angstrom.

    Raises
    ------
    InputError
        Fewer shells than asked for, or smeared ones.
    """
    found, cutoff = 0, 2.0
    complete = len(positions) == 0
    while found <= n_shells and not complete:
        neighbors = NeighborList(cutoff)
        neighbors.update(positions, cell, pbc)
        distance = np.linalg.norm(neighbors.vectors(positions, cell), axis=1)
        order = np.argsort(distance)
        gaps = np.diff(distance[order]) > tolerance
        shell = np.zeros(len(distance), dtype=int)
        shell[order[1:]] = np.cumsum(gaps)
        found = shell.max(initial=-1) + 1
        complete = not np.any(pbc) and cutoff > np.linalg.norm(np.ptp(positions, axis=0))
        cutoff *= 1.25
    if found < n_shells:
        raise InputError(
            f"Expected {n_shells} neighbour shells, one per constant, got {len(positions)} magnetic sites with "
            f"{found}: give fewer constants."
        )
    for k in range(n_shells):
        inside, beyond = distance[shell == k], distance[shell > k]
        gap = beyond.min(initial=np.inf) - inside.max()
        if np.ptp(inside) > max(tolerance, min(gap, 0.1 * inside.min())) or 4 * len(inside) < len(positions):
            raise InputError(
                f"Expected neighbour shells that stand apart, got shell {k + 1} with {len(inside)} pairs of "
                f"{len(positions)} sites from {inside.min():.3f} to {inside.max():.3f} Angstrom, {gap:.3f} before the "
                "next: give the undisplaced structure as reference=."
            )
    keep = shell < n_shells
    return neighbors.i[keep], neighbors.j[keep], neighbors.shifts[keep], shell[keep], distance.min()


def _scaled(atoms):
    """Fractional coordinates (N, 3), not wrapped; unit vectors stand in for missing cell vectors."""
    return atoms.cell.complete().scaled_positions(atoms.positions)
