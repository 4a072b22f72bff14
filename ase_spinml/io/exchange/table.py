"""Tables of exchange parameters between the atoms of a crystal, in one convention for all programs.

A table is (i, j, S, J): atom i couples to the image of atom j in the cell shifted by S, with a tensor J (3, 3) in eV,

    E = -(1/2) sum over all rows of e_i . J e_j,

where every pair is listed from both its ends, (i, j, S, J) and (j, i, -S, J^T), and e are unit vectors. The isotropic
part is a third of the trace (positive: ferromagnetic), the antisymmetric part is the Dzyaloshinskii-Moriya vector,
e_i . J e_j = ... + D . (e_i x e_j), and a pair contributes -J e_i.e_j once. Other programs differ by factors:

==========  ======================================  =====================================
program     its energy                              J here
==========  ======================================  =====================================
TB2J        -sum over both orders of J e.e, meV     2 J
UppASD      -sum over both orders of J e.e, mRy     2 J
Vampire     -sum over pairs of J e.e, J per link    J
Spirit      -sum over pairs of J e.e, meV           J
==========  ======================================  =====================================
"""

from typing import NamedTuple

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.io.canonical import COLLINEAR
from ase_spinml.moments import MOMENTS, get_moments, unit_rows


class ExchangeTable(NamedTuple):
    """Pairs and tensors, see the module for the convention. A plain tuple of four arrays does as well.

    Attributes
    ----------
    i, j : (P,) int
        Atoms.
    S : (P, 3) int
        Cell of the second atom relative to the first.
    J : (P, 3, 3) float
        Tensors, eV.
    """

    i: np.ndarray
    j: np.ndarray
    S: np.ndarray
    J: np.ndarray


def check_table(table, n_atoms, tolerance=5e-6, source="the table"):
    """The table as arrays, rows sorted by (i, j, S), if it is one.

    Parameters
    ----------
    table : ExchangeTable or tuple of four arrays
    n_atoms : int
    tolerance : float
        Largest difference, in eV, between a tensor and the transpose of its reverse.
    source : str
        How error messages call it.

    Raises
    ------
    InputError
        Wrong shapes, atoms out of range, an atom coupled to itself, a pair twice, a pair listed from one end only or
        differently from both.
    """
    try:
        i, j, S, J = (np.asarray(part) for part in table)
    except (TypeError, ValueError):
        raise InputError(f"Expected (i, j, S, J) as {source}, got something else.") from None
    if not (i.shape == j.shape == S.shape[:1] == J.shape[:1] and S.shape[1:] == (3,) and J.shape[1:] == (3, 3)):
        shapes = ", ".join(str(part.shape) for part in (i, j, S, J))
        raise InputError(f"Expected {source} of shapes (P,), (P,), (P, 3), (P, 3, 3), got {shapes}.")
    if not np.isfinite(J).all() or not np.array_equal(S, np.round(S)):
        raise InputError(f"Expected finite tensors and whole cell shifts in {source}, got others.")
    i, j, S = (part.astype(int) for part in (i, j, S))
    if i.size == 0 or min(i.min(), j.min()) < 0 or max(i.max(), j.max()) >= n_atoms:
        raise InputError(f"Expected pairs among {n_atoms} atoms in {source}, got others or none.")
    if ((i == j) & ~S.any(axis=1)).any():
        raise InputError(f"Expected pairs of different atoms in {source}, got an atom coupled to itself.")
    forward, backward = np.column_stack([i, j, S]), np.column_stack([j, i, -S])
    order, partner = np.lexsort(forward.T[::-1]), np.lexsort(backward.T[::-1])
    if (np.diff(forward[order], axis=0) == 0).all(axis=1).any():
        raise InputError(f"Expected every pair once from each end in {source}, got one several times.")
    if not np.array_equal(forward[order], backward[partner]):
        raise InputError(
            f"Expected every pair from both its ends in {source}, got some from one end only: complete it with "
            f"with_reverses(table), or the file is cut off."
        )
    if np.abs(J[order] - J[partner].transpose(0, 2, 1)).max() > tolerance:
        raise InputError(f"Expected J_ji to be the transpose of J_ij in {source}, got different values.")
    return ExchangeTable(i[order], j[order], S[order], np.array(J[order], dtype=float))


