"""Linear spin waves of any reference state at rest.

Small turns x_i1, x_i2 of the spins along t_i1 and t_i2 = e_i x t_i1 cost (1/2) x.K x, and the Landau-Lifshitz equation
dm/dt = -gamma m x H is linear in them. A wave x ~ exp(i q.S - i omega t) from cell to cell obeys, with g = 2,

    hbar omega x = g i Omega M^-1 K(q) x,    Omega = ((0, -1), (1, 0)),    K(q) = sum_S K_i0,jS exp(2 pi i q.S),

M the lengths of the moments in Bohr magnetons. If K(q) has no negative eigenvalue, all n positive frequencies are real:
with K = L L^H they are the positive eigenvalues of the Hermitian matrix g L^H i Omega M^-1 L (the Bogoliubov
transformation of bosons, whose classical limit this is). One sublattice of parallel spins has g (J(0) - J(q)) / m.

The blocks of spins with themselves carry the fields of all neighbours, anisotropy and external fields. In a spiral,
spins and tangents turn from cell to cell, and K is periodic in that rotating frame if the energy does not change when
all spins turn about the axis.
"""

import numpy as np

from ase_spinml.analysis.curvature import Supercell, curvature, fields, frames_of, rotations
from ase_spinml.errors import InputError
from ase_spinml.moments import get_moments, get_spins
from ase_spinml.units import G_FACTOR

AT_REST = 1e-3
"""Fields across the spins, relative to the largest element of K, below which a state is at rest."""
STABLE = 1e-6
"""Negative eigenvalues of K(q), relative to the largest, that are taken for zero."""
TIE = 1e-5
"""Images whose distances differ by less, in Angstrom, share a coupling."""


def magnon_bands(atoms, q, cutoff, spiral=None):
    """Energies of linear spin waves.

    Parameters
    ----------
    atoms : ase.Atoms
        The magnetic cell in its reference state, with n magnetic atoms and a calculator that gives ``exchange_fields``.
    q : (Q, 3) array
        Wave vectors in units of the reciprocal cell of ``atoms``; of a spiral, in its rotating frame: seen from the
        laboratory, a wave is at q along the axis and at q + k and q - k across it.
    cutoff : float
        Range of the energy in Angstrom, as for :func:`~ase_spinml.analysis.exchange_tensors`. Cells smaller than twice
        the cutoff are repeated internally; at wave vectors that fit the supercell the bands are exact whatever the
        range.
    spiral : tuple of two (3,) arrays, optional
        Wave vector k, in units of the reciprocal cell, and axis: spins of cell S are those of ``atoms`` turned by
        2 pi k.S about the axis, counter-clockwise seen from its tip. Any k will do.

    Returns
    -------
    (Q, n) array
        hbar omega in eV, ascending.

    Raises
    ------
    InputError
        As :func:`~ase_spinml.analysis.exchange_tensors`; wave vectors of another shape, or along directions that are
        not periodic; a state that is not at rest or not stable; a spiral in an energy that depends on the angle about
        its axis.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase_spinml import Heisenberg
    >>> from ase_spinml.analysis import magnon_bands
    >>> atoms = Atoms("Fe", cell=[2.5, 9, 9], pbc=(True, False, False), magmoms=[[0, 0, 2.0]])
    >>> atoms.calc = Heisenberg(exchange=[0.010])
    >>> magnon_bands(atoms, [[0.5, 0, 0]], cutoff=3.0).round(6).tolist()   # (g/m) 4 J, in eV
    [[0.04]]
    """
    q = _wave_vectors(atoms, q)
    supercell = Supercell(atoms, cutoff, None if spiral is None else _checked_spiral(atoms, spiral))
    spins = get_spins(supercell.frame)
    elements = curvature(supercell, spins, frames_of(supercell, spins))
    _check_rest(supercell, spins, np.abs(elements).max(), spiral)
    stiffness = stiffness_matrices(supercell, elements, q)
    lengths = np.linalg.norm(get_moments(supercell.frame)[supercell.home], axis=1)
    return frequencies(stiffness, lengths, q)


