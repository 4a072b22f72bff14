"""Expansion of the spin-decorated neighbour density, and three-body invariants made of it."""

import math

import sphericart.torch
import torch

from ase_spinml.descriptors.basis import RadialTable, legendre

CHUNK = 256
"""Atoms worked on at a time: their expansion stays in the processor's cache."""


class Density:
    """Coefficients of the spin-decorated density around each atom.

    C_i[l][(Z, n), m, s] = sum_j h_nl(r_ij) Y_lm(r_ij) u_s(i, j) over neighbours j of species Z, with the spin functions
    u = (1, a_1 e_j^x, a_1 e_j^y, a_1 e_j^z, a_2 P_2(e_i.e_j), ..., a_L P_L(e_i.e_j)).

    Parameters
    ----------
    smearing : (L + 1,) array
        a_0 .. a_L.
    """

    def __init__(self, cutoff, n_max, l_max, width, smearing, n_species, dtype, device):
        self.n_max, self.l_max, self.n_species = n_max, l_max, n_species
        self.spin_l_max = len(smearing) - 1
        self.n_spin = 4 + max(self.spin_l_max - 1, 0)
        self.cutoff = cutoff
        self._smearing = [float(a) for a in smearing]
        self._radial = RadialTable(cutoff, n_max, l_max, width, dtype, device)
        self._harmonics = sphericart.torch.SphericalHarmonics(l_max)

    def lattice(self, structure, atoms):
        """Radial and angular functions of the neighbours of ``atoms`` (a slice), with derivatives."""
        j = structure.neighbours[atoms]
        n, k = j.shape
        vector = structure.positions.index_select(0, j.reshape(-1)).view(n, k, 3)
        vector = vector - structure.positions[atoms].unsqueeze(1) + structure.shifts[atoms]
        filled = structure.filled[atoms]
        far = vector.new_tensor([2 * self.cutoff, 0.0, 0.0])
        vector = torch.where(filled.unsqueeze(2), vector, far).view(n * k, 3)
        distance = vector.square().sum(1).sqrt_()
        h, dh = self._radial(distance)
        y, dy = self._harmonics.compute_with_gradients(vector)
        h, dh = h.view(n, k, -1), dh.view(n, k, -1)
        if self.n_species > 1:
            kinds = structure.species.index_select(0, j.reshape(-1)).view(n, k)
            h, dh = self._by_species(h, kinds), self._by_species(dh, kinds)
        unit = vector / distance.unsqueeze(1)
        return j, vector.view(n, k, 3), unit.view(n, k, 3), h, dh, y.view(n, k, -1), dy.view(n, k, 3, -1)

    def cached_lattice(self, structure, atoms):
        """:meth:`lattice`, kept in the structure's cache when the whole structure is one chunk."""
        if self in structure.cache:
            return structure.cache[self]
        lattice = self.lattice(structure, atoms)
        if len(structure) <= CHUNK:
            structure.cache[self] = lattice
        return lattice

    def _by_species(self, h, kinds):
        """(n, K, l, nr) -> (n, K, l, Z, nr), zero but for the neighbour's species."""
        n, k = kinds.shape
        one_hot = torch.nn.functional.one_hot(kinds, self.n_species).to(h.dtype)
        spread = h.view(n, k, self.l_max + 1, 1, self.n_max) * one_hot.view(n, k, 1, -1, 1)
        return spread.reshape(n, k, -1)

    def spin_functions(self, structure, atoms, j):
        """u_s(i, j) (n, K, S) and what their derivatives need."""
        n, k = j.shape
        e_j = structure.spins.index_select(0, j.reshape(-1)).view(n, k, 3)
        u = e_j.new_empty(n, k, self.n_spin)
        u[..., 0] = 1.0
        u[..., 1:4] = e_j if self.spin_l_max < 1 else self._smearing[1] * e_j
        if self.spin_l_max < 2:
            return u, e_j, None
        e_i = structure.spins[atoms].unsqueeze(1)
        values, slopes = legendre((e_i * e_j).sum(2), self.spin_l_max)
        both = (e_i.any(2) & e_j.any(2)).to(u.dtype)
        for l in range(2, self.spin_l_max + 1):
            u[..., l + 2] = self._smearing[l] * both * values[l]
        slopes = torch.stack([self._smearing[l] * both * slopes[l] for l in range(2, self.spin_l_max + 1)], dim=2)
        return u, e_j, slopes

    def expand(self, h, y, u):
        """Coefficients as a list over l of (n, Z * nr, 2 l + 1, S)."""
        n, k = h.shape[:2]
        yu = (y.unsqueeze(3) * u.unsqueeze(2)).view(n, k, -1)
        s, rows = self.n_spin, self.n_species * self.n_max
        return [
            torch.bmm(
                h[:, :, l * rows : (l + 1) * rows].transpose(1, 2), yu[:, :, l * l * s : (l + 1) ** 2 * s]
            ).view(n, rows, 2 * l + 1, s)
            for l in range(self.l_max + 1)
        ]

    def pullback(self, structure, atoms, lattice, spin, d_coefficients, gradient):
        """Add the derivatives of B energies with dE/dC = d_coefficients, a list of (B, n, Z * nr, 2 l + 1, S)."""
        j, vector, unit, h, dh, y, dy = lattice
        u, e_j, slopes = spin
        n, k = j.shape
        batch = d_coefficients[0].shape[0]
        w = self._contract(h, d_coefficients)  # (B, n, K, (l_max+1)^2, S)
        du = (w * y.unsqueeze(3)).sum(3)
        a1 = self._smearing[1] if self.spin_l_max >= 1 else 1.0
        d_neighbour = a1 * du[..., 1:4]
        if slopes is not None:
            along = (du[..., 4:] * slopes).sum(3, keepdim=True)
            d_neighbour = d_neighbour + along * structure.spins[atoms].unsqueeze(1)
            gradient.spins[:, atoms] += (along * e_j).sum(2)
        flat = j.reshape(-1)
        gradient.spins.index_add_(1, flat, d_neighbour.reshape(batch, n * k, 3))
        if gradient.lattice:
            wu = (w * u.unsqueeze(2)).sum(4)  # dE/dY
            wr = self._contract(dh, d_coefficients)
            radial = ((wr * u.unsqueeze(2)).sum(4) * y).sum(3)
            g = radial.unsqueeze(3) * unit + (dy @ wu.unsqueeze(4)).squeeze(4)
            gradient.positions[:, atoms] -= g.sum(2)
            gradient.positions.index_add_(1, flat, g.reshape(batch, n * k, 3))
            gradient.virial += g.reshape(batch, n * k, 3).transpose(1, 2) @ vector.reshape(n * k, 3)

    def _contract(self, h, d_coefficients):
        """sum_n h_nl(r_ij) dC, (B, n, K, (l_max+1)^2, S)."""
        rows = self.n_species * self.n_max
        blocks = [
            h[:, :, l * rows : (l + 1) * rows] @ dc.flatten(3) for l, dc in enumerate(d_coefficients)
        ]
        w = torch.cat(blocks, dim=3)
        return w.view(*w.shape[:3], (self.l_max + 1) ** 2, self.n_spin)


