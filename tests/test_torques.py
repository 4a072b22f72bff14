"""Torques of currents: fields, closed forms of the motion, domain walls, sums with energies."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.mixing import SumCalculator
from spin_samples import crystal
from test_analytic import assert_relative

from ase_spinml import (
    Anisotropy,
    DipoleDipole,
    Heisenberg,
    NonMagnetic,
    SlonczewskiTorque,
    SpinDynamics,
    SpinOrbitTorque,
    Zeeman,
    ZhangLiTorque,
    drift_velocity,
    spin_current_field,
)
from ase_spinml.calculators.gradient import LatticeGradient
from ase_spinml.errors import InputError
from ase_spinml.moments import get_moments, get_spins, set_moments
from ase_spinml.units import GYROMAGNETIC_RATIO, MU_B

SPACING, EXCHANGE, EASY = 2.5, 0.002, 0.00004
WIDTH = SPACING * np.sqrt(EXCHANGE / (2 * EASY))
"""A wall in the chain below is cos(theta) = -tanh(x/WIDTH): five sites."""


def wall(sites=51, centre=18):
    """Chain with a Bloch wall: up to its left, down to its right, along x in its middle."""
    atoms = Atoms(f"Fe{sites}", positions=SPACING * np.outer(np.arange(sites), [1, 0, 0]))
    x = (atoms.positions[:, 0] - SPACING * centre) / WIDTH
    set_moments(atoms, np.stack([1 / np.cosh(x), 0 * x, -np.tanh(x)], axis=1))
    return atoms


def followed(atoms, terms, damping, steps, timestep=20 * units.fs):
    """Velocity of the wall in Angstrom per ASE time, and rate of its azimuth, over the second half of a run."""
    atoms.calc = SumCalculator([Heisenberg([EXCHANGE]), Anisotropy(EASY), *terms])
    dynamics = SpinDynamics(atoms, timestep, damping=damping, tolerance=1e-9)
    seen = []

    def look():
        spins = get_spins(atoms)
        azimuth = np.arctan2(spins[:, 1].sum(), spins[:, 0].sum())
        seen.append([dynamics.get_time(), SPACING * spins[:, 2].sum() / 2, azimuth])

    dynamics.attach(look, 5)
    dynamics.run(steps)
    time, place, azimuth = np.array(seen)[len(seen) // 2 :].T
    return np.polyfit(time, place, 1)[0], np.polyfit(time, np.unwrap(azimuth), 1)[0], place[-1] - seen[0][1]


def gilbert_rate(spins, field, damping):
    """de/dt of Gilbert's equation, solved for de/dt as a linear system: (1 - alpha [e x]) de/dt = -gamma e x H."""
    rate = np.zeros_like(spins)
    for i, (e, h) in enumerate(zip(spins, field, strict=True)):
        cross = np.array([[0, -e[2], e[1]], [e[2], 0, -e[0]], [-e[1], e[0], 0]])
        rate[i] = np.linalg.solve(np.eye(3) - damping * cross, -GYROMAGNETIC_RATIO * np.cross(e, h))
    return rate


# --- Slonczewski ---


def test_slonczewski_field_gives_the_torques_of_the_docstring():
    atoms, p = crystal(2), np.array([2, -1, 2]) / 3
    field = SlonczewskiTorque(p * 7, 0.3, 0.8).get_property("exchange_fields", atoms)
    spins = get_spins(atoms)
    torque = -GYROMAGNETIC_RATIO * np.cross(spins, field)
    expected = 0.3 * np.cross(spins, np.cross(p, spins)) - 0.8 * np.cross(spins, p)
    assert_relative(torque, GYROMAGNETIC_RATIO * MU_B * expected, 1e-13)
    np.testing.assert_allclose(np.sum(field * spins, axis=1), 0, atol=1e-18)
    assert not field[3].any()


@pytest.mark.parametrize("factor", [-0.5, -1.5, 2.0])
def test_a_macrospin_spirals_as_in_closed_form(factor):
    """With field B and p along z, and a = B_DL: tan(theta/2) goes as exp(-gamma (alpha B + a) t/(1 + alpha^2)), and
    phi turns at gamma (B - alpha a)/(1 + alpha^2). A current with a < -alpha B turns the moment away from the field."""
    field, damping, start = 30.0, 0.1, np.radians(50)
    strength = factor * damping * field
    atoms = Atoms("Fe")
    set_moments(atoms, 1.7 * np.array([[np.sin(start), 0, np.cos(start)]]))
    atoms.calc = SumCalculator([Zeeman((0, 0, field)), SlonczewskiTorque((0, 0, 1), strength)])
    dynamics = SpinDynamics(atoms, 1.0 * units.fs, damping=damping)
    dynamics.run(100)
    x, y, z = get_spins(atoms)[0]
    scale = GYROMAGNETIC_RATIO * MU_B * dynamics.get_time() / (1 + damping**2)
    half = np.tan(start / 2) * np.exp(-scale * (damping * field + strength))
    assert np.tan(np.arccos(z) / 2) == pytest.approx(half, rel=1e-5)
    assert np.arctan2(y, x) == pytest.approx(scale * (field - damping * strength), rel=1e-5)
    assert (np.arccos(z) > start) == (factor < -1)


