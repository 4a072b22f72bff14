"""Ordering temperatures of classical spins, from a table of exchange.

With J_ij(q) the Fourier transform of the isotropic parts between sublattices, in eV, E = -(1/2) sum J e.e:

- mean field: k_B T = lambda / 3, lambda the largest eigenvalue of J_ij(0);
- random phase approximation (spherical waves of spins that are nearly disordered): sublattice i of the reduced
  magnetisation sigma_i is held by the field sum_j J_ij(0) sigma_j, so that transverse fluctuations have the stiffness
  A_ij(q) = delta_ij sum_k J_ik(0) sigma_k / sigma_i - J_ij(q), and

      k_B T [mean over q of A(q)^-1]_ii = 1/3    on every sublattice,

  which fixes T and the ratios of sigma. For one sublattice 1/(k_B T) = 3 <1 / (J(0) - J(q))>: the harmonic mean over
  the zone where mean field takes the arithmetic one, and always lower.
"""

import numpy as np
from ase import units

from ase_spinml.analysis.exchange import decompose
from ase_spinml.errors import InputError


def mean_field_temperature(exchange):
    """Ordering temperature of classical spins in mean field, in K.

    Parameters
    ----------
    exchange : tuple (i, j, S, J)
        As from :func:`~ase_spinml.analysis.exchange_tensors`.

    Raises
    ------
    InputError
        No order within one cell: no eigenvalue of J(0) is positive.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase_spinml import Heisenberg
    >>> from ase_spinml.analysis import exchange_tensors, mean_field_temperature
    >>> atoms = Atoms("Fe", cell=[2.5, 2.5, 2.5], pbc=True, magmoms=[[0, 0, 2.0]])
    >>> atoms.calc = Heisenberg(exchange=[0.010])              # eV, six neighbours
    >>> exchange = exchange_tensors(atoms, cutoff=3.0)
    >>> print(mean_field_temperature(exchange).round(1))       # 2 J / k_B, in K
    232.1
    """
    return _order(coupling(exchange, np.zeros((1, 3)))[0].real)[0] / 3 / units.kB


def rpa_temperature(exchange, mesh=24):
    """Ordering temperature of classical spins in the random phase approximation, in K.

    The order is that of :func:`mean_field_temperature`. Means over the zone converge as the inverse of the mesh, and
    are extrapolated from ``mesh`` and half of it.

    Parameters
    ----------
    exchange : tuple (i, j, S, J)
        As from :func:`~ase_spinml.analysis.exchange_tensors`.
    mesh : int
        Even number of points along each reciprocal vector.

    Raises
    ------
    InputError
        An unusable mesh; no order within one cell; couplings in fewer than three directions, which order at zero only;
        an order that its own waves destroy.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase_spinml import Heisenberg
    >>> from ase_spinml.analysis import exchange_tensors, rpa_temperature
    >>> atoms = Atoms("Fe", cell=[2.5, 2.5, 2.5], pbc=True, magmoms=[[0, 0, 2.0]])
    >>> atoms.calc = Heisenberg(exchange=[0.010])              # eV, six neighbours
    >>> exchange = exchange_tensors(atoms, cutoff=3.0)
    >>> round(rpa_temperature(exchange, mesh=16))              # K
    153
    """
    from scipy.optimize import root

    if mesh < 4 or mesh % 2:
        raise InputError(f"Expected mesh to be an even number, 4 or more, got {mesh}.")
    if np.linalg.matrix_rank(exchange[2]) < 3:
        raise InputError("Expected couplings in three directions, got fewer: spins in a plane order at 0 K only.")
    resting = coupling(exchange, np.zeros((1, 3)))[0].real
    order = _order(resting)[1]
    if len(order) == 1 or np.ptp(np.abs(order)) < 1e-9:  # equivalent sublattices
        return 1 / (3 * units.kB * _fluctuation(exchange, resting, order, mesh).mean())

    def unequal(logarithms):
        found = _fluctuation(exchange, resting, order * np.exp([0.0, *logarithms]), mesh)
        return np.log(found[1:] / found[0])

    solution = root(unequal, np.zeros(len(order) - 1), tol=1e-8)
    order = order * np.exp([0.0, *solution.x])
    return 1 / (3 * units.kB * _fluctuation(exchange, resting, order, mesh)[0])


def coupling(exchange, q):
    """Isotropic J_ij(q) in eV between sublattices, (Q, n, n), at q (Q, 3) in units of the reciprocal cell."""
    i, j, S, J = exchange
    sites = np.unique(i)
    first, second = np.searchsorted(sites, i), np.searchsorted(sites, j)
    terms = np.exp(2j * np.pi * np.asarray(q) @ np.transpose(S)) * decompose(J)[0]
    total = np.zeros((len(sites) ** 2, len(terms)), complex)
    np.add.at(total, first * len(sites) + second, terms.T)
    return total.T.reshape(-1, len(sites), len(sites))


def _order(resting):
    """Largest eigenvalue of J(0) in eV, and its eigenvector (n,)."""
    values, vectors = np.linalg.eigh(resting)
    if values[-1] <= 0:
        raise InputError("Expected spins that order within one cell, got none that gain energy: give a magnetic cell.")
    return values[-1], vectors[:, -1]


def _fluctuation(exchange, resting, order, mesh):
    """Mean of [A(q)^-1]_ii over the zone, (n,), in 1/eV, extrapolated to a dense mesh."""
    coarse, fine = (_mean_inverse(exchange, resting, order, n) for n in (mesh // 2, mesh))
    return 2 * fine - coarse


def _mean_inverse(exchange, resting, order, mesh):
    points = (np.arange(mesh) + 0.5) / mesh
    plane = np.stack(np.meshgrid(points, points, indexing="ij"), axis=-1).reshape(-1, 2)
    held = np.diag(resting @ order / order)
    total = np.zeros(len(order))
    for x in points[: mesh // 2]:  # the other half are -q
        stiffness = held - coupling(exchange, np.column_stack([np.full(len(plane), x), plane]))
        if np.linalg.eigvalsh(stiffness).min() <= 0:
            raise InputError(
                "Expected an order that its waves leave stable, got another wave vector of lower energy: give the "
                "magnetic cell of the ground state."
            )
        total += np.einsum("qii->i", np.linalg.inv(stiffness).real)
    return 2 * total / mesh**3
