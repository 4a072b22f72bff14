"""What classical spins of lattice models do to each other without electrons: superexchange, a field, anisotropy."""

import numpy as np


def classical_terms(spins, i, j, exchange, field, anisotropy, axis):
    """E = sum_b J_b S_i.S_j - sum_i B.S_i - K sum_i (S_i.a)^2.

    Parameters
    ----------
    spins : (N, 3) array
        Unit rows, zero where there is no spin.
    i, j : (P,) int arrays
        Sites of the bonds.
    exchange : (P,) array
        J_b, positive for antiparallel spins.
    field : (3,) array
        B.
    anisotropy : float
        K, positive for an easy axis.
    axis : (3,) array
        a, of length 1.

    Returns
    -------
    energy : float
    fields : (N, 3) array
        -dE/dS_i, zero where there is no spin.
    pair_energies : (P,) array
        S_i.S_j of the bonds, what the energy changes by with J_b.
    """
    along = spins @ axis
    fields = np.where(spins.any(axis=1)[:, None], field, 0.0) + 2.0 * anisotropy * along[:, None] * axis
    pairs = np.einsum("pa,pa->p", spins[i], spins[j])
    energy = float(exchange @ pairs) - float(np.sum(spins @ field)) - anisotropy * float(along @ along)
    if exchange.any():
        np.subtract.at(fields, i, exchange[:, None] * spins[j])
        np.subtract.at(fields, j, exchange[:, None] * spins[i])
    return energy, fields, pairs


def forces_of_bonds(n_sites, i, j, vectors, pulls):
    """Forces (N, 3) and dE/d(strain) (3, 3) from dE/d(vector) of the bonds, ``pulls`` (P, 3); vectors r_j - r_i."""
    forces = np.zeros((n_sites, 3))
    np.add.at(forces, i, pulls)
    np.subtract.at(forces, j, pulls)
    return forces, vectors.T @ pulls
