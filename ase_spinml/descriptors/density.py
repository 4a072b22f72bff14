"""Expansion of the spin-decorated neighbour density around each atom."""

import sphericart.torch
import torch

from ase_spinml.descriptors.basis import RadialTable, legendre
from ase_spinml.descriptors.structure import add_rows

CHUNK = 64
"""Atoms worked on at a time: what they need stays in the processor's cache."""


def chunks(structure):
    """Slices of at most CHUNK atoms."""
    return [slice(start, min(start + CHUNK, len(structure))) for start in range(0, len(structure), CHUNK)]


class Lattice:
    """What the expansion of a chunk of atoms takes from the lattice.

    Attributes
    ----------
    i, j : (n * K,) long
        Centres and neighbours; any atoms in empty slots.
    vector, unit : (n * K, 3); distance : (n * K,)
    h, dh : (n, K, Z * n_max)
        Radial functions and derivatives, zero but for the neighbour's species.
    y : (n, K, (l_max + 1)^2); dy : (n * K, 3, (l_max + 1)^2)
        Spherical harmonics of the direction and their derivatives with the vector.
    """

    def __init__(self, density, structure, atoms):
        slots = structure.slots[atoms]
        n, k = slots.shape
        filled, pair = slots.reshape(-1, 1) >= 0, slots.reshape(-1).clamp(min=0)
        backwards = pair >= len(structure.i)
        pair = pair - backwards * len(structure.i)
        i, self.j = (_rows(x, pair) for x in (structure.i, structure.j))
        self.i, self.j = torch.where(backwards, self.j, i), torch.where(backwards, i, self.j)
        vector = structure.positions.index_select(0, self.j) - structure.positions.index_select(0, self.i)
        vector = vector + _rows(structure.pair_shifts, pair) * (1 - 2 * backwards.unsqueeze(1))
        self.vector = torch.where(filled, vector, vector.new_tensor([2 * density.cutoff, 0.0, 0.0]))
        self.distance = self.vector.square().sum(1).sqrt_()
        self.unit = self.vector / self.distance.unsqueeze(1)
        h, dh = density.radial(self.distance)
        y, self.dy = density.harmonics.compute_with_gradients(self.vector)
        self.y = y.view(n, k, -1)
        self.h, self.dh = h.view(n, k, -1), dh.view(n, k, -1)
        if density.n_species > 1:
            kinds = torch.nn.functional.one_hot(structure.species.index_select(0, self.j), density.n_species)
            kinds = kinds.to(h.dtype).view(n, k, -1, 1)
            self.h = (self.h.unsqueeze(2) * kinds).view(n, k, -1)
            self.dh = (self.dh.unsqueeze(2) * kinds).view(n, k, -1)


def _rows(table, pick):
    """Rows of a table of pairs; zeros where there is no pair at all."""
    return table.index_select(0, pick) if len(table) else table.new_zeros(len(pick), *table.shape[1:])


class Density:
    """Coefficients of the spin-decorated density around each atom.

    C_i[(Z, n), s, lm] = sum_j h_n(r_ij) u_s(i, j) Y_lm(r_ij) over neighbours j of species Z, with the spin functions
    u = (1, a_1 e_j^x, a_1 e_j^y, a_1 e_j^z, a_2 P_2(e_i.e_j), ..., a_L P_L(e_i.e_j)). The radial functions are those of
    l = 0 for every l: neighbours are never near the origin, where functions of different l must differ, and one set
    makes the expansion a single matrix product per atom.

    Parameters
    ----------
    smearing : (L + 1,) array
        a_0 .. a_L, L >= 1.
    """

    def __init__(self, cutoff, n_max, l_max, width, smearing, n_species, dtype, device):
        self.n_max, self.l_max, self.n_species = n_max, l_max, n_species
        self.rows = n_species * n_max
        self.spin_l_max = len(smearing) - 1
        self.n_spin = 3 + self.spin_l_max
        self.cutoff = cutoff
        self._smearing = [float(a) for a in smearing]
        self.radial = RadialTable(cutoff, n_max, width, dtype, device)
        self.harmonics = sphericart.torch.SphericalHarmonics(l_max)

    def slice(self, l):
        """Where the (2 l + 1) coefficients of l are."""
        return slice(l * l, (l + 1) ** 2)

    def lattice(self, structure, atoms):
        """Lattice part of a chunk of atoms, kept in the structure's cache when that is a single chunk."""
        if self not in structure.cache:
            lattice = Lattice(self, structure, atoms)
            if len(structure) > CHUNK:
                return lattice
            structure.cache[self] = lattice
        return structure.cache[self]


