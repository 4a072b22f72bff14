"""Static structure factor and correlation functions of spins, or of anything else that sites have.

    S(q) = |N^-1 sum_i e_i exp(-i q.r_i)|^2,        C(r) = <e_i.e_j> over pairs at the distance r

Perfect order has the weights of its components in the peaks: 1 at q = 0 for a ferromagnet, 1/2 at K and at K' for the
120 degree state, 1/3 at the three points M for the tetrahedral one. Over all wave vectors of a Bravais lattice S adds
up to <|e_i|^2>, for spins 1.
"""

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.moments import get_spins, magnetic_mask

SAME = 1e-4
"""Fractions of a cell, and distances in Angstrom, that are the same to this are equal."""
CHUNK = 2**22
"""Phases exp(-i q.r) held at a time."""


def structure_factor(atoms, q=None):
    """Static structure factor of the spins.

    Parameters
    ----------
    atoms : ase.Atoms
        Frame with moments; non-magnetic atoms do not count.
    q : (Q, 3) array, optional
        Wave vectors in units of the reciprocal cell, ``atoms.cell.reciprocal()``.

    Returns
    -------
    (Q,) array, or (n1, n2, n3) array
        S(q). Without ``q``, at all wave vectors (0...n1-1, 0...n2-1, 0...n3-1) of a periodic Bravais lattice of n1 x n2
        x n3 cells.

    Raises
    ------
    InputError
        Wave vectors that are not rows of three finite numbers; without ``q``, atoms that are no Bravais lattice.

    Examples
    --------
    >>> from ase_spinml.analysis import structure_factor
    >>> from ase_spinml.electrons import spin_lattice
    >>> atoms = spin_lattice("square", (4, 4), "AFM")
    >>> (structure_factor(atoms, [[0, 0, 0], [2, 2, 0]]).round(6) + 0.0).tolist()      # of the cell of 4 x 4 sites
    [0.0, 1.0]
    """
    if q is None:
        shape, order = bravais_grid(atoms)
        return (
            np.abs(np.fft.fftn(_ordered(get_spins(atoms), shape, order), axes=(0, 1, 2)) ** 2).sum(-1) / len(order) ** 2
        )
    return np.sum(np.abs(fourier_components(atoms, q)) ** 2, axis=1)


