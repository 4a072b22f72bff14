"""Lattices of sites with ordered or random spins, as Atoms, in one call.

Neighbours are 1 Angstrom apart and moments have length 1: a lattice model counts distances in the lattice spacing,
spins as S = 1 and energies in the hopping t, which then stand for Angstrom, mu_B and eV.
"""

import inspect
import numbers
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from ase_spinml.errors import InputError
from ase_spinml.moments import random_directions, set_moments, spin_spiral, unit_rows

HEIGHT = 10.0
"""Length of the cell vectors, in Angstrom, along which the lattice has no extension."""
CLOSEST = 0.7
"""Smallest distance of two sites of the amorphous lattice, whose density is 1."""

R3 = np.sqrt(3.0)
LATTICES = {
    "chain": ([[1.0]], [[0.0]]),
    "square": ([[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0]]),
    "triangular": ([[1.0, 0.0], [0.5, R3 / 2]], [[0.0, 0.0]]),
    "honeycomb": ([[R3, 0.0], [R3 / 2, 1.5]], [[0.0, 0.0], [R3 / 2, 0.5]]),
    "kagome": ([[2.0, 0.0], [1.0, R3]], [[0.0, 0.0], [1.0, 0.0], [0.5, R3 / 2]]),
    "cubic": (np.eye(3), [[0.0, 0.0, 0.0]]),
}
"""Cell vectors and sites of the unit cells, in units of the distance of neighbours."""


def spin_lattice(lattice, size, state="FM", *, pbc=True, rng=None, **options):
    """Atoms on a lattice, with moments of length 1 in a magnetic state.

    Parameters
    ----------
    lattice : str
        "chain", "square", "triangular", "honeycomb", "kagome", "cubic", or "amorphous": sites at random in a box, one
        per unit of volume (or area) and none closer than 0.7.
    size : int or sequence of int
        Unit cells along each lattice vector; for "amorphous" the sides of the box, two or three.
    state : str
        "FM"; "AFM" (Neel); "120" (three sublattices); "tetrahedral" (four sublattices of the triangular lattice);
        "stripe" (rows along the first lattice vector alternate); "flux" (four sublattices of the square lattice,
        neighbours at right angles); "spiral" with ``q`` in units of the reciprocal lattice, ``axis`` and ``angle`` as
        in :func:`ase_spinml.moments.spin_spiral`; "wall" with ``width``, and ``helicity`` as below; "skyrmion" with
        ``radius``, ``width``, ``helicity``; "skyrmion lattice" with ``period`` in lattice vectors and ``helicity``;
        "random".
    pbc : bool or sequence of bool
        Along the lattice vectors.
    rng : seed or numpy.random.Generator
        For "random" and "amorphous".
    **options
        Of the state. Walls and skyrmions turn as e = (sin t cos f, sin t sin f, cos t). A wall, in the middle of the
        first direction, has cos t = -tanh(x / width); along a periodic direction there are two of them, a quarter off
        either end. A skyrmion has t = 2 arctan(sinh(radius / width) / sinh(r / width)) about the middle of the cell.
        f is ``helicity`` in degrees, for skyrmions plus the azimuth of the position: 0 is of Neel's type and 90, the
        default, of Bloch's.

    Returns
    -------
    ase.Atoms
        Of the symbol X. Directions without extension have a cell vector of 10 Angstrom and are not periodic.

    Raises
    ------
    InputError
        An unknown lattice or state, a state that does not go with the lattice or does not fit into its periodic
        size, options that the state does not have.
    """
    if state not in STATES:
        raise InputError(f"Expected state to be one of {', '.join(STATES)}, got {state!r}.")
    rng = np.random.default_rng(rng)
    sites = _amorphous(size, pbc, rng) if lattice == "amorphous" else _crystal(lattice, size, pbc)
    lattices, build = STATES[state]
    if lattices is not None and lattice not in lattices:
        raise InputError(f"Expected a lattice of {', '.join(lattices)} for the state {state!r}, got {lattice!r}.")
    try:
        inspect.signature(build).bind(sites, rng, **options)
    except TypeError as error:
        raise InputError(f"Expected the options of the state {state!r}, got {options}: {error}.") from None
    set_moments(sites.atoms, unit_rows(build(sites, rng, **options)))
    return sites.atoms