def test_the_field_like_part_acts_as_a_magnetic_field():
    atoms = crystal(2)
    spins = get_spins(atoms)
    torque = SlonczewskiTorque((0, 1, 0), field_like_T=2.5).get_property("exchange_fields", atoms)
    magnetic = Zeeman((0, 2.5, 0)).get_property("exchange_fields", atoms)
    np.testing.assert_allclose(np.cross(spins, torque), np.cross(spins, magnetic), atol=1e-18)


def test_spin_orbit_torque_is_polarised_along_normal_cross_current():
    atoms = crystal(2)
    torque = SpinOrbitTorque((2, 0, 1), (0, 0, 3), 0.4, -0.1)
    np.testing.assert_allclose(torque.polarisation, [0, 1, 0], atol=1e-15)
    expected = SlonczewskiTorque((0, 1, 0), 0.4, -0.1).get_property("exchange_fields", atoms)
    np.testing.assert_allclose(torque.get_property("exchange_fields", atoms), expected, atol=1e-18)


def test_a_pulse_of_current():
    atoms = crystal(2)
    torque = SlonczewskiTorque((0, 0, 1), lambda time: 0.5 * time, 0.2)
    start = torque.get_property("exchange_fields", atoms)
    torque.time = 4.0
    for expected, field in [((0.0, 0.2), start), ((2.0, 0.2), torque.get_property("exchange_fields", atoms))]:
        np.testing.assert_array_equal(
            SlonczewskiTorque((0, 0, 1), *expected).get_property("exchange_fields", atoms), field
        )


def test_torques_on_some_atoms():
    atoms = crystal(2)
    atoms.symbols[8:] = "Co"
    for choice in ({"species": "Co"}, {"indices": range(8, 16)}):
        field = SlonczewskiTorque((0, 0, 1), 0.5, **choice).get_property("exchange_fields", atoms)
        assert not field[:8].any()
        assert field[8:].any(axis=1).all()


# --- Zhang-Li ---


@pytest.mark.parametrize("cutoff", [2.6, 3.2, 4.3])
def test_the_gradient_is_exact_for_a_linear_field(cutoff):
    rng = np.random.default_rng(0)
    atoms = bulk("Fe", a=2.87, cubic=True) * 3
    atoms.pbc = False
    atoms.rattle(0.1, rng=rng)
    slope, along = rng.normal(size=(3, 2)), np.array([0.3, -1.2, 0.7])
    gradient = LatticeGradient(cutoff)
    gradient.update(atoms.positions, atoms.cell.array, atoms.pbc)
    several = np.array([len(set(atoms.get_distances(i, range(54)) < cutoff - 0.1)) for i in range(54)]) > 0
    found = gradient(atoms.positions @ slope + 5, along)
    inner = np.all((atoms.positions > 1) & (atoms.positions < 6.5), axis=1) & several
    assert inner.sum() >= 8
    np.testing.assert_allclose(found[inner], np.tile(along @ slope, (inner.sum(), 1)), rtol=1e-10)


def test_the_gradient_of_a_chain_and_of_a_film():
    x = SPACING * np.arange(7)
    gradient = LatticeGradient(1.3 * SPACING)
    gradient.update(np.outer(x, [1, 0, 0]), np.diag([7 * SPACING, 0, 0]), (True, False, False))
    values = np.random.default_rng(0).normal(size=(7, 1))
    central = (np.roll(values, -1, axis=0) - np.roll(values, 1, axis=0)) / (2 * SPACING)
    np.testing.assert_allclose(gradient(values, (1.5, 0, 0)), 1.5 * central, rtol=1e-12)
    assert gradient.sees((1, 1, 0))
    assert not gradient.sees((0, 1, 0))
    film = bulk("Fe", "sc", a=SPACING) * (3, 3, 1)
    film.pbc = (True, True, False)
    film.rattle(0.05, seed=1)  # buckled a little: still no gradient across it
    gradient.update(film.positions, film.cell.array, film.pbc)
    assert np.abs(gradient(film.positions[:, 2:], (0, 0, 1))).max() < 0.1


