"""Spins of a classical Heisenberg model in equilibrium, by the heat-bath algorithm."""

import math

import numpy as np
from ase import units

from ase_spinml.calculators.shells import Bonds
from ase_spinml.moments import get_spins


def thermal_directions(reference, rng, temperature_K, exchange, dmi=(), biquadratic=(), sweeps=200, tolerance=0.05):
    """Directions (N, 3) at a temperature, after ``sweeps`` sweeps from those of the reference.

    E = -sum over unique pairs of [J e_i.e_j + D rhat_ij.(e_i x e_j) + B (e_i.e_j)^2] as in
    :class:`ase_spinml.Heisenberg`. J and D make a field h_i on every spin, and a spin is drawn anew from its exact
    distribution exp(h_i.e_i / kT); B is taken in by accepting or refusing the draw (Metropolis), so each update obeys
    detailed balance.

    Parameters
    ----------
    reference : ase.Atoms
        Ideal structure with moments, in which the shells are found.
    rng : numpy Generator
    temperature_K : float
    exchange, dmi, biquadratic : sequences of float
        J, D, B by shell, eV.
    sweeps : int
    tolerance : float
        Width of a shell in Angstrom.
    """
    spins = get_spins(reference)
    neighbours = _neighbours(reference, spins.any(axis=1), (exchange, dmi, biquadratic), tolerance)
    thermal_energy = units.kB * temperature_K
    for _ in range(sweeps):
        for site, (others, couplings, axes, squares) in neighbours:
            near = spins[others]
            field = couplings @ near
            if axes is not None:
                field = field + np.cross(near, axes).sum(axis=0)
            new = draw_in_field(field / thermal_energy, rng)
            if squares is not None:
                gain = squares @ ((near @ new) ** 2 - (near @ spins[site]) ** 2) / thermal_energy
                if gain < 0 and rng.random() >= np.exp(gain):
                    continue
            spins[site] = new
    return spins


def draw_in_field(field, rng):
    """One direction (3,) from the distribution exp(field.e) on the unit sphere; ``field`` (3,) in units of kT.

    The cosine z to the field has the cumulative distribution (e^{bz} - e^{-b}) / (e^b - e^{-b}), b = |field|.
    """
    x, y, z = field.tolist()
    strength = math.sqrt(x * x + y * y + z * z)
    uniform, azimuth = rng.random(), 2 * math.pi * rng.random()
    if strength < 1e-9:
        x, y, z, cosine = 0.0, 0.0, 1.0, 2 * uniform - 1
    else:
        x, y, z = x / strength, y / strength, z / strength
        weight = uniform + (1 - uniform) * math.exp(-2 * strength)
        cosine = max(1 + math.log(max(weight, 1e-300)) / strength, -1.0)
    side = math.sqrt(max(1 - cosine * cosine, 0.0))
    a, b = side * math.cos(azimuth), side * math.sin(azimuth)
    sign = math.copysign(1.0, z)  # u and v complete the axis to a frame without a singular direction
    c = -1.0 / (sign + z)
    d = x * y * c
    u = (1 + sign * x * x * c, sign * d, -sign * x)
    v = (d, sign + y * y * c, -y)
    return np.array([cosine * n + a * p + b * q for n, p, q in zip((x, y, z), u, v, strict=True)])


def _neighbours(reference, magnetic, constants, tolerance):
    """For every magnetic site its neighbours (K,), J (K,), and D rhat (K, 3) and B (K,) or None where all zero.

    D rhat.(e_i x e_j) = e_i.(e_j x D rhat) seen from i, and the axis changes its sign seen from j. Bonds of a site to
    its own images are left out: their energy does not change.
    """
    n_shells = max(len(values) for values in constants)
    bonds = Bonds(reference, magnetic, n_shells, tolerance)
    exchange, dmi, squares = (np.pad(np.array(v, dtype=float), (0, n_shells - len(v)))[bonds.shell] for v in constants)
    vectors = bonds.vectors(reference)
    axes = dmi[:, None] * vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    first = np.concatenate([bonds.i, bonds.j])
    second = np.concatenate([bonds.j, bonds.i])
    exchange, squares = np.tile(exchange, 2), np.tile(squares, 2)
    axes = np.concatenate([axes, -axes])
    out = []
    for site in np.flatnonzero(magnetic):
        mine = (first == site) & (second != site)
        some_axes = axes[mine] if axes.any() else None
        some_squares = squares[mine] if squares.any() else None
        out.append((site, (second[mine], exchange[mine], some_axes, some_squares)))
    return out
