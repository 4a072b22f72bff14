"""Scalar chirality of a spin and two of its neighbours: the invariants of SOSO that are odd under time reversal."""

import torch

from ase_spinml.descriptors.density import Expansion, chunks


class Chirality:
    """Features sum_m e_i.(V_a x V_b) of the vector densities V_a = sum_j h_n(r_ij) a_1 e_j Y_lm(r_ij), a < b, every l.

    Written out they are sums over pairs of neighbours of P_l(angle jik) e_i.(e_j x e_k): invariant under rotations of
    all spins, under rotations and inversion of space, and odd under time reversal. A state near equilibrium has an
    energy in which they appear squared or in products; the fields of a driven system may contain them in first order
    (Chern et al., arXiv:2604.11513).

    Parameters
    ----------
    density : Density
    magnetic : list of bool
        Which species carry spins.
    """

    odd = True

    def __init__(self, density, magnetic, device):
        self.density = density
        rows = [z * density.n_max + n for z, m in enumerate(magnetic) if m for n in range(density.n_max)]
        self.rows = torch.tensor(rows, dtype=torch.long, device=device)
        self._first, self._second = torch.triu_indices(len(rows), len(rows), offset=1, device=device)
        self.n_features = (density.l_max + 1) * len(self._first)

    def names(self, species, magnetic):
        """Label of every feature."""
        n_max = self.density.n_max
        rows = [f"{z}{n + 1}" for z, m in zip(species, magnetic, strict=True) if m for n in range(n_max)]
        pairs = list(zip(self._first.tolist(), self._second.tolist(), strict=True))
        return [f"chirality l={l} {rows[a]}*{rows[b]}" for l in range(self.density.l_max + 1) for a, b in pairs]

    def parts(self, structure):
        """Chunks of atoms."""
        return (ChiralityPart(self, structure, atoms) for atoms in chunks(structure))

    def invariants(self, vectors, spins):
        """Features (n, F) of vector densities (n, rows, 3, M) and unit spins (n, 3)."""
        columns = []
        for l in range(self.density.l_max + 1):
            v = vectors[..., self.density.slice(l)].transpose(2, 3)  # (n, rows, 2 l + 1, 3)
            turned = torch.linalg.cross(spins[:, None, None, :].expand_as(v), v)
            # e.(a x b) = (e x a).b
            products = (turned.flatten(2) @ v.flatten(2).transpose(1, 2)) / (2 * l + 1) ** 0.5
            columns.append(products[:, self._first, self._second])
        return torch.cat(columns, dim=1)


class ChiralityPart:
    """Features of a chunk of atoms, and the way back."""

    def __init__(self, block, structure, atoms):
        self.block, self.structure, self.atoms = block, structure, atoms
        self._expansion = Expansion(block.density, structure, atoms)
        self._vectors = self._expansion.coefficients[:, block.rows, 1:4]
        self.features = block.invariants(self._vectors, structure.spins[atoms])

    def pullback(self, sensitivity, gradient):
        """Add the derivatives of B energies with dE/dx = sensitivity (B, n, F) to ``gradient``."""
        block, (batch, n) = self.block, sensitivity.shape[:2]
        spins = self.structure.spins[self.atoms]
        to_spins = torch.zeros_like(spins).expand(batch, n, 3)
        to_vectors, start = [], 0
        size, width = len(block.rows), len(block._first)
        for l in range(block.density.l_max + 1):
            v = self._vectors[..., block.density.slice(l)].transpose(2, 3)
            own = sensitivity[..., start : start + width] / (2 * l + 1) ** 0.5
            start += width
            matrix = own.new_zeros(batch, n, size * size)
            matrix = matrix.index_copy(2, block._first * size + block._second, own).view(batch, n, size, size)
            matrix = matrix - matrix.transpose(2, 3)  # E = sum_ab W_ab e.(v_a x v_b) / 2
            paired = (matrix @ v.flatten(2)).view(batch, n, size, -1, 3)  # sum_b W_ab v_b
            to_vectors.append(-torch.linalg.cross(spins[:, None, None, :].expand_as(paired), paired).transpose(3, 4))
            to_spins = to_spins + 0.5 * torch.linalg.cross(v.expand_as(paired), paired).sum((2, 3))
        gradient.spins[:, self.atoms] += to_spins
        coefficients = self._expansion.coefficients
        full = sensitivity.new_zeros(batch, *coefficients.shape)
        rows = torch.zeros_like(full[:, :, :, 1:4]).index_copy(2, block.rows, torch.cat(to_vectors, dim=4))
        full = torch.cat([full[:, :, :, :1], rows, full[:, :, :, 4:]], dim=3)
        self._expansion.pullback(full, gradient)
