"""Features of spins on a lattice: bonds and chiralities around a site, projected on irreducible representations."""

import itertools

import numpy as np
import torch

from ase_spinml.descriptors.point_groups import adapted_basis, couplings, orbits, permutation
from ase_spinml.descriptors.structure import add_rows

CHUNK = 2048
"""Sites worked on at a time."""
SOFTNESS = 0.3
"""Length below which a reference no longer tells a phase; bonds are of order one."""


class Variables:
    """Bonds b_0j, b_jk and chiralities chi_0jk around a site and what point operations do to them.

    Attributes
    ----------
    pairs : (P, 2) int array
        Neighbours j < k not farther than the pair radius from each other.
    bonds, chiralities : dict of irrep -> (m, d, V) array
        Adapted bases of the K + P bonds and of the P chiralities.
    references : same with (1, d, V) arrays, where there is one
        Averages over orbits: coarse variables of the same symmetry.
    """

    def __init__(self, offsets, group, pair_radius):
        self.n_sites = count = len(offsets)
        distance = np.linalg.norm(offsets[:, None] - offsets[None], axis=2)
        inside = [(j, k) for j, k in itertools.combinations(range(count), 2) if distance[j, k] < pair_radius + 1e-3]
        self.pairs = np.array(inside, dtype=int).reshape(-1, 2)
        sites = np.array([permutation(offsets, matrix) for matrix in group.matrices])
        pairs, order = self._moved_pairs(sites)
        middles = offsets[self.pairs].mean(1)
        first, second = offsets[self.pairs[:, 0]], offsets[self.pairs[:, 1]]
        sense = np.where(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] < -1e-6, -1.0, 1.0)
        moved = np.hstack([sites, count + pairs])
        points = np.vstack([offsets, middles])
        self.bonds, self.bond_references = _bases(group, moved, np.ones(moved.shape), _start(points))
        self.chiralities, self.chirality_references = _bases(group, pairs, order, sense * _start(middles))

    def _moved_pairs(self, sites):
        """Where pairs go, (G, P), and the sign of their new order."""
        number = {tuple(pair): n for n, pair in enumerate(self.pairs.tolist())}
        moved = sites[:, self.pairs]
        order = np.where(moved[..., 0] < moved[..., 1], 1.0, -1.0)
        places = [[number[tuple(sorted(pair))] for pair in row] for row in moved.tolist()]
        return np.array(places, dtype=int).reshape(len(sites), -1), order


def _start(points):
    """Weights that are largest in a direction of no symmetry, (V,)."""
    angle = np.arctan2(points[:, 1], points[:, 0]) - 0.2
    return np.exp(np.cos(angle)) * (1 + 0.3 * np.sin(2 * angle)) * np.exp(-0.3 * np.linalg.norm(points, axis=1))


def _bases(group, moved, signs, start):
    """Bases by irrep, orbit after orbit, and their references."""
    size = moved.shape[1]
    bases = {name: [] for name in group.irreps}
    coarse = {name: [] for name in group.irreps}
    for members in orbits(moved):
        local = np.searchsorted(members, moved[:, members])
        for name, copies in adapted_basis(group, local, signs[:, members], start[members]).items():
            if len(copies):
                full = np.zeros((*copies.shape[:2], size))
                full[:, :, members] = copies
                bases[name].append(full)
                coarse[name].append(full[:1])
    shapes = {name: matrices.shape[1] for name, matrices in group.irreps.items()}
    stacked = {name: np.concatenate([np.zeros((0, shapes[name], size)), *parts]) for name, parts in bases.items()}
    return stacked, {name: np.sum(parts, axis=0) / np.sqrt(len(parts)) for name, parts in coarse.items() if parts}


