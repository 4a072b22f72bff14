"""Exact diagonalisation of the electrons: LAPACK on a processor, batches of matrices on a CUDA device.

On a processor the eigenvectors come from LAPACK's ``evr``, the faster one for more than some hundred orbitals beside
the divide-and-conquer ``evd`` that NumPy and torch use.
"""

import numpy as np
import torch
from scipy.linalg import eigh, eigvalsh

from ase_spinml.electrons.ensemble import Solution, fill, grand_potential
from ase_spinml.errors import InputError

EMPTY = 1e-18
"""States filled less than this do not enter the density matrix."""
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
        self.device = checked_device(device)

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
        twists = np.zeros((1, 3)) if twists is None else np.asarray(twists, float)
        frames = spins.reshape(-1, *spins.shape[-2:])
        at_once = 1 if self.device.type == "cpu" else max(1, CHUNK // (len(twists) * hamiltonian.size**2))
        solutions = []
        for start in range(0, len(frames), at_once):
            matrices = hamiltonian.dense(frames[start : start + at_once], twists)
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
            phases = hamiltonian.phases(twists)
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
    if not vectors:
        levels = np.stack([eigvalsh(one, check_finite=False, driver="evr") for one in flat])
        return levels.reshape(matrices.shape[:-1]), None
    levels, states = zip(*[eigh(one, check_finite=False, driver="evr") for one in flat], strict=True)
    states = (
        torch.stack([torch.from_numpy(one.T) for one in states])
        if len(states) > 1
        else torch.from_numpy(states[0].T)[None]
    )
    return np.stack(levels).reshape(matrices.shape[:-1]), states.mT.reshape(matrices.shape)


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
    for vectors, filled in _occupied(states, occupation):
        rows = vectors.T
        parts = [rows[:, a::orbitals] for a in range(orbitals)]
        density = [[filled.to(rows.dtype) @ (one * other.conj()) for other in parts] for one in parts]
        total = total + torch.stack([torch.stack(row, -1) for row in density], -2)
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
    for (vectors, filled), phase in zip(_occupied(states, occupation), phases, strict=True):
        rows = (vectors * filled.sqrt()).reshape(-1, orbitals, len(filled))
        first, second = (torch.as_tensor(sites, device=rows.device) for sites in (i, j))
        at_once = max(1, CHUNK // (2 * orbitals * max(1, len(filled))))
        for start in range(0, len(i), at_once):
            part = slice(start, start + at_once)
            density = rows[second[part]] @ rows[first[part]].mH
            total[part] += phase[part, None, None] * density.cpu().numpy()
    return total / len(states)


def checked_device(device):
    """A torch device; InputError if it is not there."""
    try:
        device = torch.device("cpu" if device is None else device)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"Expected device to be one that torch knows, 'cpu' or 'cuda', got {device!r}.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"Expected a CUDA device for device={str(device)!r}, got none: use device='cpu'.")
    return device


def _occupied(states, occupation):
    """For every twist the occupied states (M, n) and their occupations (n,) as tensors."""
    for vectors, filled in zip(states, occupation, strict=True):
        n = int(np.count_nonzero(filled > EMPTY))
        yield vectors[:, :n], torch.as_tensor(filled[:n], device=vectors.device)
