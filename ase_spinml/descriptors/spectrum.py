"""Three-body block of SOSO: power spectra of the spin-decorated density."""

import math

import torch

from ase_spinml.descriptors.density import Expansion, chunks


class PowerSpectrum:
    """Invariants of two neighbours and the spins of all three atoms.

    With A = (C[1], e_i.C[e], C[P_2], ...) the scalar densities around atom i and V = C[e] its vector density, the
    features are A_a . A_b and V_a . V_b summed over m, for every l and a <= b in (kind, species, n). Written out they
    are P_l(angle jik) times 1, e_i.e_j, (e_i.e_j)(e_i.e_k), e_j.e_k, P_2(e_i.e_j), ...: every term is even under time
    reversal and invariant under separate rotations of space and spins.

    Parameters
    ----------
    density : Density
    magnetic : list of bool
        Which species carry spins; the others have no e_i.C[e] and no V.
    """

    def __init__(self, density, magnetic, dtype, device):
        self.density = density
        n_max = density.n_max
        self.magnetic_rows = [z * n_max + n for z, m in enumerate(magnetic) if m for n in range(n_max)]
        self._all_magnetic = len(self.magnetic_rows) == density.rows
        self.n_vector = len(self.magnetic_rows)
        self.n_scalar = density.rows + self.n_vector * density.spin_l_max
        self._fold(dtype, device)

    def _fold(self, dtype, device):
        """Where the upper triangles are among all elements of all products, and back, with their weights.

        Off-diagonal elements carry sqrt(2), so that the triangle has the length of the full matrix, and order l
        carries 1 / sqrt(2 l + 1).
        """
        place, weight, unfold, slope = [], [], [], []
        self.pairs, elements, features = [], 0, 0
        for l in range(self.density.l_max + 1):
            scale = 1 / math.sqrt(2 * l + 1)
            for kind, width in (("scalar", self.n_scalar), ("vector", self.n_vector)):
                first, second = torch.triu_indices(width, width)
                off = torch.where(first == second, 1.0, math.sqrt(2.0)).double()
                place.append(elements + first * width + second)
                weight.append(scale * off)
                back = torch.empty(width, width, dtype=torch.long)
                back[first, second] = back[second, first] = torch.arange(len(first))
                unfold.append(features + back.reshape(-1))
                slope.append((scale * torch.where(first == second, 2.0, off))[back.reshape(-1)])
                self.pairs += [(l, kind, x, y) for x, y in zip(first.tolist(), second.tolist(), strict=True)]
                elements, features = elements + width**2, features + len(first)
        self.n_features = features
        self._place, self._unfold = torch.cat(place).to(device), torch.cat(unfold).to(device)
        self._weight, self._slope = (torch.cat(x).to(dtype=dtype, device=device) for x in (weight, slope))

    def names(self, species, magnetic):
        """Label of every feature."""
        n_max = self.density.n_max
        plain = [f"{z}{n + 1}" for z in species for n in range(n_max)]
        spin = [plain[row] for row in self.magnetic_rows]
        scalar = plain + [f"{c}(ei.ej)" for c in spin]
        scalar += [f"{c}P{l}(ei.ej)" for l in range(2, self.density.spin_l_max + 1) for c in spin]
        labels = {"scalar": scalar, "vector": [f"{c}(ej)" for c in spin]}
        return [f"angle l={l} {labels[kind][x]}*{labels[kind][y]}" for l, kind, x, y in self.pairs]

    def parts(self, structure):
        """Chunks of atoms."""
        return (PowerSpectrumPart(self, structure, atoms) for atoms in chunks(structure))

    def scalars_and_vectors(self, c, spins):
        """A (n, a, M) and V (n, v, 3, M) from the coefficients c (n, rows, S, M) and unit spins (n, 3)."""
        magnetic = c if self._all_magnetic else c[:, self.magnetic_rows]
        v = magnetic[:, :, 1:4]
        parallel = (v * spins.view(-1, 1, 3, 1)).sum(2)
        higher = [magnetic[:, :, s] for s in range(4, self.density.n_spin)]
        return torch.cat([c[:, :, 0], parallel, *higher], dim=1), v

    def gather(self, da, dv, spins):
        """dE/dC (B, n, rows, S, M) from dE/dA and dE/dV, the transpose of :meth:`scalars_and_vectors`."""
        rows, v = self.density.rows, self.n_vector
        parallel = da[:, :, rows : rows + v].unsqueeze(3)
        magnetic = [torch.addcmul(dv, parallel, spins.view(-1, 1, 3, 1))]
        higher = [slice(rows + k * v, rows + (k + 1) * v) for k in range(1, self.density.spin_l_max)]
        magnetic += [da[:, :, pick].unsqueeze(3) for pick in higher]
        magnetic = torch.cat(magnetic, dim=3)
        if not self._all_magnetic:
            full = magnetic.new_zeros(*magnetic.shape[:2], rows, *magnetic.shape[3:])
            magnetic = full.index_copy(2, torch.tensor(self.magnetic_rows, device=full.device), magnetic)
        return torch.cat([da[:, :, :rows].unsqueeze(3), magnetic], dim=3)


class PowerSpectrumPart:
    """Features of a chunk of atoms, and the way back."""

    def __init__(self, block, structure, atoms):
        self.block, self.structure, self.atoms = block, structure, atoms
        self._expansion = Expansion(block.density, structure, atoms)
        self._spins = structure.spins[atoms]
        a, self._v = block.scalars_and_vectors(self._expansion.coefficients, self._spins)
        orders = [block.density.slice(l) for l in range(block.density.l_max + 1)]
        self._factors = [x[..., m].flatten(2) for m in orders for x in (a, self._v)]
        products = [torch.bmm(x, x.transpose(1, 2)).flatten(1) for x in self._factors]
        self.features = torch.cat(products, dim=1).index_select(1, block._place) * block._weight

    def pullback(self, sensitivity, gradient):
        """Add the derivatives of B energies with dE/dx = sensitivity (B, n, F) to ``gradient``."""
        block, (batch, n) = self.block, sensitivity.shape[:2]
        elements = sensitivity.index_select(2, block._unfold) * block._slope
        start, slopes = 0, ([], [])
        for k, x in enumerate(self._factors):
            width = x.shape[1]
            matrix = elements[..., start : start + width**2].view(batch, n, width, width)
            slopes[k % 2].append(matrix @ x)
            start += width**2
        da = torch.cat(slopes[0], dim=3)
        dv = torch.cat([x.view(batch, n, block.n_vector, 3, -1) for x in slopes[1]], dim=4)
        parallel = da[:, :, block.density.rows : block.density.rows + block.n_vector]
        gradient.spins[:, self.atoms] += (parallel.unsqueeze(3) * self._v).sum((2, 4))
        self._expansion.pullback(block.gather(da, dv, self._spins), gradient)
