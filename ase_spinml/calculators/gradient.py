"""Gradient of a field that is known at the atoms alone."""

import numpy as np
from scipy.sparse import csr_array

from ase_spinml.neighbors import NeighborList

FLAT = 0.01
"""Mean square of the neighbours' distances along a direction, relative to the widest, below which they do not count."""


class LatticeGradient:
    """Least-squares gradient: D_i minimises sum_j w(r_ij) (f_j - f_i - r_ij.D_i)^2 over neighbours within a cutoff.

    It is exact for a field that is linear in the positions, on any lattice and displaced atoms, and the central
    difference on a chain. w = (1 - r^2/r_c^2)^2 lets neighbours enter smoothly. Along directions in which an atom has
    no neighbours (across a film or a chain, vibrating or not) its gradient is zero.

    Parameters
    ----------
    cutoff : float
        r_c in Angstrom.

    Raises
    ------
    InputError
        A cutoff that is not above zero.
    """

    def __init__(self, cutoff):
        self._pairs = NeighborList(cutoff)
        self.cutoff = self._pairs.cutoff
        self._geometry = None

    def update(self, positions, cell, pbc):
        """Set the places (n, 3) in Angstrom, the cell (3, 3) and the periodic directions (3,)."""
        geometry = positions, cell, pbc
        if self._geometry is not None and all(map(np.array_equal, geometry, self._geometry)):
            return
        self._pairs.update(*geometry)
        n, pairs = len(positions), self._pairs
        vectors = pairs.vectors(positions, cell)
        vectors = np.concatenate([vectors, -vectors])
        centre, other = np.concatenate([pairs.i, pairs.j]), np.concatenate([pairs.j, pairs.i])
        weights = np.clip(1 - np.sum(vectors**2, axis=1) / self.cutoff**2, 0, None) ** 2
        spread = np.zeros((n, 3, 3))
        np.add.at(spread, centre, weights[:, None, None] * vectors[:, :, None] * vectors[:, None, :])
        inverse = np.linalg.pinv(spread, rcond=FLAT, hermitian=True)
        slopes = weights[:, None] * np.einsum("pab,pb->pa", inverse[centre], vectors)
        self._slopes = [_differences(slopes[:, axis], centre, other, n) for axis in range(3)]
        self._geometry = tuple(np.array(part) for part in geometry)

    def __call__(self, values, along):
        """(u.grad) f at the atoms, (n, m), for f (n, m) and u (3,)."""
        return sum(component * (matrix @ values) for component, matrix in zip(along, self._slopes, strict=True))

    def sees(self, along):
        """Whether any atom has neighbours that give a gradient along u (3,)."""
        rates = sum(component * matrix.data for component, matrix in zip(along, self._slopes, strict=True))
        return np.abs(rates).max(initial=0.0) * self.cutoff > 1e-9 * np.linalg.norm(along)


def _differences(weights, centre, other, n):
    """Sparse (n, n) matrix that takes f to sum_j weight_ij (f_j - f_i)."""
    atoms = np.arange(n)
    total = np.bincount(centre, weights, minlength=n)
    data = np.concatenate([weights, -total])
    return csr_array((data, (np.concatenate([centre, atoms]), np.concatenate([other, atoms]))), shape=(n, n))