def test_zhang_li_field_gives_the_torques_of_gilberts_equation():
    """de/dt = -gamma e x H + alpha e x de/dt - g + beta e x g, solved as a linear system."""
    atoms, velocity, beta, damping = crystal(2), np.array([0.3, -0.2, 0.5]), 0.4, 0.3
    torque = ZhangLiTorque(velocity, 2.6, beta)
    energy = Zeeman((10, 20, -30)).get_property("exchange_fields", atoms)
    field = torque.get_property("exchange_fields", atoms)
    chosen = get_moments(atoms).any(axis=1)
    spins = get_spins(atoms)[chosen]
    gradient = LatticeGradient(2.6)
    gradient.update(atoms.positions[chosen], atoms.cell.array, atoms.pbc)
    g = gradient(spins, velocity)
    g -= np.sum(g * spins, axis=1, keepdims=True) * spins
    rate = gilbert_rate(spins, (energy + field)[chosen], damping)
    expected = -GYROMAGNETIC_RATIO * np.cross(spins, energy[chosen]) + damping * np.cross(spins, rate)
    expected += -g + beta * np.cross(spins, g)
    assert_relative(rate, expected, 1e-12)
    assert not field[~chosen].any()
    np.testing.assert_allclose(np.sum(field[chosen] * spins, axis=1), 0, atol=1e-16)


@pytest.mark.parametrize(("damping", "beta"), [(0.1, 0.1), (0.3, 0.0), (0.2, 0.5)])
def test_a_domain_wall_moves_along_the_drift_velocity(damping, beta):
    """Without a hard axis a wall moves at u (1 + alpha beta)/(1 + alpha^2) and its azimuth turns at
    u (beta - alpha)/(1 + alpha^2)/width; for beta = alpha it is carried as it is. On the chain the slope of a wall of
    five sites is smaller by (spacing/width)^2/6, which is left in."""
    drift = 0.02 / units.fs
    terms = [ZhangLiTorque((drift, 0, 0), 1.2 * SPACING, beta)]
    velocity, turning, moved = followed(wall(), terms, damping, 60)
    lattice = 1 - (SPACING / WIDTH) ** 2 / 6
    assert velocity / drift == pytest.approx(lattice * (1 + damping * beta) / (1 + damping**2), rel=4e-3)
    assert turning * WIDTH / drift == pytest.approx((beta - damping) / (1 + damping**2), rel=0.06, abs=2e-3)
    assert moved > 15


def test_below_walkers_limit_a_wall_moves_at_beta_over_alpha():
    drift, damping, beta = 0.002 / units.fs, 0.5, 0.25
    terms = [Anisotropy(-0.001, axis=(0, 1, 0)), ZhangLiTorque((drift, 0, 0), 1.2 * SPACING, beta)]
    velocity, turning, _ = followed(wall(), terms, damping, 100)
    assert velocity / drift == pytest.approx(beta / damping, rel=0.02)
    assert abs(turning) * WIDTH / drift < 0.01


def test_drift_velocity_and_spin_current_field():
    """Permalloy: 1e12 A/m^2, P = 0.5, 800 kA/m give 36 m/s, against the current; and eta = 0.1 in 1 nm gives 41 mT."""
    velocity = drift_velocity((1e12, 0, 0), 0.5, 8e5)
    assert velocity[0] / (units.m / units.second) == pytest.approx(-0.5 * 9.2740101e-24 * 1e12 / (1.60217663e-19 * 8e5))
    assert not velocity[1:].any()
    expected = 1.05457182e-34 * 0.1 * 1e12 / (2 * 1.60217663e-19 * 8e5 * 1e-9)
    assert spin_current_field(1e12, 0.1, 8e5, 10.0) == pytest.approx(expected, rel=1e-7)
    assert expected == pytest.approx(0.041, abs=5e-4)


# --- what torques are not ---

TORQUES = {
    "damping-like": SlonczewskiTorque((0, 0, 1), 0.5),
    "spin-orbit": SpinOrbitTorque((1, 0, 0), (0, 0, 1), 0.5, 0.2),
    "Zhang-Li": ZhangLiTorque((0.5, 0.2, 0), 2.6),
    "non-adiabatic": ZhangLiTorque((0.5, 0.2, 0), 2.6, 0.3),
}