class PowerSpectrum:
    """Three-body block of SOSO: power spectra of the spin-decorated density.

    With A = (C[1], e_i.C[e], C[P_2], ...) the scalar densities around atom i and V = C[e] its vector density, the
    features are A_a . A_b and V_a . V_b summed over m, for every l and a <= b in (species, n, kind). Written out they
    are P_l(angle jik) times 1, e_i.e_j, (e_i.e_j)(e_i.e_k), e_j.e_k, P_2(e_i.e_j), ...: every term is even under time
    reversal and invariant under separate rotations of space and spins.
    """

    def __init__(self, density, magnetic, dtype, device):
        self.density = density
        rows, s = density.n_species * density.n_max, density.n_spin
        spin_rows = [z * density.n_max + n for z, m in enumerate(magnetic) if m for n in range(density.n_max)]
        self._spin_rows = torch.tensor(spin_rows, dtype=torch.long, device=device)
        kinds = [0, *range(4, s)]
        n_scalar = rows + len(spin_rows) * len(kinds)
        self._scalar = torch.triu_indices(n_scalar, n_scalar, device=device)
        self._vector = torch.triu_indices(len(spin_rows), len(spin_rows), device=device)
        self._scalar_weight = self._weights(self._scalar, dtype)
        self._vector_weight = self._weights(self._vector, dtype)
        self.n_features = (density.l_max + 1) * (self._scalar.shape[1] + self._vector.shape[1])

    def _weights(self, pairs, dtype):
        """sqrt(2) off the diagonal, so that the triangle has the length of the full matrix."""
        return torch.where(pairs[0] == pairs[1], 1.0, math.sqrt(2.0)).to(dtype)

    def names(self, species, magnetic):
        """Label of every feature."""
        n_max, s = self.density.n_max, self.density.n_spin
        plain = [f"{z}{n + 1}" for z in species for n in range(n_max)]
        spin = [f"{z}{n + 1}" for z, m in zip(species, magnetic, strict=True) if m for n in range(n_max)]
        scalar = plain + [f"{c}(ei.ej)" for c in spin]
        scalar += [f"{c}P{k - 2}(ei.ej)" for k in range(4, s) for c in spin]
        vector = [f"{c}(ej)" for c in spin]
        return [
            f"angle l={l} {labels[a]}*{labels[b]}"
            for l in range(self.density.l_max + 1)
            for labels, pairs in ((scalar, self._scalar), (vector, self._vector))
            for a, b in pairs.T.tolist()
        ]

    def parts(self, structure):
        """Chunks of atoms."""
        for start in range(0, len(structure), CHUNK):
            yield PowerSpectrumPart(self, structure, slice(start, min(start + CHUNK, len(structure))))

    def scalars_and_vectors(self, coefficients, spins):
        """A (n, a, 2l+1) and V (n, v, (2l+1)*3) from C_l (n, rows, 2l+1, S)."""
        magnetic = coefficients.index_select(1, self._spin_rows)
        vectors = magnetic[..., 1:4]
        scalars = [coefficients[..., 0], (vectors * spins.view(-1, 1, 1, 3)).sum(3)]
        scalars += [magnetic[..., k] for k in range(4, self.density.n_spin)]
        return torch.cat(scalars, dim=1), vectors.flatten(2)


