"""Sums over point dipoles, E = (1/2) sum_{i != j} [m_i.m_j / r^3 - 3 (m_i.r)(m_j.r) / r^5], open or by Ewald.

Everything here is in units of mu_0 mu_B^2 / (4 pi): moments in mu_B and lengths in Angstrom give energies in
mu_B^2/Angstrom^3. With B_0(r) = erfc(a r)/r and B_n = -(1/r) dB_(n-1)/dr, the part summed over pairs is

    E_pairs = sum_pairs [B_1 m_i.m_j - B_2 (m_i.r)(m_j.r)],

and a periodic crystal adds the waves and takes off what they hold of every dipole with itself,

    E_waves = (2 pi / V) sum_{k != 0} exp(-k^2 / 4 a^2) / k^2 |sum_i (m_i.k) exp(i k.R_i)|^2,
    E_self = -(2 a^3 / 3 sqrt(pi)) sum_i m_i^2

(de Leeuw, Perram and Smith, Proc. R. Soc. A 373, 27 (1980)). Leaving out k = 0 means a sample without demagnetising
field. In an open system a = 0.
"""

import numpy as np
from scipy.sparse import bsr_array
from scipy.special import erfc

from ase_spinml.errors import InputError
from ase_spinml.neighbors import COINCIDENT, NeighborList

MAX_OPEN = 3000
"""Most moments of an open system, whose pairs are all kept: 0.7 GB."""
MARGIN = 4.0
"""Logarithm of how much larger the sum of all that is left out is than its largest part."""
STORED = 2**28
"""Bytes up to which the waves at all atoms are kept; beyond, they are found anew for every sum."""
CHUNK = 2**25
"""Bytes of waves found at a time."""


