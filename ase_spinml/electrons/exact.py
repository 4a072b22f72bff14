"""Exact diagonalisation of the electrons: LAPACK on a processor, batches of matrices on a CUDA device.

On a processor the eigenvectors come from LAPACK's ``evr``, for more than some hundred orbitals the faster one beside
the divide-and-conquer ``evd`` that NumPy and torch use.
"""

import numpy as np
import torch
from scipy.linalg import eigh, eigvalsh

from ase_spinml.devices import torch_device
from ase_spinml.electrons.ensemble import Solution, fill, grand_potential

EMPTY = 1e-18
"""States filled less than this do not enter the density matrix."""
SMALL = 256
"""Orbitals up to which ``evd`` is used."""
KEPT = 2**18
"""Complex numbers of matrices up to which their memory is used again."""
CHUNK = 2**22
"""Complex numbers held at once: matrices in a batch on a device, bonds while they are summed over states."""


class Exact:
    """Solver by exact diagonalisation, O(N^3).

    Parameters
    ----------
    device : str or torch.device, optional
        "cpu" (default) or "cuda".

    Raises
    ------
    InputError
        A device that is not there.
    """

    def __init__(self, device=None):
        self.device = torch_device(device)
        self._last = (None, None)

    def __call__(self, hamiltonian, spins, ensemble, twists=None, density="site"):
        """Solve for the electrons.

        Parameters
        ----------
        hamiltonian : SDHamiltonian
        spins : (N, 3) or (B, N, 3) array
            One set or several, unit rows.
        ensemble : Ensemble
        twists : (K, 3) array, optional
            Boundary conditions to average over, with one chemical potential.
        density : str or None
            None for the energy alone, which takes about half the time; "site", or "bond" for both parts.

        Returns
        -------
        Solution
            With a leading axis B throughout for several sets.
        """
        spins = np.asarray(spins, float)
        frames = spins.reshape(-1, *spins.shape[-2:])
        n_matrices = 1 if twists is None else len(twists)
        at_once = 1 if self.device.type == "cpu" else max(1, CHUNK // (n_matrices * hamiltonian.size**2))
        solutions = []
        for start in range(0, len(frames), at_once):
            used = self._last[1] if self._last[0] is hamiltonian else None
            matrices = hamiltonian.dense(frames[start : start + at_once], twists, used)
            self._last = (hamiltonian, matrices) if matrices.size <= KEPT else (None, None)
            matrices = matrices.reshape(-1, n_matrices, *matrices.shape[-2:])
            levels, states = diagonalize(matrices, density is not None, self.device)
            for k in range(len(levels)):
                kept = None if states is None else states[k]
                solutions.append(self._solution(hamiltonian, levels[k], kept, ensemble, twists, density))
        return solutions[0] if spins.ndim == 2 else Solution.stack(solutions)

    @staticmethod
    def density_of_states(solution, n_sites, width, points):
        """Energies and levels per site and energy, (points,) each, every level a Gaussian of deviation ``width``."""
        levels = solution.levels
        energies = np.linspace(levels.min() - 5 * width, levels.max() + 5 * width, points)
        density = np.zeros(points)
        for level in levels.ravel():
            density += np.exp(-0.5 * ((energies - level) / width) ** 2)
        return energies, density / (np.sqrt(2 * np.pi) * width * n_sites * len(levels))

    @staticmethod
    def _solution(hamiltonian, levels, states, ensemble, twists, density):
        """Of one set of spins: levels (K, M), states (K, M, M)."""
        chemical_potential, occupation = fill(levels, ensemble)
        weight = 1.0 / len(levels)
        if ensemble.temperature == 0 and ensemble.n_electrons is not None:
            energy = weight * float((occupation * levels).sum())
        else:
            energy = weight * float(grand_potential(levels, chemical_potential, ensemble.temperature).sum())
            if ensemble.n_electrons is not None:
                energy += chemical_potential * ensemble.n_electrons
        solution = Solution(energy, float(chemical_potential), weight * float(occupation.sum()), levels=levels)
        if density is not None:
            solution.site = site_density(states, occupation, hamiltonian.orbitals)
        if density == "bond":
            phases = hamiltonian.phases(np.zeros((1, 3)) if twists is None else twists)
            solution.bond = bond_density(states, occupation, hamiltonian.orbitals, hamiltonian.i, hamiltonian.j, phases)
        return solution


def diagonalize(matrices, vectors=True, device="cpu"):
    """Eigenvalues and eigenvectors of Hermitian matrices.

    Parameters
    ----------
    matrices : (..., M, M) complex array
    vectors : bool
        Whether eigenvectors are wanted.
    device : str or torch.device

    Returns
    -------
    levels : (..., M) array
        Ascending.
    states : (..., M, M) torch tensor or None
        Eigenvectors as columns, on the device.
    """
    device = torch.device(device)
    if device.type != "cpu":
        matrices = torch.as_tensor(matrices, device=device)
        if not vectors:
            return torch.linalg.eigvalsh(matrices).cpu().numpy(), None
        levels, states = torch.linalg.eigh(matrices)
        return levels.cpu().numpy(), states
    flat = matrices.reshape(-1, *matrices.shape[-2:])
    driver = "evd" if matrices.shape[-1] <= SMALL else "evr"
    if not vectors:
        levels = np.stack([eigvalsh(one, check_finite=False, driver=driver) for one in flat])
        return levels.reshape(matrices.shape[:-1]), None
    levels, states = np.empty(flat.shape[:-1]), [None] * len(flat)
    for k, one in enumerate(flat):
        levels[k], vectors = eigh(one, check_finite=False, driver=driver)
        states[k] = torch.from_numpy(vectors.T)  # LAPACK's columns lie one after the other
    states = states[0] if len(states) == 1 else torch.stack(states)
    return levels.reshape(matrices.shape[:-1]), states.reshape(matrices.shape).mT


def site_density(states, occupation, orbitals):
    """rho_ii averaged over twists, (N, o, o).

    Parameters
    ----------
    states : (K, M, M) tensor
        Eigenvectors as columns.
    occupation : (K, M) array
        Falling with the level.
    orbitals : int
        o = M / N.
    """
    total = 0.0
    for rows in _occupied(states, occupation, orbitals):
        total = total + rows @ rows.mH
    return total.cpu().numpy() / len(states)


def bond_density(states, occupation, orbitals, i, j, phases):
    """rho_ji times the phase of each bond, averaged over twists, (P, o, o).

    Parameters
    ----------
    states, occupation, orbitals
        As in :func:`site_density`.
    i, j : (P,) int arrays
        Sites of the bonds.
    phases : (K, P) complex array
        As :meth:`SDHamiltonian.phases`.
    """
    total = np.zeros((len(i), orbitals, orbitals), complex)
    for rows, phase in zip(_occupied(states, occupation, orbitals), phases, strict=True):
        first, second = (torch.as_tensor(sites, device=rows.device) for sites in (i, j))
        at_once = max(1, CHUNK // max(1, 2 * rows[0].numel()))
        for start in range(0, len(i), at_once):
            part = slice(start, start + at_once)
            density = rows[second[part]] @ rows[first[part]].mH
            total[part] += phase[part, None, None] * density.cpu().numpy()
    return total / len(states)


def _occupied(states, occupation, orbitals):
    """For every twist the occupied states times the root of their occupation, a tensor (N, o, n)."""
    for vectors, filled in zip(states, occupation, strict=True):
        n = int(np.count_nonzero(filled > EMPTY))
        roots = torch.as_tensor(np.sqrt(filled[:n]), device=vectors.device)
        yield (vectors[:, :n] * roots).reshape(-1, orbitals, n)