class PowerSpectrumPart:
    """Features of a chunk of atoms, and the way back."""

    def __init__(self, block, structure, atoms):
        self.atoms = atoms
        self._block, self.structure = block, structure
        density = block.density
        self._lattice = density.cached_lattice(structure, atoms)
        self._spin = density.spin_functions(structure, atoms, self._lattice[0])
        coefficients = density.expand(self._lattice[3], self._lattice[5], self._spin[0])
        self._terms = [block.scalars_and_vectors(c, structure.spins[atoms]) for c in coefficients]
        features = []
        for l, (a, v) in enumerate(self._terms):
            scale = 1.0 / math.sqrt(2 * l + 1)
            for x, pairs, weight in ((a, block._scalar, block._scalar_weight), (v, block._vector, block._vector_weight)):
                product = torch.bmm(x, x.transpose(1, 2)).flatten(1)
                columns = pairs[0] * x.shape[1] + pairs[1]
                features.append(product.index_select(1, columns) * (scale * weight))
        self.features = torch.cat(features, dim=1)

    def pullback(self, sensitivity, gradient):
        """Add the derivatives of B energies with dE/dx = sensitivity (B, n, F) to ``gradient``."""
        block, structure, atoms = self._block, self.structure, self.atoms
        density = block.density
        spins = structure.spins[atoms]
        start, d_coefficients = 0, []
        rows = density.n_species * density.n_max
        n_spin_rows = len(block._spin_rows)
        for l, (a, v) in enumerate(self._terms):
            scale = 1.0 / math.sqrt(2 * l + 1)
            d_terms = []
            for x, pairs, weight in ((a, block._scalar, block._scalar_weight), (v, block._vector, block._vector_weight)):
                stop = start + pairs.shape[1]
                d_terms.append(_symmetric(sensitivity[..., start:stop] * (scale * weight), pairs, x.shape[1]) @ x)
                start = stop
            da, dv = d_terms
            dc = da.new_zeros(*da.shape[:2], rows, 2 * l + 1, density.n_spin)
            dc[..., 0] = da[:, :, :rows]
            dq = da[:, :, rows : rows + n_spin_rows]
            dv = dv.view(*dq.shape, 3)
            vectors = v.view(*dq.shape[1:], 3)
            gradient.spins[:, atoms] += (dq.unsqueeze(4) * vectors).sum((2, 3))
            d_magnetic = torch.cat(
                [dv + dq.unsqueeze(4) * spins.view(-1, 1, 1, 3)]
                + [
                    da[:, :, rows + n_spin_rows * (k - 3) : rows + n_spin_rows * (k - 2)].unsqueeze(4)
                    for k in range(4, density.n_spin)
                ],
                dim=4,
            )
            dc[:, :, block._spin_rows, :, 1:] += d_magnetic
            d_coefficients.append(dc)
        density.pullback(structure, atoms, self._lattice, self._spin, d_coefficients, gradient)


def _symmetric(triangle, pairs, size):
    """Symmetric matrices T + T^T (..., size, size) from the upper triangle (..., pairs)."""
    full = triangle.new_zeros(*triangle.shape[:-1], size * size)
    full = full.index_copy(triangle.dim() - 1, pairs[0] * size + pairs[1], triangle)
    full = full.view(*triangle.shape[:-1], size, size)
    return full + full.transpose(-1, -2)