class LatticeBlock:
    """Invariants of the spins around a site under its point group and under rotations of all spins.

    With f the components of bonds (even under time reversal) or chiralities (odd) that transform like one irrep, and a
    reference r of the same symmetry, an average over all orbits:

    - one, so that polynomial kernels have all lower powers, and f of the invariant irrep itself;
    - p = f.f, and f.r / sqrt(r.r + s^2), a relative phase that stays smooth where r vanishes;
    - for two-dimensional irreps also the area f x r times a reference of A2, in the same way;
    - the bispectrum of the references, sum C_abc r_a r'_b r''_c;
    - with ``cross``, all products f.f' of bonds of one irrep.

    Chiralities enter in pairs in even features, and once in odd ones: f of the invariant irrep, and f.r with a
    reference of bonds.

    Parameters
    ----------
    variables : Variables
    group : PointGroup
    chirality, cross : bool
    """

    def __init__(self, variables, group, chirality, cross, dtype, device):
        self._cross = cross
        self._chiral = chirality and len(variables.pairs) > 0
        self._pairs = torch.as_tensor(variables.pairs, device=device)

        def put(bases):
            return {name: torch.as_tensor(x, dtype=dtype, device=device) for name, x in bases.items()}

        self._bonds, self._bond_references = put(variables.bonds), put(variables.bond_references)
        self._chiralities, self._chiral_references = put(variables.chiralities), put(variables.chirality_references)
        self._invariant, *self._others = group.irreps
        present = [name for name in self._others if name in self._bond_references]
        self._couplings = [
            (triple, torch.as_tensor(tensor, dtype=dtype, device=device))
            for triple in itertools.combinations_with_replacement(present, 3)
            for tensor in couplings(group, *triple)
        ]
        self.n_sites = variables.n_sites
        bonds = torch.zeros(self.n_sites + len(self._pairs), 1, dtype=dtype, device=device)
        sizes = {label: len(rows) for label, rows in self._rows(bonds, bonds[self.n_sites :])}
        self.n_features = sum(sizes.values())
        self._labels = [f"{label} {k + 1}" for label, size in sizes.items() for k in range(size)]
        self.odd = torch.tensor([label.startswith("odd") for label in self._labels], device=device)

    def names(self, species, magnetic):
        """Label of every feature."""
        return self._labels

    def parts(self, structure):
        """Chunks of sites."""
        size = len(structure)
        return (LatticePart(self, structure, slice(start, min(start + CHUNK, size))) for start in range(0, size, CHUNK))

    def invariants(self, bonds, chiralities):
        """Features (F, n) of bonds (K + P, n) and chiralities (P, n)."""
        return torch.cat([rows for _, rows in self._rows(bonds, chiralities)])

    def _rows(self, bonds, chiralities):
        """Labels and features (m, n), kind by kind."""
        f, r = _project(self._bonds, bonds), _project(self._bond_references, bonds)
        found = [("even one", torch.ones_like(bonds[:1])), ("even bonds " + self._invariant, f[self._invariant][:, 0])]
        for name in self._others:
            found += _products("even bonds " + name, f[name], r.get(name), r.get("A2") if name != "A2" else None)
            if self._cross:
                first, second = torch.triu_indices(len(f[name]), len(f[name]), offset=1)
                found.append((f"even bonds {name} crossed", (f[name][first] * f[name][second]).sum(1)))
        for triple, tensor in self._couplings:
            label = "even references " + " ".join(triple)
            while label in dict(found):
                label += "'"
            value = torch.einsum("abc,an,bn,cn->n", tensor, *(r[name][0] for name in triple))
            found.append((label, value.unsqueeze(0)))
        if not self._chiral:
            return found
        g, s = _project(self._chiralities, chiralities), _project(self._chiral_references, chiralities)
        for name in (self._invariant, *self._others):
            found += _products("even chiralities " + name, g[name], s.get(name), None)
        found.append(("odd chiralities " + self._invariant, g[self._invariant][:, 0]))
        for name in self._others:
            if name in r:
                found.append((f"odd chiralities {name} phase", _phase(g[name], r[name])))
        return found


def _project(bases, variables):
    """Components (m, d, n) by irrep from variables (V, n)."""
    return {name: torch.einsum("mdv,vn->mdn", basis, variables) for name, basis in bases.items()}


def _products(label, f, reference, axial):
    """Power, phase and area of components f (m, d, n) with references (1, d, n) and (1, 1, n)."""
    found = [(label + " power", (f * f).sum(1))]
    if reference is None:
        return found
    found.append((label + " phase", _phase(f, reference)))
    if axial is not None and f.shape[1] == 2:
        area = (f[:, 0] * reference[:, 1] - f[:, 1] * reference[:, 0]) * axial[:, 0]
        size = (reference.square().sum(1) + SOFTNESS**2) * (axial[:, 0].square() + SOFTNESS**2)
        found.append((label + " area", area / size.sqrt()))
    return found


def _phase(f, reference):
    return (f * reference).sum(1) / (reference.square().sum(1) + SOFTNESS**2).sqrt()