@dataclass
class _Sites:
    """Sites without moments: lattice, unit cells along each vector (d,), vectors (d, d), which of them are periodic.

    ``cell`` (N, d) is the unit cell of every site and ``place`` (N,) its number there, for crystals.
    """

    atoms: Atoms
    lattice: str
    size: np.ndarray
    vectors: np.ndarray
    pbc: np.ndarray
    cell: np.ndarray = None
    place: np.ndarray = None

    def sublattice(self, weights, period):
        """(N,) sum of the cell numbers times weights modulo a period, which has to divide the size."""
        wrong = self.pbc & (np.asarray(weights) * self.size % period != 0)
        if wrong.any():
            raise InputError(
                f"Expected a size that is a multiple of {period} along periodic directions for this state, got "
                f"{self.size.tolist()}."
            )
        return self.cell @ np.asarray(weights) % period


def _crystal(lattice, size, pbc):
    if lattice not in LATTICES:
        raise InputError(f"Expected lattice to be one of {', '.join(LATTICES)}, amorphous, got {lattice!r}.")
    vectors, basis = (np.array(part) for part in LATTICES[lattice])
    size = _size(size, [len(vectors)])
    pbc = _periodic(pbc, len(size))
    cells = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1).reshape(-1, len(vectors))
    cell, place = np.repeat(cells, len(basis), axis=0), np.tile(np.arange(len(basis)), len(cells))
    atoms = _atoms(cell @ vectors + basis[place], size[:, None] * vectors, pbc)
    return _Sites(atoms, lattice, size, vectors, pbc, cell, place)


def _amorphous(size, pbc, rng):
    size = _size(size, [2, 3])
    dimensions = len(size)
    pbc = _periodic(pbc, dimensions)
    points = np.empty((0, dimensions))
    wrap = np.where(pbc, size, np.inf)
    while len(points) < size.prod():  # random sequential addition, far below its density of jamming
        new = rng.uniform(size=dimensions) * size
        away = np.abs(points - new)
        away = np.minimum(away, wrap - away)
        if not len(points) or (away**2).sum(axis=1).min() >= CLOSEST**2:
            points = np.vstack([points, new])
    return _Sites(_atoms(points, np.diag(size.astype(float)), pbc), "amorphous", size, np.eye(dimensions), pbc)


def _atoms(points, vectors, pbc):
    dimensions = len(vectors)
    cell = np.diag([HEIGHT] * 3)
    cell[:dimensions, :dimensions] = vectors
    positions = np.zeros((len(points), 3))
    positions[:, :dimensions] = points
    return Atoms("X" * len(points), positions=positions, cell=cell, pbc=[*pbc, *[False] * (3 - dimensions)])


def _size(size, dimensions):
    size = [size] if isinstance(size, numbers.Integral) else list(size)
    whole = all(isinstance(n, numbers.Integral) and n > 0 for n in size)
    if len(size) not in dimensions or not whole:
        count = " or ".join(map(str, dimensions))
        raise InputError(f"Expected size to be {count} whole numbers above zero for this lattice, got {size}.")
    return np.array(size, dtype=int)


def _periodic(pbc, dimensions):
    try:
        return np.broadcast_to(np.asarray(pbc, dtype=bool), dimensions)
    except ValueError:
        raise InputError(f"Expected pbc to be one bool or {dimensions} for this lattice, got {pbc}.") from None


def _along(signs):
    return np.outer(signs, [0.0, 0.0, 1.0])


def _in_plane(angles):
    return np.stack([np.cos(angles), np.sin(angles), np.zeros(len(angles))], axis=1)


def _ferromagnet(sites, rng):
    return _along(np.ones(len(sites.atoms)))


def _neel(sites, rng):
    if sites.lattice == "honeycomb":
        return _along((-1.0) ** sites.place)
    return _along((-1.0) ** sites.sublattice(np.ones(len(sites.size), int), 2))


def _three_sublattices(sites, rng):
    number = sites.place if sites.lattice == "kagome" else sites.sublattice([1, 2], 3)
    return _in_plane(2 * np.pi / 3 * number)


