"""Two-body block of SOSO: exchange between pairs of spins."""

import torch

from ase_spinml.descriptors.basis import RadialTable, legendre
from ase_spinml.descriptors.structure import add_rows, flat_index

CHUNK = 8192
"""Pairs worked on at a time: their features stay in the processor's cache."""


class PairBlock:
    """Features c_i[Z, l, n] = sum_j h_n(r_ij) a_l P_l(e_i.e_j) over neighbours j of species Z.

    l = 0 is the lattice, l = 1 bilinear exchange, l = 2 biquadratic, and so on: the two-body form of
    arXiv:2403.10769. A feature of a pair is the same seen from either end, so each unique pair is worked on once and
    its derivative needs only the sum of the two atoms' sensitivities.

    Parameters
    ----------
    smearing : (spin_l_max + 1,) array
        a_l.
    magnetic : list of bool
        Which species carry spins; the others have the l = 0 channel only.
    """

    def __init__(self, cutoff, n_max, width, smearing, magnetic, dtype, device):
        self.n_max = n_max
        self.l_max = len(smearing) - 1
        self.n_species = len(magnetic)
        self._smearing = [float(a) for a in smearing]
        self._radial = RadialTable(cutoff, n_max, width, dtype, device)
        size = (self.l_max + 1) * n_max
        keep = [z * size + c for z, m in enumerate(magnetic) for c in range(size if m else n_max)]
        self._columns = None if len(keep) == self.n_species * size else torch.tensor(keep, device=device)
        self.n_features = len(keep)
        self.lattice_columns = [k for k, c in enumerate(keep) if c % size < n_max]

    def names(self, species, magnetic):
        """Label of every feature: neighbour species, n, l."""
        return [
            f"pair {z} n={n + 1} l={l}"
            for z, m in zip(species, magnetic, strict=True)
            for l in range(self.l_max + 1 if m else 1)
            for n in range(self.n_max)
        ]

    def parts(self, structure):
        """The one part of this block: all atoms at once."""
        return [PairPart(self, structure)]

    def _lattice(self, structure):
        """Per chunk of pairs: atoms, scatter rows, unit vector, vector, h_n and dh_n/dr."""
        chunks = []
        for start in range(0, len(structure.i), CHUNK):
            pick = slice(start, start + CHUNK)
            i, j = structure.i[pick], structure.j[pick]
            vector = structure.positions.index_select(0, j) - structure.positions.index_select(0, i)
            vector += structure.pair_shifts[pick]
            distance = vector.square().sum(1).sqrt_()
            row_i, row_j = i, j
            if self.n_species > 1:
                row_i = i * self.n_species + structure.species.index_select(0, j)
                row_j = j * self.n_species + structure.species.index_select(0, i)
            chunks.append((i, j, row_i, row_j, vector, distance, *self._radial(distance)))
        return chunks

    def _cosines(self, structure, i, j):
        """a_l P_l(b), a_l P_l'(b) for each pair as (P, l_max + 1), l >= 1 vanishing without a moment."""
        e_i, e_j = structure.spins.index_select(0, i), structure.spins.index_select(0, j)
        b = (e_i * e_j).sum(1)
        values, slopes = legendre(b, self.l_max)
        values = torch.stack([a * p for a, p in zip(self._smearing, values, strict=True)], dim=1)
        slopes = torch.stack([a * p for a, p in zip(self._smearing, slopes, strict=True)], dim=1)
        if self.l_max > 1 and not structure.spins.any(1).all():
            both = (e_i.any(1) & e_j.any(1)).to(b.dtype).unsqueeze(1)
            values[:, 1:] *= both
            slopes[:, 1:] *= both
        return values, slopes


class PairPart:
    """Features of all atoms of one structure, and the way back from sensitivities to derivatives."""

    def __init__(self, block, structure):
        self.atoms = slice(0, len(structure))
        self._block, self.structure = block, structure
        cache = structure.cache
        if block not in cache:
            cache[block] = block._lattice(structure)
        self._chunks = cache[block]
        size = (block.l_max + 1) * block.n_max
        sums = structure.positions.new_zeros(len(structure) * block.n_species, size)
        self._angles = []
        for i, j, row_i, row_j, _, _, h, _ in self._chunks:
            angles = block._cosines(structure, i, j)
            terms = torch.einsum("pl,pn->pln", angles[0], h).reshape(len(i), size)
            sums.index_add_(0, row_i, terms).index_add_(0, row_j, terms)
            self._angles.append(angles)
        self.features = sums.view(len(structure), -1)
        if block._columns is not None:
            self.features = self.features.index_select(1, block._columns)

    def pullback(self, sensitivity, gradient):
        """Add the derivatives of B energies with dE/dx = sensitivity (B, N, F) to ``gradient``."""
        block = self._block
        batch, n_atoms = sensitivity.shape[:2]
        size = (block.l_max + 1) * block.n_max
        if block._columns is not None:
            full = sensitivity.new_zeros(batch, n_atoms, block.n_species * size)
            sensitivity = full.index_copy(2, block._columns, sensitivity)
        n_rows = n_atoms * block.n_species
        rows = sensitivity.reshape(batch * n_rows, size)
        spins = self.structure.spins
        for (i, j, row_i, row_j, vector, distance, h, dh), (p, dp) in zip(self._chunks, self._angles, strict=True):
            shape = (batch, len(i), -1, block.n_max)
            at_i = rows.index_select(0, flat_index(row_i, batch, n_rows)).view(shape)
            at_j = rows.index_select(0, flat_index(row_j, batch, n_rows)).view(shape)
            both = at_i + at_j
            to_i = to_j = _along(at_i if gradient.centred else both, h, dp)
            if gradient.centred:
                to_j = _along(at_j, h, dp)
            add_rows(gradient.spins, i, to_i * spins.index_select(0, j))
            add_rows(gradient.spins, j, to_j * spins.index_select(0, i))
            if gradient.lattice:
                radial = ((both @ dh.unsqueeze(2)).squeeze(3) * p).sum(2) / distance
                force = radial.unsqueeze(2) * vector
                add_rows(gradient.positions, j, force)
                add_rows(gradient.positions, i, -force)
                gradient.add_virial(i, force, vector)


def _along(slope, h, dp):
    """dE/d(e_i.e_j) (B, P, 1) from dE/dx (B, P, l_max + 1, n_max), h_n (P, n_max) and P_l' (P, l_max + 1)."""
    return ((slope @ h.unsqueeze(2)).squeeze(3) * dp).sum(2, keepdim=True)
