"""The kernel polynomial method: energies and fields of the electrons in a time that is linear in the number of sites.

Omega = Tr g(H) = sum_m w_m mu_m, with moments from the vectors alpha_m = T_m(h) v of the recursion
alpha_m+1 = 2 h alpha_m - alpha_m-1, h = (H - b)/a: mu_2m = 2 alpha_m^+ alpha_m - mu_0 and
mu_2m+1 = 2 Re alpha_m+1^+ alpha_m - mu_1. The density matrix rho = dOmega/dH comes from the same recursion run
backwards (reverse accumulation): with s_m the derivative of Omega by alpha_m^*,

    lambda_m = s_m + 2 h lambda_m+1 - lambda_m+2,
    rho = (X + X^+)/a,   X = alpha_0 lambda_1^+ + sum_(m > 0) 2 alpha_m lambda_m+1^+,

for three products with H where the energy takes one. The fields are thus exact derivatives of the energy that the same
vectors give, and their error falls faster with the number of vectors than that of v^+ rho v. (For double exchange they
are derivatives at spinors that are transported in parallel, and such vectors know the phase of a spinor: there energy
and fields agree to the error of the vectors only, and exactly with a truncation.)

Sources: K. Barros and Y. Kato, Phys. Rev. B 88, 235101 (2013); Z. Wang, G.-W. Chern, C. D. Batista and K. Barros, J.
Chem. Phys. 148, 094107 (2018).
"""

import numbers
from dataclasses import dataclass

import numpy as np
import torch

from ase_spinml.devices import torch_device
from ase_spinml.electrons.chebyshev import Series
from ase_spinml.electrons.ensemble import Solution
from ase_spinml.electrons.probing import colour, neighbourhoods, probing_vectors, random_vectors
from ase_spinml.electrons.recursion import backward, forward, real_rows, recursion_step
from ase_spinml.electrons.sd import SDHamiltonian
from ase_spinml.errors import InputError

COLUMNS = {"cpu": 16, "cuda": 128}
"""Vectors worked on at once."""
PATCH_SITES = 20_000
"""Sites of the regions worked on at once."""


