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
        self._scalar = _Triangle(self.n_scalar, dtype, device)
        self._vector = _Triangle(self.n_vector, dtype, device)
        self.n_features = (density.l_max + 1) * (self._scalar.size + self._vector.size)

    def names(self, species, magnetic):
        """Label of every feature."""
        n_max = self.density.n_max
        plain = [f"{z}{n + 1}" for z in species for n in range(n_max)]
        spin = [plain[row] for row in self.magnetic_rows]
        scalar = plain + [f"{c}(ei.ej)" for c in spin]
        scalar += [f"{c}P{l}(ei.ej)" for l in range(2, self.density.spin_l_max + 1) for c in spin]
        vector = [f"{c}(ej)" for c in spin]
        return [
            f"angle l={l} {labels[a]}*{labels[b]}"
            for l in range(self.density.l_max + 1)
            for labels, triangle in ((scalar, self._scalar), (vector, self._vector))
            for a, b in triangle.pairs
        ]

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
        magnetic += [da[:, :, rows + k * v : rows + (k + 1) * v].unsqueeze(3) for k in range(1, self.density.spin_l_max)]
        magnetic = torch.cat(magnetic, dim=3)
        if not self._all_magnetic:
            full = magnetic.new_zeros(*magnetic.shape[:2], rows, *magnetic.shape[3:])
            magnetic = full.index_copy(2, torch.tensor(self.magnetic_rows, device=full.device), magnetic)
        return torch.cat([da[:, :, :rows].unsqueeze(3), magnetic], dim=3)


class _Triangle:
    """Upper triangle of a symmetric matrix, off-diagonal elements times sqrt(2): the length of the full matrix."""

    def __init__(self, width, dtype, device):
        first, second = torch.triu_indices(width, width, device=device)
        self.width, self.size = width, len(first)
        self.pairs = list(zip(first.tolist(), second.tolist(), strict=True))
        self._place = first * width + second
        self._mirror = second * width + first
        self._weight = torch.where(first == second, 1.0, math.sqrt(2.0)).to(dtype)
        place = torch.empty(width, width, dtype=torch.long, device=device)
        place[first, second] = place[second, first] = torch.arange(self.size, device=device)
        self._unfold = place.reshape(-1)
        slope = torch.where(first == second, 2.0, math.sqrt(2.0)).to(dtype)
        self._slope = slope.index_select(0, self._unfold)

    def products(self, x, scale):
        """x_a . x_b (n, size) of rows x (n, width, ...)."""
        x = x.flatten(2)
        return torch.bmm(x, x.transpose(1, 2)).flatten(1).index_select(1, self._place) * (scale * self._weight)

    def pullback(self, sensitivity, x, scale):
        """dE/dx (B, n, width, ...) for dE/dproducts (B, n, size)."""
        matrix = sensitivity.index_select(2, self._unfold) * (scale * self._slope)
        return (matrix.view(*matrix.shape[:2], self.width, self.width) @ x.flatten(2)).view(len(matrix), *x.shape)


class PowerSpectrumPart:
    """Features of a chunk of atoms, and the way back."""

    def __init__(self, block, structure, atoms):
        self.block, self.structure, self.atoms = block, structure, atoms
        self._expansion = Expansion(block.density, structure, atoms)
        self._spins = structure.spins[atoms]
        self._a, self._v = block.scalars_and_vectors(self._expansion.coefficients, self._spins)
        self.features = torch.cat(
            [
                triangle.products(x[..., m].contiguous(), scale)
                for m, scale in self._orders()
                for triangle, x in ((block._scalar, self._a), (block._vector, self._v))
            ],
            dim=1,
        )

    def _orders(self):
        return [
            (self.block.density.slice(l), 1 / math.sqrt(2 * l + 1)) for l in range(self.block.density.l_max + 1)
        ]

    def pullback(self, sensitivity, gradient):
        """Add the derivatives of B energies with dE/dx = sensitivity (B, n, F) to ``gradient``."""
        block, start = self.block, 0
        slopes = ([], [])
        for m, scale in self._orders():
            for out, triangle, x in zip(slopes, (block._scalar, block._vector), (self._a, self._v), strict=True):
                part = sensitivity[..., start : start + triangle.size]
                out.append(triangle.pullback(part, x[..., m].contiguous(), scale))
                start += triangle.size
        da, dv = torch.cat(slopes[0], dim=-1), torch.cat(slopes[1], dim=-1)
        parallel = da[:, :, block.density.rows : block.density.rows + block.n_vector]
        gradient.spins[:, self.atoms] += (parallel.unsqueeze(3) * self._v).sum((2, 4))
        self._expansion.pullback(block.gather(da, dv, self._spins), gradient)
