"""Invariants of the joint rotation group: what spin-orbit coupling adds to SOSO."""

import itertools
from functools import lru_cache

import numpy as np
import sphericart.torch
import torch

from ase_spinml.descriptors.density import Density, Expansion, chunks

CHIRAL_ROWS = 2
"""Radial functions per species that enter the local pseudoscalars."""


class SpinOrbit:
    """Lowest invariants of joint O(3) with axial moments (m -> det(Q) Q m), even under time reversal.

    With r the unit vector to neighbour j, h a radial function and v = sum_k h(r_ik) r_ik, per species and n:

    - single-ion anisotropy, sum_j h P_2(e_i.r) (and P_4);
    - anisotropic exchange, sum_j h [(e_i.r)(e_j.r) - e_i.e_j / 3];
    - Dzyaloshinskii-Moriya interaction of a three-body axial vector, sum_j h (r x v).(e_i x e_j), perpendicular to the
      bond and zero where inversion maps the surroundings of the bond on themselves;
    - Dzyaloshinskii-Moriya interaction along the bond, X_i sum_j h r.(e_i x e_j), where X_i is a pseudoscalar of three
      neighbour densities. r.(e_i x e_j) alone is odd under inversion and therefore forbidden.

    The pseudoscalars X are eps_abc v_a v'_b v''_c, eps_abc v_a (Q Q')_bc and eps_abc v_a O_bde O'_cde, with Q and O the
    quadrupole and octupole of the neighbour density. The last one is needed where a threefold axis makes all v and Q
    share an axis, as on the sites of B20 crystals.
    """

    def __init__(self, cutoff, n_max, width, smearing, magnetic, dtype, device):
        self.density = Density(cutoff, n_max, 4, width, smearing[:2], len(magnetic), dtype, device)
        rows = [(z, n) for z in range(len(magnetic)) for n in range(n_max)]
        self._spin = [k for k, (z, _) in enumerate(rows) if magnetic[z]]
        chiral = [k for k, (_, n) in enumerate(rows) if n < CHIRAL_ROWS]
        pairs = list(itertools.combinations(chiral, 2))
        self._chiral = {
            "vvv": list(itertools.combinations(chiral, 3)),
            "vQQ": [(a, b, c) for a in chiral for b, c in pairs],
            "vOO": [(a, b, c) for a in chiral for b, c in pairs],
        }
        self._tensors = [t.to(dtype=dtype, device=device) for t in _cartesian_tensors()]
        s, r = len(self._spin), len(rows)
        self.n_features = 2 * r + s + s * r + s * sum(map(len, self._chiral.values()))

    def names(self, species, magnetic):
        """Label of every feature."""
        n_max = self.density.n_max
        rows = [f"{z}{n + 1}" for z in species for n in range(n_max)]
        spin = [rows[k] for k in self._spin]
        chiral = [f"{kind}({','.join(rows[k] for k in t)})" for kind, ts in self._chiral.items() for t in ts]
        return (
            [f"single-ion l=2 {a}" for a in rows]
            + [f"single-ion l=4 {a}" for a in rows]
            + [f"anisotropic exchange {a}" for a in spin]
            + [f"axial DMI {a}*{b}" for a in spin for b in rows]
            + [f"chiral DMI {a}*{x}" for a in spin for x in chiral]
        )

    def parts(self, structure):
        """Chunks of atoms."""
        return (SpinOrbitPart(self, structure, atoms) for atoms in chunks(structure))

    def invariants(self, coefficients, e):
        """Features (n, F) from the density coefficients (n, rows, S, 25) and unit spins e (n, 3)."""
        to_q, to_o, to_y4 = self._tensors
        c = [coefficients[..., self.density.slice(l)] for l in range(5)]
        vector = c[1][..., [2, 0, 1]]  # real harmonics m = -1, 0, 1 are y, z, x
        v = vector[:, :, 0]
        u = vector[:, self._spin, 1:4].transpose(2, 3)  # sum_j h r_a e_jc
        q = torch.einsum("nrm,mab->nrab", c[2][:, :, 0], to_q)
        o = torch.einsum("nrm,mabc->nrabc", c[3][:, :, 0], to_o)
        q_spin = torch.einsum("nrcm,mab->nrabc", c[2][:, self._spin, 1:4], to_q)
        single2 = torch.einsum("na,nrab,nb->nr", e, q, e)
        y4 = torch.einsum("na,nb,nc,nd,mabcd->nm", e, e, e, e, to_y4)
        single4 = torch.einsum("nrm,nm->nr", c[4][:, :, 0], y4)
        exchange = torch.einsum("na,nrabb->nr", e, q_spin)
        along = torch.einsum("na,nrac,nsc->nrs", e, u, v)
        trace = u.diagonal(dim1=2, dim2=3).sum(2)
        axial = along - trace.unsqueeze(2) * torch.einsum("na,nsa->ns", e, v).unsqueeze(1)
        lifshitz = _axial(e.unsqueeze(1).expand_as(u[..., 0]), u.transpose(2, 3))  # r.(e_i x e_j)
        chiral = lifshitz.unsqueeze(2) * self._pseudoscalars(v, q, o).unsqueeze(1)
        return torch.cat([single2, single4, exchange, axial.flatten(1), chiral.flatten(1)], dim=1)

    def _pseudoscalars(self, v, q, o):
        """X (n, number of triples)."""
        cross = torch.linalg.cross

        def pick(x, place, kind):
            return x[:, [t[place] for t in self._chiral[kind]]]

        values = []
        if self._chiral["vvv"]:
            a, b, c = (pick(v, k, "vvv") for k in range(3))
            values.append((a * cross(b, c)).sum(2))
        b, c = pick(q, 1, "vQQ"), pick(q, 2, "vQQ")
        values.append(_axial(pick(v, 0, "vQQ"), b @ c))
        b, c = pick(o, 1, "vOO").flatten(3), pick(o, 2, "vOO").flatten(3)
        values.append(_axial(pick(v, 0, "vOO"), b @ c.transpose(2, 3)))
        return torch.cat(values, dim=1)


