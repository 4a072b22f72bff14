"""Recipes of spin states: random, cones, spirals, one spin turned, thermal.

Every function returns a list of recipes; lists are added with +. Directions only: each atom keeps the moment length of
the reference, and an atom without a moment stays without. Angles are in degrees.
"""

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.moments import cone, get_spins, random_directions, spin_spiral, transverse, unit_rows
from ase_spinml.sampling.recipes import build, values, vector, whole
from ase_spinml.sampling.thermal import thermal_directions


def random_spins(count):
    """``count`` states whose directions are drawn evenly from the sphere, one for each atom: the paramagnet."""
    return [{"kind": "random"} for _ in range(whole("count", count))]


def spin_cones(angles, count=1, axis=None, filled=True):
    """States with every spin at random within a cone.

    Parameters
    ----------
    angles : float or sequence of float
        Opening half-angles, 0 to 180 degrees; 180 is the whole sphere.
    count : int
        States for each angle.
    axis : (3,), optional
        Common axis of the cones; by default each spin's own direction in the reference, which may be any order.
    filled : bool
        Drawn evenly from the cap within the angle, or, if False, from its rim.
    """
    axis = None if axis is None else vector("axis", axis)
    return [
        {"kind": "cone", "angle": angle, "axis": axis, "filled": bool(filled)}
        for angle in values("angles", angles, 0.0, 180.0, "degrees")
        for _ in range(whole("count", count))
    ]


def spin_spirals(q, axis=(0, 0, 1), angle=90.0):
    """Spirals, see :func:`ase_spinml.moments.spin_spiral`.

    Parameters
    ----------
    q : sequence of (3,)
        Wave vectors in units of the reciprocal cell of the reference; whole numbers along periodic directions.
    axis : (3,)
        Normal of the plane in which the spins turn.
    angle : float or sequence of float
        Opening angles: 90 degrees is flat, less is conical.
    """
    q = np.array(q, dtype=float)
    if q.ndim != 2 or q.shape[1] != 3 or not np.isfinite(q).all():
        raise InputError(f"Expected q to be a list of wave vectors, shape (n, 3), got shape {q.shape}.")
    axis = vector("axis", axis)
    angles = values("angle", angle, 0.0, 180.0, "degrees")
    return [{"kind": "spiral", "q": one, "axis": axis, "angle": a} for one in q.tolist() for a in angles]


def spin_rotations(atoms, angles, axis=None):
    """One spin turned from its direction in the reference, all others as they are: the ladder of a single spin.

    Parameters
    ----------
    atoms : int or sequence of int
        Indices of the atoms to turn, one in each state.
    angles : float or sequence of float
        -180 to 180 degrees.
    axis : (3,), optional
        Rotation axis, right-handed; by default the Cartesian axis least along the spin, made perpendicular to it.
    """
    atoms = [whole("atoms", atom, 0) for atom in np.atleast_1d(np.array(atoms, dtype=object))]
    axis = None if axis is None else vector("axis", axis)
    return [
        {"kind": "single-spin", "atom": atom, "angle": angle, "axis": axis}
        for atom in atoms
        for angle in values("angles", angles, -180.0, 180.0, "degrees")
    ]


def thermal_spins(temperatures_K, exchange, count=1, dmi=(), biquadratic=(), sweeps=200):
    """States of a classical Heisenberg model in equilibrium, by Monte Carlo from the order of the reference.

    Parameters
    ----------
    temperatures_K : float or sequence of float
    exchange, dmi, biquadratic : sequence of float
        Constants by neighbour shell in eV, as :class:`ase_spinml.Heisenberg` takes them.
    count : int
        Independent states for each temperature.
    sweeps : int
        Sweeps over all spins before each state.
    """
    recipe = {
        "exchange": values("exchange", exchange),
        "dmi": values("dmi", dmi) if len(dmi) else [],
        "biquadratic": values("biquadratic", biquadratic) if len(biquadratic) else [],
        "sweeps": whole("sweeps", sweeps),
    }
    return [
        {"kind": "thermal", "temperature_K": temperature, **recipe}
        for temperature in values("temperatures_K", temperatures_K, 1e-6, np.inf, "K")
        for _ in range(whole("count", count))
    ]


def spin_directions(reference, recipe, rng):
    """Directions (N, 3) of a recipe for the atoms of ``reference``; InputError for an unknown recipe."""
    return build("spin state", BUILDERS, recipe, reference, rng)


def _random(reference, rng):
    return random_directions(len(reference), rng)


def _cone(reference, rng, angle, axis, filled):
    axes = get_spins(reference) if axis is None else np.tile(axis, (len(reference), 1))
    return cone(axes, angle, rng, filled=filled)


def _spiral(reference, rng, q, axis, angle):
    return spin_spiral(reference, q, axis, angle)


def _single(reference, rng, atom, angle, axis):
    spins = get_spins(reference)
    if atom >= len(spins) or not spins[atom].any():
        raise InputError(f"Expected the index of an atom with a moment to turn its spin, got {atom}.")
    spin = spins[atom]
    if axis is None:
        axis = unit_rows(transverse(np.eye(3)[[np.argmin(np.abs(spin))]], spin[None]))[0]
    axis, radians = np.asarray(axis) / np.linalg.norm(axis), np.radians(angle)
    along = axis * (axis @ spin)
    spins[atom] = along + np.cos(radians) * (spin - along) + np.sin(radians) * np.cross(axis, spin)
    return spins


BUILDERS = {
    "random": _random,
    "cone": _cone,
    "spiral": _spiral,
    "single-spin": _single,
    "thermal": thermal_directions,
}