def with_reverses(table):
    """A table in which every pair is listed once, completed by the same pairs from the other end."""
    i, j, S, J = (np.asarray(part) for part in table)
    return ExchangeTable(
        np.concatenate([i, j]),
        np.concatenate([j, i]),
        np.concatenate([S, -S]),
        np.concatenate([J, J.transpose(0, 2, 1)]),
    )


def half_table(table):
    """Every pair of a complete table once: the rows with the smaller (i, j, S)."""
    i, j, S, J = table
    forward, backward = np.column_stack([i, j, S]), np.column_stack([j, i, -S])
    keep = [tuple(a) < tuple(b) for a, b in zip(forward, backward, strict=True)]
    return ExchangeTable(i[keep], j[keep], S[keep], J[keep])


def tensors(isotropic, dmi=None, symmetric=None):
    """Tensors (P, 3, 3) from J (P,), D (P, 3) and symmetric parts (P, 3, 3), all in the same unit."""
    J = np.asarray(isotropic, dtype=float)[:, None, None] * np.eye(3)
    if dmi is not None:
        x, y, z = np.asarray(dmi, dtype=float).T
        zero = np.zeros_like(x)
        J = J + np.array([[zero, z, -y], [-z, zero, x], [y, -x, zero]]).transpose(2, 0, 1)
    return J if symmetric is None else J + np.asarray(symmetric)


def parts(J):
    """J (P,), D (P, 3) and the symmetric traceless rest (P, 3, 3) of tensors (P, 3, 3)."""
    isotropic = np.trace(J, axis1=1, axis2=2) / 3
    odd = 0.5 * (J - J.transpose(0, 2, 1))
    dmi = np.stack([odd[:, 1, 2], odd[:, 2, 0], odd[:, 0, 1]], axis=1)
    return isotropic, dmi, J - odd - isotropic[:, None, None] * np.eye(3)


def pair_energy(table, spins):
    """Energy per cell, eV, of unit vectors ``spins`` (N, 3) repeated in every cell."""
    i, j, _, J = table
    return -0.5 * float(np.einsum("pa,pab,pb->", spins[i], J, spins[j]))


def exchange_sums(table, n_atoms):
    """Sum over the rows of each atom of the isotropic part, (N,), eV."""
    return np.bincount(table[0], weights=parts(np.asarray(table[3]))[0], minlength=n_atoms)


def magnetic_sites(atoms, table):
    """What programs of spin dynamics see of a crystal: the atoms that carry a moment.

    Returns
    -------
    sites : ase.Atoms
        The magnetic atoms.
    table : ExchangeTable
        Checked, with their numbers.
    moments : (M, 3) array
        mu_B; those known as one number per atom lie along z.

    Raises
    ------
    InputError
        No moments; a table that is not one, or couples atoms without a moment.
    """
    table = check_table(table, len(atoms))
    scalars = atoms.arrays.get(COLLINEAR) if COLLINEAR in atoms.arrays else atoms.arrays.get(MOMENTS)
    if scalars is not None and scalars.ndim == 1:
        moments = scalars[:, None] * np.array([0.0, 0.0, 1.0])
    else:
        moments = get_moments(atoms)
    coupled = np.unique(table.i)
    if not moments[coupled].any(axis=1).all():
        raise InputError("Expected a moment on every coupled atom, got atoms without: set them with set_moments.")
    number = np.full(len(atoms), -1)
    sites = np.flatnonzero(moments.any(axis=1))
    number[sites] = np.arange(len(sites))
    return atoms[sites], ExchangeTable(number[table.i], number[table.j], table.S, table.J), moments[sites]


def directions(moments):
    """Unit rows of ``moments`` (N, 3); a zero row points along z."""
    return np.where(moments.any(axis=1)[:, None], unit_rows(moments), [0.0, 0.0, 1.0])