def _axial(v, matrix):
    """eps_abc v_a M_bc for v (n, t, 3) and M (n, t, 3, 3)."""
    m = matrix - matrix.transpose(2, 3)
    return v[..., 0] * m[..., 1, 2] + v[..., 1] * m[..., 2, 0] + v[..., 2] * m[..., 0, 1]


@lru_cache(maxsize=1)
def _cartesian_tensors():
    """Traceless Cartesian tensors of l = 2 (5,3,3), l = 3 (7,3,3,3), and Y_4m as a quartic form (9,3,3,3,3).

    r_a r_b - d_ab / 3 = sum_m Q^m_ab Y_2m(r), likewise for l = 3; Y_4m(e) = e e e e . T^m for unit e.
    """
    r = np.random.default_rng(0).normal(size=(400, 3))
    r /= np.linalg.norm(r, axis=1, keepdims=True)
    y = sphericart.torch.SphericalHarmonics(4).compute(torch.as_tensor(r)).numpy()
    d = np.eye(3)
    quadrupole = np.einsum("pa,pb->pab", r, r) - d / 3
    rd = np.einsum("pa,bc->pabc", r, d)
    traces = rd + rd.transpose(0, 2, 1, 3) + rd.transpose(0, 3, 2, 1)
    octupole = np.einsum("pa,pb,pc->pabc", r, r, r) - traces / 5
    quartic = np.einsum("pa,pb,pc,pd->pabcd", r, r, r, r).reshape(len(r), -1)

    def solve(a, b, shape):
        return torch.as_tensor(np.linalg.lstsq(a, b.reshape(len(r), -1), rcond=None)[0].reshape(shape))

    to_q = solve(y[:, 4:9], quadrupole, (5, 3, 3))
    to_o = solve(y[:, 9:16], octupole, (7, 3, 3, 3))
    to_y4 = solve(quartic, y[:, 16:25], (3, 3, 3, 3, 9)).permute(4, 0, 1, 2, 3).contiguous()
    return to_q, to_o, to_y4


class SpinOrbitPart:
    """Features of a chunk of atoms, and the way back."""

    def __init__(self, block, structure, atoms):
        self.block, self.structure, self.atoms = block, structure, atoms
        self._expansion = Expansion(block.density, structure, atoms)
        self.features = block.invariants(self._expansion.coefficients, structure.spins[atoms])

    def pullback(self, sensitivity, gradient):
        """Add the derivatives of B energies with dE/dx = sensitivity (B, n, F) to ``gradient``."""
        batch, n = sensitivity.shape[:2]
        coefficients = self._expansion.coefficients
        with torch.enable_grad():  # one copy of the atoms per energy
            c = coefficients.repeat(batch, 1, 1, 1).requires_grad_()
            e = self.structure.spins[self.atoms].repeat(batch, 1).requires_grad_()
            x = self.block.invariants(c, e)
            dc, de = torch.autograd.grad(
                x, (c, e), sensitivity.reshape(batch * n, -1), create_graph=sensitivity.requires_grad
            )
        gradient.spins[:, self.atoms] += de.view(batch, n, 3)
        self._expansion.pullback(dc.view(batch, *coefficients.shape), gradient)