def frequencies(stiffness, lengths, q):
    """Positive eigenfrequencies (Q, n) in eV for K(q) (Q, 2n, 2n) in eV and moments (n,) in mu_B; ``q`` for messages.

    Rows of K(q) are x_11, x_12, x_21, ...; InputError if the state is unstable.
    """
    values, vectors = np.linalg.eigh(stiffness)
    worst = values[:, 0].argmin()
    if values[worst, 0] < -STABLE * np.abs(values).max():
        raise InputError(
            f"Expected a stable state, got one whose energy falls by {-values[worst, 0] / 2:.3g} eV/rad^2 in a wave of "
            f"q = {np.round(q[worst], 4).tolist()}: relax the spins, or find the wave vector of the ground state."
        )
    root = vectors * np.sqrt(np.clip(values, 0, None))[:, None, :]
    turn = np.kron(np.diag(1 / lengths), [[0, -1j], [1j, 0]])
    found = np.linalg.eigvalsh(G_FACTOR * root.conj().transpose(0, 2, 1) @ turn @ root)
    return np.abs(found[:, len(lengths) :])


def stiffness_matrices(supercell, elements, q):
    """K(q) (Q, 2n, 2n) from elements (n, 2, M, 2), each put down to its nearest image, in equal parts to several."""
    home, site = supercell.home, supercell.site
    magnetic = np.flatnonzero(np.isin(site, site[home]))
    column = np.searchsorted(site[home], site[magnetic])
    total = np.zeros((len(q), len(home), 2, len(home), 2), complex)
    for i, atom in enumerate(home):
        cells, shares, number = nearest_cells(supercell, atom, magnetic)
        phases = np.exp(2j * np.pi * q @ cells.T) * shares
        for k in range(len(home)):
            chosen = column[number] == k
            blocks = elements[i][:, magnetic[number[chosen]]]
            total[:, i, :, k, :] = np.einsum("qm,amb->qab", phases[:, chosen], blocks)
    total = total.reshape(len(q), 2 * len(home), 2 * len(home))
    odd = total - total.conj().transpose(0, 2, 1)
    if np.abs(odd).max() > 1e-4 * np.abs(total).max():
        raise InputError(
            "Expected second derivatives that repeat from cell to cell, got others: use a longer cutoff, and a spiral "
            "only for an energy that does not change when all spins turn about its axis."
        )
    return total - 0.5 * odd


def nearest_cells(supercell, atom, others):
    """Cells (E, 3) of the images of ``others`` (m,) nearest to ``atom``, their equal shares (E,), and whose they are.

    The third array (E,) numbers the others.
    """
    frame, repeats = supercell.frame, supercell.repeats
    offsets = [[-1, 0, 1] if periodic else [0] for periodic in frame.pbc]
    offsets = np.stack(np.meshgrid(*offsets, indexing="ij"), axis=-1).reshape(-1, 3)
    vectors = frame.positions[others] - frame.positions[atom]
    near = -np.where(frame.pbc, np.round(frame.cell.complete().scaled_positions(vectors)), 0).astype(int)
    images = near[:, None] + offsets
    distances = np.linalg.norm(vectors[:, None] + images @ frame.cell.array, axis=2)
    nearest = distances < distances.min(axis=1, keepdims=True) + TIE
    number, image = np.nonzero(nearest)
    cells = supercell.cell[others[number]] + images[number, image] * repeats
    return cells, 1 / nearest.sum(axis=1)[number], number


def _wave_vectors(atoms, q):
    q = np.array(q, dtype=float)
    if q.ndim != 2 or q.shape[1] != 3 or not np.isfinite(q).all():
        raise InputError(f"Expected q of shape (Q, 3), finite numbers, got shape {q.shape}.")
    if q[:, ~atoms.pbc].any():
        raise InputError("Expected q zero along directions that are not periodic, got others: waves need a crystal.")
    return q


def _checked_spiral(atoms, spiral):
    k, axis = (np.asarray(part, dtype=float) for part in spiral)
    if k.shape != (3,) or axis.shape != (3,) or not axis.any() or k[~atoms.pbc].any():
        raise InputError(
            "Expected a spiral as (k, axis), its wave vector in units of the reciprocal cell, zero where the crystal "
            "is not periodic, and an axis other than zero, got something else."
        )
    return k, axis


def _check_rest(supercell, spins, scale, spiral):
    """Refuse a state that fields turn; of a spiral, at any angle about its axis."""
    states = [spins]
    if spiral is not None:
        states.append(spins @ rotations(spiral[1], [2.0])[0].T)
    for state in states:
        across = np.linalg.norm(fields(supercell.frame, state)[supercell.home], axis=1).max()
        if across > AT_REST * scale:
            raise InputError(
                f"Expected spins at rest, got fields across them of m H = {across:.3g} eV: relax the spins"
                f"{', or take a longer cutoff and an axis of the energy for the spiral' if spiral is not None else ''}."
            )