class LatticePart:
    """Features of a chunk of sites, and the way back."""

    def __init__(self, block, structure, atoms):
        self.block, self.structure, self.atoms = block, structure, atoms
        table = structure.sites[atoms].T
        self._sites = table.clamp(min=0)
        spins = structure.spins.index_select(0, self._sites.reshape(-1)).view(*table.shape, 3)
        self._e = spins * (table >= 0).to(spins.dtype).unsqueeze(2)  # (K, n, 3), zero where there is no site
        self._e0 = structure.spins[atoms]
        self._ej, self._ek = (self._e.index_select(0, block._pairs[:, k]) for k in (0, 1))
        bonds = [(self._e * self._e0).sum(2), (self._ej * self._ek).sum(2)]
        self._cross = torch.linalg.cross(self._ej, self._ek) if block._chiral else None
        self._bonds = torch.cat(bonds)
        self._chiralities = (self._cross * self._e0).sum(2) if block._chiral else self._bonds[:0]
        self.features = block.invariants(self._bonds, self._chiralities).T

    def pullback(self, sensitivity, gradient):
        """Add the derivatives of B energies with dE/dx = sensitivity (B, n, F) to ``gradient``."""
        block, (batch, n, _) = self.block, sensitivity.shape
        with torch.enable_grad():  # one copy of the sites per energy
            bonds, chiralities = (x.repeat(1, batch).requires_grad_() for x in (self._bonds, self._chiralities))
            x = block.invariants(bonds, chiralities)
            slopes = torch.autograd.grad(
                x,
                (bonds, chiralities),
                sensitivity.flatten(0, 1).T,
                create_graph=sensitivity.requires_grad,
                allow_unused=True,
            )
        db = slopes[0].view(-1, batch, n, 1)
        to_centre = (db[: block.n_sites] * self._e.unsqueeze(1)).sum(0)
        if block._chiral:
            dc = slopes[1].view(-1, batch, n, 1)
            to_centre = to_centre + (dc * self._cross.unsqueeze(1)).sum(0)
        gradient.spins[:, self.atoms] += to_centre
        if gradient.centred:
            return
        e0, ej, ek = (x.unsqueeze(-3) for x in (self._e0, self._ej, self._ek))
        to_sites = db[: block.n_sites] * e0
        dp = db[block.n_sites :]
        to_j, to_k = dp * ek, dp * ej
        if block._chiral:
            to_j = to_j + dc * torch.linalg.cross(ek, e0.expand_as(ek))
            to_k = to_k + dc * torch.linalg.cross(e0.expand_as(ej), ej)
        to_sites = to_sites.index_add(0, block._pairs[:, 0], to_j).index_add(0, block._pairs[:, 1], to_k)
        real = (self.structure.sites[self.atoms].T >= 0).to(to_sites.dtype)
        to_sites = to_sites * real[:, None, :, None]
        add_rows(gradient.spins, self._sites.reshape(-1), to_sites.transpose(0, 1).reshape(batch, -1, 3))

    def along(self, turns):
        """Derivatives of the features (D, n, F) when spins turn by ``turns`` (D, N, 3); few sites see one spin turn."""
        block, table = self.block, self.structure.sites[self.atoms].T
        real = (table >= 0).to(turns.dtype).unsqueeze(2)
        turning = (turns != 0).any(2)
        seen = turning[:, self.atoms] | turning[:, self._sites].any(1)
        places, sites = torch.nonzero(seen, as_tuple=True)
        de0 = turns[:, self.atoms][places, sites]
        de = turns[places.unsqueeze(0), self._sites[:, sites]] * real[:, sites]
        dj, dk = (de.index_select(0, block._pairs[:, k]) for k in (0, 1))
        e0, e, ej, ek = self._e0[sites], self._e[:, sites], self._ej[:, sites], self._ek[:, sites]
        bonds = torch.cat([(de * e0 + e * de0).sum(2), (dj * ek + ej * dk).sum(2)])
        chiralities = bonds[:0]
        if block._chiral:
            turned = torch.linalg.cross(dj, ek) + torch.linalg.cross(ej, dk)
            chiralities = (turned * e0 + self._cross[:, sites] * de0).sum(2)
        at = [x[:, sites].requires_grad_() for x in (self._bonds, self._chiralities)]
        x = block.invariants(*at)
        back = torch.zeros_like(x, requires_grad=True)
        slopes = torch.autograd.grad(x, at, back, create_graph=True, allow_unused=True)  # linear in ``back``
        along = sum(
            (slope * by).sum() for slope, by in zip(slopes, (bonds, chiralities), strict=True) if slope is not None
        )
        found = turns.new_zeros(len(turns), len(self._e0), block.n_features)
        found[places, sites] = torch.autograd.grad(along, back)[0].T
        return found