@pytest.mark.parametrize("torque", TORQUES.values(), ids=TORQUES)
def test_torques_are_no_derivatives_and_carry_no_energy(torque):
    """Work on a closed path that turns one spin about an axis, or the antisymmetric part of dH/de, is not zero."""
    atoms = crystal(2)
    assert torque.conservative is False
    for name in ("energy", "free_energy", "energies", "forces", "stress"):
        assert not np.any(torque.get_property(name, atoms))
    length = np.linalg.norm(get_moments(atoms), axis=1)
    basis = [np.linalg.svd(e[None])[2][1:] for e in get_spins(atoms)[:2]]

    def response(atom, direction, other, along, eps=1e-5):
        """Change of the work on one angle with another angle."""
        work = []
        for sign in (1, -1):
            spins = get_spins(atoms)
            spins[atom] += sign * eps * direction
            turned = atoms.copy()
            set_moments(turned, length[:, None] * spins / np.maximum(np.linalg.norm(spins, axis=1), 0.1)[:, None])
            work.append(length[other] * torque.get_property("exchange_fields", turned)[other] @ along)
        return (work[0] - work[1]) / (2 * eps)

    pairs = [((i, a), (j, b)) for i in (0, 1) for a in basis[i] for j in (0, 1) for b in basis[j]]
    curl = [response(*first, *second) - response(*second, *first) for first, second in pairs]
    field = np.abs(torque.get_property("exchange_fields", atoms)).max()
    assert np.abs(curl).max() > 0.1 * field


def test_conservative_terms_say_so():
    for term in (Heisenberg([0.1]), Zeeman((0, 0, 1)), Anisotropy(0.1), DipoleDipole()):
        assert term.conservative is True


def test_all_terms_add_up():
    atoms = crystal(2)
    energies = [Heisenberg([0.01]), Anisotropy(0.001, cubic=0.002), DipoleDipole(), Zeeman(lambda time: [0, 0, 5.0])]
    terms = [*energies, *TORQUES.values()]
    names = ["energy", "free_energy", "energies", "forces", "stress", "exchange_fields"]
    expected = {name: sum(term.get_property(name, atoms) for term in terms) for name in names}
    total = sum(term.get_property("energy", atoms) for term in energies)
    atoms.calc = SumCalculator(terms)
    assert all(term.implemented_properties == names for term in terms)
    assert set(atoms.calc.implemented_properties) == set(names)
    for name in names:
        np.testing.assert_allclose(atoms.calc.get_property(name, atoms), expected[name], rtol=1e-13)
    assert atoms.get_potential_energy() == pytest.approx(total, rel=1e-14)
    assert "exchange_fields" in NonMagnetic(energies[0]).implemented_properties


# --- refusals ---


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: SlonczewskiTorque((0, 0, 0), 1),
            "Expected polarisation to be three finite numbers, not all zero, got",
        ),
        (lambda: SlonczewskiTorque((0, 0, 1)), "Expected damping_like_T or field_like_T other than zero, got none"),
        (
            lambda: SlonczewskiTorque((0, 0, 1), (1, 0, 0)),
            "Expected damping_like_T to be a finite number in tesla, got",
        ),
        (lambda: SpinOrbitTorque((0, 0, 2)), "Expected a current that is not along the normal, got"),
        (lambda: ZhangLiTorque(0.1, 3.0), "Expected velocity to be three finite numbers in Angstrom per ASE time unit"),
        (lambda: ZhangLiTorque((1, 0, 0), 3.0, np.nan), "Expected beta to be a finite number, got nan"),
        (lambda: ZhangLiTorque((1, 0, 0), 0.0), "a cutoff|cutoff > 0"),
        (lambda: ZhangLiTorque((1, 0, 0), 3.0, gyromagnetic_ratio=0), "Expected a gyromagnetic_ratio other than zero"),
        (lambda: drift_velocity(1e12, 0.5, 8e5), r"Expected current_density to be three finite numbers in A/m\^2, got"),
        (lambda: drift_velocity((1, 0, 0), 1.5, 8e5), "Expected polarisation between -1 and 1, got 1.5"),
        (lambda: drift_velocity((1, 0, 0), 0.5, 0), "Expected magnetisation above zero in A/m, got 0"),
        (lambda: spin_current_field(1e12, 0.1, 8e5, 0), "Expected thickness above zero in Angstrom, got 0"),
        (
            lambda: spin_current_field((1, 0, 0), 0.1, 8e5, 1),
            r"Expected current_density to be a finite number in A/m\^2",
        ),
    ],
)
def test_unusable_parameters_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_velocity_along_which_there_are_no_neighbours_is_refused():
    with pytest.raises(
        InputError, match=r"Expected neighbours along the velocity \[0.0, 1.0, 0.0\] within 3.0 .* got none"
    ):
        ZhangLiTorque((0, 1, 0), 3.0).get_property("exchange_fields", wall())
    with pytest.raises(InputError, match=r"Expected neighbours along the velocity .* got none: increase cutoff"):
        ZhangLiTorque((1, 0, 0), 2.0).get_property("exchange_fields", wall())
