"""Neighbour pairs with a Verlet skin, found by vesin.

Pairs are kept as a half list (each unique pair once, periodic images of an atom with itself included), and, on demand,
as a directed table (atom, slot) that many-body sums over neighbours can use as a dense array.
"""

import numpy as np
from vesin import NeighborList as VesinList

from ase_spinml.errors import InputError

COINCIDENT = 0.01
"""Atoms closer than this, in Angstrom, are taken for a mistake."""

MAX_CELLS, MAX_ASPECT = 90_000, 30
"""Beyond both, the finder's own reduction of its number of cells is not relied upon."""


class NeighborList:
    """Half list of neighbour pairs that is found anew only when it may have become incomplete.

    The list holds every pair closer than ``cutoff + skin`` at the moment it was built; until an atom has moved by more
    than ``skin / 2`` it therefore contains every pair closer than ``cutoff``. Pairs beyond the cutoff are left in: a
    smooth cutoff function gives them exactly zero.

    Parameters
    ----------
    cutoff : float
        Interaction range in Angstrom, > 0.
    skin : float
        Extra range in Angstrom, >= 0. Zero rebuilds at every change.

    Attributes
    ----------
    i, j : (P,) int64
        Atoms of each unique pair, sorted by i.
    shifts : (P, 3) float64
        Lattice translations S of the second atom: r_ij = R_j + S.cell - R_i.
    builds : int
        How often the list was found anew.
    """

    def __init__(self, cutoff, skin=0.0):
        if not cutoff > 0 or not skin >= 0:
            raise InputError(f"a neighbour list needs cutoff > 0 and skin >= 0 in Angstrom, got {cutoff} and {skin}")
        self.cutoff = float(cutoff)
        self.skin = float(skin)
        self.builds = 0
        self._reference = None

    def update(self, positions, cell, pbc):
        """Make the list complete for this geometry; True when pairs were found anew.

        Parameters
        ----------
        positions : (N, 3) array
            In Angstrom.
        cell : (3, 3) array
            Rows are lattice vectors.
        pbc : (3,) array of bool
        """
        positions = np.array(positions, dtype=float)
        cell = np.array(cell, dtype=float)
        pbc = np.array(np.broadcast_to(pbc, 3), dtype=bool)
        if self._still_complete(positions, cell, pbc):
            return False
        self._check(positions, cell, pbc)
        reach, box = self.cutoff + self.skin, _box(cell, pbc)
        wider = _safe_range(positions, box, reach)
        finder = VesinList(cutoff=wider, full_list=False, sorted=True, n_threads=1)
        i, j, shifts, distances = finder.compute(points=positions, box=box, periodic=pbc, quantities="ijSd")
        if wider > reach:
            near = distances < reach
            i, j, shifts, distances = i[near], j[near], shifts[near], distances[near]
        if distances.min(initial=np.inf) < COINCIDENT:
            k = np.argmin(distances)
            raise InputError(
                f"atoms must not coincide, got atoms {i[k]} and {j[k]} at a distance of {distances[k]:.2g} Angstrom: "
                "check positions and cell"
            )
        self.i = i.astype(np.int64)
        self.j = j.astype(np.int64)
        self.shifts = shifts.astype(float)
        self._reference = (positions, cell, pbc)
        self.builds += 1
        return True

    def vectors(self, positions, cell):
        """Pair vectors r_ij = R_j + S.cell - R_i, (P, 3), in Angstrom."""
        return positions[self.j] - positions[self.i] + self.shifts @ np.asarray(cell)

    def slots(self):
        """Both directions of every pair as a dense table of pair numbers.

        Returns
        -------
        (N, K) int64
            p for the pair seen from i[p], P + p for the same pair seen from j[p], -1 in empty slots. K is the largest
            number of neighbours (at least 1).
        """
        n_atoms = len(self._reference[0])
        centre = np.concatenate([self.i, self.j])
        order = np.argsort(centre, kind="stable")
        centre = centre[order]
        counts = np.bincount(centre, minlength=n_atoms)
        slot = np.arange(len(centre)) - (np.cumsum(counts) - counts)[centre]
        table = np.full((n_atoms, max(int(counts.max(initial=0)), 1)), -1, dtype=np.int64)
        table[centre, slot] = order
        return table

    def directed(self):
        """Both directions of every pair as a dense table.

        Returns
        -------
        neighbours : (N, K) int64
            Index of the neighbour in each slot; 0 in empty slots.
        shifts : (N, K, 3) float64
            Its lattice translation, 0 in empty slots.
        filled : (N, K) bool
            False in empty slots. K is the largest number of neighbours (at least 1).
        """
        slots = self.slots()
        filled = slots >= 0
        neighbours = np.zeros(slots.shape, dtype=np.int64)
        shifts = np.zeros((*slots.shape, 3))
        neighbours[filled] = np.concatenate([self.j, self.i])[slots[filled]]
        shifts[filled] = np.concatenate([self.shifts, -self.shifts])[slots[filled]]
        return neighbours, shifts, filled

    def _still_complete(self, positions, cell, pbc):
        if self._reference is None:
            return False
        old_positions, old_cell, old_pbc = self._reference
        if positions.shape != old_positions.shape or not np.array_equal(pbc, old_pbc):
            return False
        if not np.array_equal(cell, old_cell):
            return False
        moved = np.max(np.sum((positions - old_positions) ** 2, axis=1), initial=0.0)
        return moved <= (0.5 * self.skin) ** 2

    @staticmethod
    def _check(positions, cell, pbc):
        if not np.isfinite(positions).all() or not np.isfinite(cell).all():
            raise InputError("positions and cell must be finite numbers in Angstrom, got NaN or infinity")
        if pbc.any() and np.linalg.matrix_rank(cell[pbc]) < pbc.sum():
            raise InputError(
                f"periodic directions {pbc.tolist()} need linearly independent cell vectors, got {cell.tolist()}"
            )


def _safe_range(positions, box, reach):
    """``reach``, or for large films and chains a longer range, as vesin (0.6) divides by zero there.

    It sorts atoms into cells no thinner than the range. To keep them below 100 000 it makes all directions coarser by
    one factor, which leaves none across a film of some hundred cells along its sides.
    """
    heights = np.linalg.norm(np.linalg.inv(box), axis=0) ** -1.0
    extents = np.ptp(positions @ np.linalg.inv(box), axis=0) * heights if len(positions) else heights
    cells = np.maximum(np.maximum(heights, extents) // reach, 1.0)
    thin = np.maximum(np.minimum(heights, extents) // reach, 1.0)
    if cells.prod() < MAX_CELLS or cells.max() < MAX_ASPECT * thin.min():
        return reach
    while cells.prod() >= MAX_CELLS:
        reach *= 1.05
        cells = np.maximum(np.maximum(heights, extents) // reach, 1.0)
    return reach


def _box(cell, pbc):
    """Cell whose non-periodic rows are replaced where they are missing, as the finder wants a volume."""
    box = cell.copy()
    for axis in np.flatnonzero(~pbc):
        if np.linalg.matrix_rank(box) < 3:
            others = np.delete(box, axis, axis=0)
            box[axis] = np.linalg.svd(others)[2][-1]
    return box
