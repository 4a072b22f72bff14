"""Long spin waves of a ferromagnet: the stiffness of its exchange.

A slow turn of all spins costs the energy density sum_ab A_ab (d_a e).(d_b e), and its waves have the energies
hbar omega = sum_ab D_ab q_a q_b. With M the moment of a cell of volume V, in Bohr magnetons, and g = 2,

    D = (2 / M) s,    A = s / (2 V),    s_ab = (1/2) sum over pairs from both ends of J_ij r_a r_b  -  relaxation.

Sublattices without a centre of inversion shift their phases against each other along the wave: s is the curvature of
the lowest eigenvalue of sum_S J_ij(0) - J_ij exp(i q.r), in second order of perturbation theory.
"""

import numpy as np
from ase import units

from ase_spinml.analysis.exchange import decompose
from ase_spinml.errors import InputError
from ase_spinml.moments import get_moments, get_spins
from ase_spinml.units import G_FACTOR

PICOJOULE_PER_METRE = 1e-12 * units.J / units.m
"""1 pJ/m in eV/Angstrom."""


def spin_stiffness(atoms, exchange):
    """Spin-wave stiffness D of a ferromagnet, hbar omega = q.D q.

    Parameters
    ----------
    atoms : ase.Atoms
        The crystal with moments in mu_B: their sum is what precesses. Where spheres hold only part of the moment, as
        those of constrained VASP calculations do, set the whole one.
    exchange : tuple (i, j, S, J)
        As from :func:`~ase_spinml.analysis.exchange_tensors`; its isotropic parts count.

    Returns
    -------
    (3, 3) array
        meV Angstrom^2. A multiple of the unit matrix in cubic crystals.

    Raises
    ------
    InputError
        No moments, or coupled spins that are not parallel.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase_spinml import Heisenberg
    >>> from ase_spinml.analysis import exchange_tensors, spin_stiffness
    >>> atoms = Atoms("Fe", cell=[2.5, 2.5, 2.5], pbc=True, magmoms=[[0, 0, 2.0]])
    >>> atoms.calc = Heisenberg(exchange=[0.010])              # eV, six neighbours
    >>> exchange = exchange_tensors(atoms, cutoff=3.0)
    >>> print(spin_stiffness(atoms, exchange)[0, 0].round(3))  # 2 J a^2 / m, in meV Angstrom^2
    62.5
    """
    moment = np.linalg.norm(get_moments(atoms), axis=1).sum()
    return 1e3 * G_FACTOR / moment * _curvature(atoms, exchange)


def exchange_stiffness(atoms, exchange):
    """Micromagnetic exchange stiffness A of a ferromagnet, energy density A (grad e)^2.

    Parameters and errors as for :func:`spin_stiffness`; the moments are needed for their directions only.

    Returns
    -------
    (3, 3) array
        pJ/m.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase_spinml import Heisenberg
    >>> from ase_spinml.analysis import exchange_stiffness, exchange_tensors
    >>> atoms = Atoms("Fe", cell=[2.5, 2.5, 2.5], pbc=True, magmoms=[[0, 0, 2.0]])
    >>> atoms.calc = Heisenberg(exchange=[0.010])              # eV, six neighbours
    >>> exchange = exchange_tensors(atoms, cutoff=3.0)
    >>> print(exchange_stiffness(atoms, exchange)[0, 0].round(3))           # J / 2a, in pJ/m
    3.204
    """
    return _curvature(atoms, exchange) / (2 * atoms.get_volume()) / PICOJOULE_PER_METRE


def _curvature(atoms, exchange):
    """s (3, 3) in eV Angstrom^2."""
    i, j, S, J = exchange
    spins = get_spins(atoms)
    if np.any(np.einsum("px,px->p", spins[i], spins[j]) < 1 - 1e-6):
        raise InputError("Expected a ferromagnet, got coupled spins that are not parallel: waves have no stiffness D.")
    isotropic = decompose(J)[0]
    sites, (first, second) = np.unique(i), (np.searchsorted(np.unique(i), x) for x in (i, j))
    r = atoms.positions[j] - atoms.positions[i] + S @ atoms.cell.array
    size = len(sites)
    resting = np.zeros((size, size))
    np.add.at(resting, (first, first), isotropic)
    np.add.at(resting, (first, second), -isotropic)
    linear = np.zeros((size, 3))
    np.add.at(linear, first, -isotropic[:, None] * r)  # times i, on spins in phase
    direct = 0.5 * np.einsum("p,pa,pb->ab", isotropic, r, r)
    return direct - linear.T @ np.linalg.pinv(resting, rcond=1e-9, hermitian=True) @ linear