class Expansion:
    """Density of a chunk of atoms: ``coefficients`` (n, rows, S, (l_max + 1)^2), and the way back."""

    def __init__(self, density, structure, atoms):
        self.density, self.structure, self.atoms = density, structure, atoms
        self.lattice = density.lattice(structure, atoms)
        n, k, rows = self.lattice.h.shape
        self._spin_functions(n, k)
        self.hu = (self.lattice.h.unsqueeze(3) * self.u.unsqueeze(2)).view(n, k, -1)
        self.coefficients = torch.bmm(self.hu.transpose(1, 2), self.lattice.y).view(n, rows, density.n_spin, -1)

    def _spin_functions(self, n, k):
        """u_s(i, j) (n, K, S), and what their derivatives need."""
        density, spins = self.density, self.structure.spins
        a = density._smearing
        self.e_j = spins.index_select(0, self.lattice.j).view(n, k, 3)
        u = [torch.ones_like(self.e_j[..., :1]), a[1] * self.e_j]
        if density.spin_l_max > 1:
            e_i = spins[self.atoms].unsqueeze(1)
            values, slopes = legendre((e_i * self.e_j).sum(2), density.spin_l_max)
            both = (e_i.any(2) & self.e_j.any(2)).to(self.e_j.dtype)
            orders = range(2, density.spin_l_max + 1)
            u.append(torch.stack([a[l] * both * values[l] for l in orders], dim=2))
            self.slopes = torch.stack([a[l] * both * slopes[l] for l in orders], dim=2)
        self.u = torch.cat(u, dim=2)

    def pullback(self, sensitivity, gradient):
        """Add the derivatives of B energies with dE/dC = sensitivity (B, n, rows, S, (l_max + 1)^2)."""
        density, lattice, atoms = self.density, self.lattice, self.atoms
        batch, (n, k, rows) = len(sensitivity), lattice.h.shape
        flat = sensitivity.reshape(batch, n, rows * density.n_spin, -1)
        d_hu = (lattice.y @ flat.transpose(2, 3)).view(batch, n, k, rows, density.n_spin)
        along = (lattice.h.unsqueeze(2) @ d_hu).squeeze(3)[..., 1:]  # dE/du but for u_0 = 1
        to_neighbour = density._smearing[1] * along[..., :3]
        if density.spin_l_max > 1:
            turn = (along[..., 3:] * self.slopes).sum(3, keepdim=True)
            to_neighbour = to_neighbour + turn * self.structure.spins[atoms].unsqueeze(1)
            gradient.spins[:, atoms] += (turn * self.e_j).sum(2)
        if gradient.centred:
            return
        add_rows(gradient.spins, lattice.j, to_neighbour.reshape(batch, n * k, 3))
        if gradient.lattice:
            radial = (d_hu @ self.u.unsqueeze(3)).squeeze(4)  # dE/dh
            radial = (radial * lattice.dh).sum(3).view(batch, n * k, 1)
            dy = (self.hu @ flat).view(batch, n * k, -1, 1)
            g = torch.addcmul((lattice.dy @ dy).squeeze(3), radial, lattice.unit)
            gradient.positions[:, atoms] -= g.view(batch, n, k, 3).sum(2)
            add_rows(gradient.positions, lattice.j, g)
            gradient.add_virial(lattice.i, g, lattice.vector)