def fourier_components(atoms, q):
    """Fourier components of the spins, N^-1 sum_i e_i exp(-i q.r_i) over the N magnetic atoms.

    Parameters
    ----------
    atoms, q
        As for :func:`structure_factor`.

    Returns
    -------
    (Q, 3) complex array

    Raises
    ------
    InputError
        Wave vectors that are not rows of three finite numbers.

    Examples
    --------
    >>> from ase_spinml.analysis import fourier_components
    >>> from ase_spinml.electrons import spin_lattice
    >>> atoms = spin_lattice("square", (4, 4), "AFM")
    >>> abs(fourier_components(atoms, [[0, 0, 0], [2, 2, 0]])).round(6).tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    q = np.atleast_2d(np.asarray(q, dtype=float))
    if q.ndim != 2 or q.shape[1] != 3 or not np.isfinite(q).all():
        raise InputError(f"Expected q as rows of three numbers in units of the reciprocal cell, got shape {q.shape}.")
    magnetic = magnetic_mask(atoms)
    spins, places = get_spins(atoms)[magnetic], atoms.cell.scaled_positions(atoms.positions[magnetic])
    size = max(1, CHUNK // max(1, len(spins)))
    waves = [np.exp(-2j * np.pi * q[k : k + size] @ places.T) @ spins for k in range(0, len(q), size)]
    return np.concatenate(waves) / len(spins)


def correlation(atoms, values=None):
    """Correlation function of the spins, or of other values, of a periodic Bravais lattice, by distance.

    Parameters
    ----------
    atoms : ase.Atoms
        All atoms magnetic.
    values : (N,) or (N, d) array, optional
        Numbers or vectors of every site instead of the spins.

    Returns
    -------
    r : (B,) array
        Distances in Angstrom, of nearest images, from 0 on.
    c : (B,) array
        Mean product of the values at two sites at this distance.

    Raises
    ------
    InputError
        Atoms that are no periodic Bravais lattice, values that are not one per site.

    Examples
    --------
    >>> from ase_spinml.analysis import correlation
    >>> from ase_spinml.electrons import spin_lattice
    >>> r, c = correlation(spin_lattice("square", (4, 4), "AFM"))
    >>> r[:3].round(3).tolist(), c[:3].round(3).tolist()
    ([0.0, 1.0, 1.414], [1.0, -1.0, 1.0])
    """
    shape, order = bravais_grid(atoms)
    values = get_spins(atoms) if values is None else np.asarray(values, dtype=float)
    if len(values) != len(atoms) or values.ndim > 2:
        raise InputError(f"Expected values (N,) or (N, d) of {len(atoms)} sites, got shape {values.shape}.")
    waves = np.fft.fftn(_ordered(values.reshape(len(atoms), -1), shape, order), axes=(0, 1, 2))
    product = np.fft.ifftn(np.sum(np.abs(waves) ** 2, axis=-1)).real / len(atoms)
    return _by_distance(_image_lengths(atoms, shape), product)


def domain_size(atoms, values, level=0.5):
    """Distance at which the correlation function of an order parameter has fallen to a level.

    Parameters
    ----------
    atoms : ase.Atoms
        As for :func:`correlation`.
    values : (N,) or (N, d) array
        Order parameter of every site.
    level : float
        Of C(r)/C(0).

    Returns
    -------
    float
        In Angstrom, between two distances by linear interpolation; infinite if C does not fall that far.

    Examples
    --------
    >>> from ase_spinml.analysis import domain_size
    >>> from ase_spinml.electrons import spin_lattice
    >>> atoms = spin_lattice("square", (8, 8), "FM")
    >>> stripes = 1.0 - 2.0 * (atoms.positions[:, 0] > 3.5)    # an order parameter with two domains
    >>> print(domain_size(atoms, stripes))
    2.0
    """
    r, c = correlation(atoms, values)
    below = np.flatnonzero(c <= level * c[0])
    if not len(below) or c[0] == 0:
        return np.inf
    k = below[0]
    return float(r[k - 1] + (r[k] - r[k - 1]) * (c[k - 1] - level * c[0]) / (c[k - 1] - c[k]))


def bravais_grid(atoms):
    """How sites lie on a periodic Bravais lattice along the cell vectors.

    Parameters
    ----------
    atoms : ase.Atoms

    Returns
    -------
    shape : (int, int, int)
        Cells n1, n2, n3.
    order : (N,) int array
        Flat number of the cell of every atom.

    Raises
    ------
    InputError
        Sites that are no such lattice, or a direction with several cells that is not periodic.
    """
    places = atoms.get_scaled_positions(wrap=False) - atoms.get_scaled_positions(wrap=False)[0]
    levels = np.sort((places + 0.5 * SAME) % 1, axis=0)  # the first atom's own level is not cut in two
    shape = tuple((1 + (np.diff(levels, axis=0) > SAME).sum(axis=0)).tolist())
    cells = np.rint(places * shape).astype(int)
    order = np.ravel_multi_index((cells % shape).T, shape)
    regular = np.prod(shape) == len(atoms) == len(set(order)) and np.abs(places * shape - cells).max() < 0.01
    if not regular or (np.array(shape)[~atoms.pbc] > 1).any() or not magnetic_mask(atoms).all():
        raise InputError(
            "Expected the sites of a periodic Bravais lattice, all magnetic, along the cell vectors, got "
            f"{len(atoms)} atoms that are not: select one sublattice, or give the wave vectors of the structure factor."
        )
    return shape, order


def _ordered(values, shape, order):
    """Values (N, d) as a grid (n1, n2, n3, d)."""
    grid = np.empty_like(values)
    grid[order] = values
    return grid.reshape(*shape, -1)


def _image_lengths(atoms, shape):
    """Lengths (n1, n2, n3) of the lattice vectors, of their nearest images."""
    from ase.geometry import minkowski_reduce, wrap_positions

    steps = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3) / shape
    cell, _ = minkowski_reduce(atoms.cell.array, atoms.pbc)
    inside = wrap_positions(steps @ atoms.cell.array, cell, atoms.pbc, eps=0)
    around = np.array(np.meshgrid(*[[-1, 0] if p else [0] for p in atoms.pbc], indexing="ij")).reshape(3, -1).T @ cell
    return np.linalg.norm(inside[:, None] + around, axis=2).min(axis=1).reshape(shape)


def _by_distance(lengths, values):
    """Means of values at equal lengths."""
    order = np.argsort(lengths, axis=None)
    lengths, values = lengths.ravel()[order], values.ravel()[order]
    shell = np.concatenate([[0], np.cumsum(np.diff(lengths) > SAME)])
    counts = np.bincount(shell)
    return np.bincount(shell, lengths) / counts, np.bincount(shell, values) / counts