def _tetrahedral(sites, rng):
    first, second = (sites.sublattice(weights, 2) for weights in ([1, 0], [0, 1]))
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / R3
    return corners[2 * first + second]


def _stripe(sites, rng):
    return _along((-1.0) ** sites.sublattice([0, 1], 2))


def _flux(sites, rng):
    first, second = (sites.sublattice(weights, 2) for weights in ([1, 0], [0, 1]))
    return np.stack([(-1.0) ** first, (-1.0) ** second, np.zeros(len(first))], axis=1) / np.sqrt(2.0)


def _spiral(sites, rng, q, axis=(0, 0, 1), angle=90.0):
    q = np.array(q, dtype=float)
    if q.shape != sites.size.shape:
        raise InputError(f"Expected q to be {len(sites.size)} numbers for this lattice, got {q.tolist()}.")
    return spin_spiral(sites.atoms, np.pad(q * sites.size, (0, 3 - len(q))), axis, angle)


def _wall(sites, rng, width, helicity=90.0):
    _positive(width=width)
    length = sites.size[0] * np.linalg.norm(sites.vectors[0])
    x = sites.atoms.cell.scaled_positions(sites.atoms.positions)[:, 0] * length
    middle = x - (np.ptp(x) / 2)
    if not sites.pbc[0]:
        return _turned(np.arccos(-np.tanh(middle / width)), np.radians(helicity))
    distance = np.abs(np.mod(x, length) - length / 2) - length / 4
    return _turned(np.arccos(np.tanh(distance / width)), np.radians(helicity))


def _skyrmion(sites, rng, radius, width=None, helicity=90.0):
    width = radius / 2 if width is None else width
    _positive(radius=radius, width=width)
    vectors = sites.atoms.cell.array[:2]
    away = sites.atoms.positions - sites.atoms.positions.mean(axis=0)
    fractions = away[:, :2] @ np.linalg.inv(vectors[:, :2])
    away = (fractions - np.where(sites.pbc, np.round(fractions), 0.0)) @ vectors[:, :2]
    distance, azimuth = np.linalg.norm(away, axis=1), np.arctan2(away[:, 1], away[:, 0])
    rim = np.minimum(distance / width, 300.0)
    return _turned(2 * np.arctan2(np.sinh(radius / width), np.sinh(rim)), azimuth + np.radians(helicity))


def _skyrmion_lattice(sites, rng, period, helicity=90.0):
    if not isinstance(period, numbers.Integral) or (sites.pbc & (sites.size % period != 0)).any():
        raise InputError(
            f"Expected a whole number for period that divides the size {sites.size.tolist()}, got {period}."
        )
    reciprocal = 2 * np.pi * np.linalg.inv(sites.vectors).T / period
    waves = np.array([reciprocal[0], reciprocal[1], -reciprocal.sum(axis=0)])
    phase = sites.atoms.positions[:, :2] @ waves.T + np.pi  # a core at the origin
    directions = np.arctan2(waves[:, 1], waves[:, 0]) + np.radians(helicity)
    spins = -np.sin(phase) @ _in_plane(directions)
    spins[:, 2] = np.cos(phase).sum(axis=1) + 1e-3  # no spin vanishes between the cores
    return spins


def _random(sites, rng):
    return random_directions(len(sites.atoms), rng)


def _turned(polar, azimuth):
    return np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=1)


def _positive(**lengths):
    for name, value in lengths.items():
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"Expected {name} > 0 in Angstrom, got {value}.")


PLANAR = ("square", "triangular", "honeycomb", "kagome")
STATES = {
    "FM": (None, _ferromagnet),
    "AFM": (("chain", "square", "honeycomb", "cubic"), _neel),
    "120": (("triangular", "kagome"), _three_sublattices),
    "tetrahedral": (("triangular",), _tetrahedral),
    "stripe": (("square", "triangular"), _stripe),
    "flux": (("square",), _flux),
    "spiral": (tuple(LATTICES), _spiral),
    "wall": (tuple(LATTICES), _wall),
    "skyrmion": (PLANAR, _skyrmion),
    "skyrmion lattice": (("triangular",), _skyrmion_lattice),
    "random": (None, _random),
}
"""Lattices that a state goes with (None: all) and the function that builds it."""