class DipoleSum:
    """Interaction of point dipoles at fixed places, ready for many sets of moments.

    Parameters
    ----------
    positions : (n, 3) array
        Places in Angstrom.
    cell : (3, 3) array, optional
        Rows are lattice vectors of a crystal periodic in all three directions, in Angstrom; None for an open system.
    accuracy : float
        Size of what is left out relative to the field of the nearest neighbours; sets both cutoffs.
    splitting : float, optional
        a in 1/Angstrom; chosen for equal memory in pairs and waves if left out. Results do not depend on it.

    Raises
    ------
    InputError
        Coinciding atoms, a cell without volume, an open system of too many.
    """

    def __init__(self, positions, cell=None, accuracy=1e-8, splitting=None):
        self._positions, self._cell = positions, cell
        self._splitting, self._waves = 0.0, []
        if cell is None:
            self._i, self._j, self._vectors = open_pairs(positions)
        else:
            width = np.sqrt(MARGIN - np.log(accuracy))
            self._volume = abs(np.linalg.det(cell))
            balanced = (300 * max(len(positions), 1) / self._volume**2) ** (1 / 6)
            self._splitting = balanced if splitting is None else splitting
            pairs = NeighborList(width / self._splitting)
            pairs.update(positions, cell, True)
            self._i, self._j, self._vectors = pairs.i, pairs.j, pairs.vectors(positions, cell)
            self._find_waves(2 * self._splitting * width)
        self._screened = screened(np.sum(self._vectors**2, axis=1), self._splitting)
        self._pairs = self._pair_matrix()

    def gradient(self, moments):
        """dE/dm_i, (n, 3), in mu_B/Angstrom^3, for ``moments`` (n, 3) in mu_B; the energy is half of m_i.dE/dm_i."""
        gradient = (self._pairs @ moments.ravel()).reshape(-1, 3)
        gradient -= 4 * self._splitting**3 / (3 * np.sqrt(np.pi)) * moments
        for waves, weights, phases in self._chunks():
            amplitudes = weights * np.einsum("ka,ka->k", phases @ moments, waves)
            gradient += phases.T @ (amplitudes[:, None] * waves)
        return gradient

    def mechanics(self, moments):
        """Forces and virial at fixed ``moments`` (n, 3) in mu_B.

        Returns
        -------
        forces : (n, 3) array
            -dE/dR_i, mu_B^2/Angstrom^4.
        virial : (3, 3) array
            dE/d(strain), mu_B^2/Angstrom^3; only its symmetric part has a meaning.
        """
        pull = self._pair_pull(moments)
        forces = np.zeros_like(moments)
        np.add.at(forces, self._i, pull)
        np.add.at(forces, self._j, -pull)
        virial = self._vectors.T @ pull
        for waves, weights, phases in self._chunks():
            sums = phases @ moments
            amplitudes = np.einsum("ka,ka->k", sums, waves)
            squares = weights * amplitudes**2
            virial -= 0.5 * squares.sum() * np.eye(3)
            falloff = 1 / (4 * self._splitting**2) + 1 / np.sum(waves**2, axis=1)
            virial += waves.T @ ((squares * falloff)[:, None] * waves)
            virial -= sums.T @ ((weights * amplitudes)[:, None] * waves)
            half = len(waves) // 2
            turned = np.concatenate([(weights * amplitudes)[half:], -(weights * amplitudes)[:half]])
            for axis in range(3):
                slope = phases.T @ ((turned * waves[:, axis])[:, None] * waves)
                forces[:, axis] -= np.einsum("ia,ia->i", slope, moments)
        return forces, virial

    def _pair_matrix(self):
        """Sum over pairs as a sparse (3n, 3n) matrix of blocks B_1 - B_2 r r^T."""
        b1, b2, _ = self._screened
        blocks = -b2[:, None, None] * self._vectors[:, :, None] * self._vectors[:, None, :]
        blocks[:, range(3), range(3)] += b1[:, None]
        n = len(self._positions)
        rows, columns = np.concatenate([self._i, self._j]), np.concatenate([self._j, self._i])
        order = np.lexsort((columns, rows))
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))])
        data = np.concatenate([blocks, blocks])[order]
        matrix = bsr_array((data, columns[order], starts), shape=(3 * n, 3 * n), blocksize=(3, 3))
        matrix.sum_duplicates()
        return matrix

    def _pair_pull(self, moments):
        """dE/dr_ij of every pair, (P, 3), in mu_B^2/Angstrom^4: the force on i, and minus that on j."""
        _, b2, b3 = (factor[:, None] for factor in self._screened)
        first, second = moments[self._i], moments[self._j]
        along_first, along_second, product = (
            np.einsum("pa,pa->p", *pair)[:, None]
            for pair in [(first, self._vectors), (second, self._vectors), (first, second)]
        )
        central = (b3 * along_first * along_second - b2 * product) * self._vectors
        return central - b2 * (first * along_second + second * along_first)

    def _find_waves(self, cutoff):
        """Waves in one half of reciprocal space up to ``cutoff`` in 1/Angstrom, with their weights."""
        reciprocal = 2 * np.pi * np.linalg.inv(self._cell).T
        reach = np.floor(cutoff * np.linalg.norm(self._cell, axis=1) / (2 * np.pi)).astype(int)
        orders = np.stack(np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij"), axis=-1).reshape(-1, 3)
        orders = orders[len(orders) // 2 + 1 :]  # the first half holds minus the second, the middle is zero
        square = np.sum((orders @ reciprocal) ** 2, axis=1)
        inside = square <= cutoff**2
        orders, square = orders[inside], square[inside]
        weights = 8 * np.pi / self._volume * np.exp(-square / (4 * self._splitting**2)) / square
        n = len(self._positions)
        size = max(CHUNK // (16 * max(n, 1)), 1)
        self._orders = [(orders[k : k + size], weights[k : k + size]) for k in range(0, len(orders), size)]
        self._reciprocal = reciprocal
        if 16 * n * len(orders) <= STORED:
            self._waves = [self._chunk(*part) for part in self._orders]

    def _chunks(self):
        """Wave vectors (2K, 3), weights (2K,), and phases (2K, n), cosines before sines, part by part."""
        if self._waves or self._splitting == 0:
            return self._waves
        return (self._chunk(*part) for part in self._orders)

    def _chunk(self, orders, weights):
        angles = self._positions @ self._reciprocal.T
        product = 1.0
        for axis in range(3):
            low, high = orders[:, axis].min(), orders[:, axis].max()
            powers = np.exp(1j * np.outer(np.arange(low, high + 1), angles[:, axis]))
            product = product * powers[orders[:, axis] - low]
        waves = orders @ self._reciprocal
        return np.tile(waves, (2, 1)), np.tile(weights, 2), np.concatenate([product.real, product.imag])


def screened(square, splitting):
    """B_1, B_2, B_3 of this module at squared distances (P,) in Angstrom^2, for a in 1/Angstrom (zero: 1/r alone)."""
    distance = np.sqrt(square)
    value = erfc(splitting * distance) / distance
    gauss = 2 / np.sqrt(np.pi) * splitting * np.exp(-(splitting**2) * square)
    values = []
    for n in range(1, 4):
        value = ((2 * n - 1) * value + gauss) / square
        values.append(value)
        gauss = 2 * splitting**2 * gauss
    return values


def open_pairs(positions):
    """All pairs of an open system: i, j (P,) and r_ij = R_j - R_i (P, 3). Raises InputError as DipoleSum."""
    if len(positions) > MAX_OPEN:
        raise InputError(
            f"Expected at most {MAX_OPEN} moments in an open system, got {len(positions)}: surround it with vacuum in "
            "a periodic cell."
        )
    i, j = np.triu_indices(len(positions), 1)
    vectors = positions[j] - positions[i]
    distances = np.linalg.norm(vectors, axis=1)
    if distances.min(initial=np.inf) < COINCIDENT:
        k = np.argmin(distances)
        raise InputError(
            f"atoms must not coincide, got magnetic atoms {i[k]} and {j[k]} at a distance of {distances[k]:.2g} "
            "Angstrom: check positions and cell"
        )
    return i, j, vectors