class KPM:
    """Solver by the kernel polynomial method, O(N).

    Parameters
    ----------
    moments : int
        Mc, terms of the Chebyshev series: it resolves energies of about pi a / Mc, with a half the width of the
        spectrum.
    probing : int
        Hops within which no two sites share a vector. The vectors are as many as colours are needed, times the orbitals
        of a site.
    random : int, optional
        Instead, this number of vectors of random phases.
    truncation : int, optional
        Instead, no chance at all: the levels of every site, from the region within this number of hops. The fields are
        derivatives of the sum of these.
    kernel : str, optional
        "jackson", "dirichlet" (none, for temperatures that the series resolves), or by default the latter where it
        will do (:class:`ase_spinml.electrons.chebyshev.Series`).
    bounds : (float, float), optional
        Of the spectrum, in units of energy; found for all states of the spins if not given.
    rng : seed or numpy.random.Generator
        Phases of the vectors, the same for all states of the spins, so that energies and fields belong together.
    device : str or torch.device, optional
        "cpu" (default) or "cuda".

    Raises
    ------
    InputError
        Unusable parameters, or several kinds of vectors; when called: levels outside the bounds.
    """

    def __init__(
        self,
        moments=512,
        probing=6,
        random=None,
        truncation=None,
        *,
        kernel=None,
        bounds=None,
        rng=0,
        device=None,
    ):
        whole = {"moments": (moments, 4), "probing": (probing, 1)}
        whole |= {name: (n, 1) for name, n in (("random", random), ("truncation", truncation)) if n is not None}
        for name, (value, least) in whole.items():
            if not isinstance(value, numbers.Integral) or value < least:
                raise InputError(f"Expected {name} to be a whole number of at least {least}, got {value}.")
        if random is not None and truncation is not None:
            raise InputError("Expected random vectors or a truncation, got both: give one of them.")
        if kernel not in (None, "jackson", "dirichlet"):
            raise InputError(f"Expected kernel to be 'jackson', 'dirichlet' or None, got {kernel!r}.")
        if bounds is not None and not (
            np.shape(bounds) == (2,) and np.isfinite(bounds).all() and bounds[0] < bounds[1]
        ):
            raise InputError(f"Expected bounds to be two energies, the lower one first, got {bounds}.")
        self.moments = 2 * (moments // 2)
        self.probing, self.random, self.truncation = probing, random, truncation
        self.kernel, self.bounds = kernel, bounds
        self._seed = int(np.random.default_rng(rng).integers(2**63))
        self.device = torch_device(device)
        self._known = self._vectors = None

    def __call__(self, hamiltonian, spins, ensemble, twists=None, density="site"):
        """Solve for the electrons; arguments as for :class:`ase_spinml.electrons.exact.Exact`, one set of spins (N, 3).

        The energy alone takes a third of the time.
        """
        spins = np.asarray(spins, float)
        twists = np.zeros((1, 3)) if twists is None else np.asarray(twists, float)
        self._prepare(hamiltonian, twists)
        series = Series(self.moments, *self._bounds, ensemble.temperature, self.kernel)
        total, runs = np.zeros(self.moments), []
        for twist in twists:
            for patch in self._patches:
                matrix = patch.hamiltonian.sparse(spins[patch.sites], twist)
                step = recursion_step(matrix, series.middle, series.half_width, self.device)
                for start in patch.columns(self.device):
                    moments, last = forward(step, start, self.moments // 2)
                    total += moments / len(twists)
                    if density is not None:
                        runs.append((twist, patch, step, start, last))
        if not np.abs(total).max() <= 1.001 * total[0]:
            raise InputError(
                f"Expected all levels between the bounds {series.low:g} and {series.high:g}, got Chebyshev moments "
                f"that grow: leave bounds out, or give wider ones."
            )
        mu, n_electrons, energy = series.solve(total, ensemble)
        solution = Solution(energy, mu, n_electrons, moments=total, bounds=self._bounds)
        if density is not None:
            scale = 1.0 / (series.half_width * len(twists))
            self._differentiate(solution, hamiltonian, runs, scale * series.weights(mu), density == "bond")
        return solution

    def density_of_states(self, solution, n_sites, width, points):
        """Energies and levels per site and energy, (points,) each; ``width`` is that of the series, pi a / Mc."""
        energies, density = Series(self.moments, *solution.bounds, 0.0).density_of_states(solution.moments, points)
        return energies, density / n_sites

    def _prepare(self, hamiltonian, twists):
        """Bounds, regions and vectors, kept while the Hamiltonian stays."""
        if self._known is not None and self._known[0] is hamiltonian and np.array_equal(self._known[1], twists):
            return
        self._bounds = hamiltonian.bounds(twists) if self.bounds is None else tuple(map(float, self.bounds))
        n, orbitals = hamiltonian.n_sites, hamiltonian.orbitals
        if self.truncation is not None:
            self._patches = regions(hamiltonian, self.truncation)
        else:
            bonds = (n, orbitals, hamiltonian.i, hamiltonian.j)
            if self._vectors is None or not all(map(np.array_equal, self._vectors[0], bonds)):
                self._vectors = bonds, self._drawn(hamiltonian)
            self._patches = [Patch(hamiltonian, np.arange(n), np.arange(len(hamiltonian.i)), self._vectors[1])]
        self._known = (hamiltonian, twists)

    def _drawn(self, hamiltonian):
        rng = np.random.default_rng(self._seed)
        if self.random is not None:
            return random_vectors(hamiltonian.size, self.random, rng)
        colours = colour(neighbourhoods(hamiltonian.n_sites, hamiltonian.i, hamiltonian.j, self.probing))
        return probing_vectors(colours, hamiltonian.orbitals, rng)

    @staticmethod
    def _differentiate(solution, hamiltonian, runs, weights, bonds):
        """Put the density matrix of all runs into the solution; the weights hold every factor."""
        o = hamiltonian.orbitals
        solution.site = np.zeros((hamiltonian.n_sites, o, o), complex)
        solution.bond = np.zeros((len(hamiltonian.i), o, o), complex) if bonds else None
        while runs:
            twist, patch, step, start, last = runs.pop()
            local = patch.hamiltonian
            sums = [OuterSums(start, o)]
            if bonds:
                sums += [OuterSums(start, o, local.j, local.i), OuterSums(start, o, local.i, local.j)]

            def collect(*terms, sums=sums):
                for part in sums:
                    part.add(*terms)

            backward(step, start, last, weights, collect)
            site = sums[0].blocks()
            np.add.at(solution.site, patch.sites, site + _adjoint(site))
            if bonds:
                phases = local.phases(twist[None])[0][:, None, None]
                np.add.at(solution.bond, patch.bonds, phases * (sums[1].blocks() + _adjoint(sums[2].blocks())))


@dataclass
class Patch:
    """Sites and bonds (numbers in the whole lattice) of a Hamiltonian of their own, and complex vectors (o n, R)."""

    hamiltonian: SDHamiltonian
    sites: np.ndarray
    bonds: np.ndarray
    vectors: np.ndarray

    def columns(self, device):
        """The vectors as real rows, some at a time, as tensors."""
        at_once = COLUMNS[device.type]
        for first in range(0, self.vectors.shape[1], at_once):
            yield torch.as_tensor(real_rows(self.vectors[:, first : first + at_once]), device=device)


def regions(hamiltonian, hops):
    """Patches with the regions around every site, side by side without bonds between them.

    The vectors of a region are the orbitals of the site in its middle.
    """
    n, o = hamiltonian.n_sites, hamiltonian.orbitals
    near = neighbourhoods(n, hamiltonian.i, hamiltonian.j, hops)
    sizes = np.diff(near.indptr)
    batch = np.cumsum(sizes) // PATCH_SITES
    order = np.argsort(hamiltonian.i, kind="stable")
    first = np.searchsorted(hamiltonian.i[order], np.arange(n + 1))
    patches = []
    for number in np.unique(batch):
        centres = np.flatnonzero(batch == number)
        region = np.repeat(np.arange(len(centres)), sizes[centres])
        sites = near.indices[near.indptr[centres[0]] : near.indptr[centres[-1] + 1]]
        keys = region * n + sites  # sorted, as the sites of each region are
        counts = first[sites + 1] - first[sites]
        i = np.repeat(np.arange(len(sites)), counts)
        offset = np.arange(len(i)) - np.repeat(np.cumsum(counts) - counts, counts)
        bonds = order[first[sites[i]] + offset]
        target = region[i] * n + hamiltonian.j[bonds]
        j = np.minimum(np.searchsorted(keys, target), len(keys) - 1)
        inside = keys[j] == target
        i, j, bonds = i[inside], j[inside], bonds[inside]
        arguments = (hamiltonian.coupling, hamiltonian.onsite[sites], hamiltonian.shifts[bonds])
        local = SDHamiltonian(len(sites), i, j, hamiltonian.blocks[bonds], *arguments)
        vectors = np.zeros((len(sites), o, o), complex)
        vectors[np.searchsorted(keys, np.arange(len(centres)) * n + centres)] = np.eye(o)
        patches.append(Patch(local, sites, bonds, vectors.reshape(-1, o)))
    return patches


class OuterSums:
    """Blocks of a sum of outer products alpha lambda^+ of vectors in real rows.

    ``first`` and ``second`` (P,) are the sites of each block's rows and columns, all sites by themselves if left out.
    """

    def __init__(self, like, orbitals, first=None, second=None):
        self._shape = (-1, 2 * orbitals, like.shape[1])
        self._sites = None
        if first is not None:
            self._sites = [torch.as_tensor(sites, device=like.device) for sites in (first, second)]
        count = like.shape[0] // (2 * orbitals) if first is None else len(first)
        self._sum = like.new_zeros((count, 2 * orbitals, 2 * orbitals))

    def add(self, alpha, adjoint, factor):
        """Add factor alpha lambda^+."""
        rows, columns = alpha.view(self._shape), adjoint.view(self._shape)
        if self._sites is not None:
            rows, columns = rows[self._sites[0]], columns[self._sites[1]]
        torch.baddbmm(self._sum, rows, columns.mT, alpha=factor, out=self._sum)

    def blocks(self):
        """The complex blocks, (P, o, o)."""
        parts = self._sum.cpu().numpy()
        return parts[:, ::2, ::2] + parts[:, 1::2, 1::2] + 1j * (parts[:, 1::2, ::2] - parts[:, ::2, 1::2])


def _adjoint(blocks):
    return blocks.conj().swapaxes(-1, -2)
