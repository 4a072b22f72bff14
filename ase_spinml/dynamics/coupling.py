"""The learned pair coupling of the spin step, kept up to date for an Atoms object."""

import numpy as np

from ase_spinml.dynamics.solver import fit_coupling, pair_basis
from ase_spinml.neighbors import NeighborList

RANGE = 1.7
"""Range of the coupling in typical nearest-neighbour distances: two or three shells of a crystal."""
REFRESH = 20
"""Steps between two fits, once a few have been made."""


class PairCouplings:
    """Fits the coupling of the magnetic atoms anew, before steps 1, 2, 4, ... and then every ``REFRESH`` steps.

    Parameters
    ----------
    magnetic : (N,) bool
        Atoms that carry a moment, n of them.
    """

    def __init__(self, magnetic):
        self._magnetic = magnetic
        self._steps = 0
        self._due = 1
        self._list = self._geometry = None

    def due(self):
        """Count one step; whether the coupling should be fitted before it."""
        self._steps += 1
        if self._steps < self._due:
            return False
        self._due = min(2 * self._steps, self._steps + REFRESH)
        return True

    def fit(self, atoms, lengths, frames):
        """Coupling fitted at the present positions.

        Parameters
        ----------
        atoms : ase.Atoms
            Gives positions, cell and species.
        lengths : (n,)
            m_i in mu_B of the magnetic atoms.
        frames : list of ((n, 3), (n, 3))
            Spins and transverse fields in eV/mu_B.
        """
        geometry = atoms.positions[self._magnetic], atoms.cell.array.copy(), atoms.pbc.copy()
        if self._geometry is None or not all(map(np.array_equal, geometry, self._geometry)):
            self._slots = self._pairs(atoms, geometry)
            self._geometry = geometry
        return fit_coupling(*self._slots, lengths, frames)

    def _pairs(self, atoms, geometry):
        """Neighbours (n, K) and radial functions (n, K, B)."""
        if self._list is None:
            self._list = NeighborList(_coupling_range(*geometry), skin=0.3)
        self._list.update(*geometry)
        neighbours, shifts, filled = self._list.directed()
        vectors = geometry[0][neighbours] + shifts @ geometry[1] - geometry[0][:, None]
        distances = np.linalg.norm(vectors, axis=-1)
        _, species = np.unique(atoms.numbers[self._magnetic], return_inverse=True)
        pairs = np.sort(np.stack(np.broadcast_arrays(species[:, None], species[neighbours])), axis=0)
        kinds = pairs[0] + (species.max() + 1) * pairs[1]
        return neighbours, pair_basis(distances, kinds, filled)


def _coupling_range(positions, cell, pbc):
    """``RANGE`` times the median distance to the nearest neighbour, in the length unit of the positions."""
    for reach in 1.5 ** np.arange(1, 8):
        pairs = NeighborList(reach)
        pairs.update(positions, cell, pbc)
        nearest = np.full(len(positions), np.inf)
        distances = np.linalg.norm(pairs.vectors(positions, cell), axis=1)
        np.minimum.at(nearest, pairs.i, distances)
        np.minimum.at(nearest, pairs.j, distances)
        if np.isfinite(np.median(nearest)):
            return RANGE * np.median(nearest)
    return reach
