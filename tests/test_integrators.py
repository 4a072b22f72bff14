"""The four spin steps on arrays: order, lengths, energy, precession of unequal moments, damping forms, noise."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from ase_spinml.dynamics.integrators import INTEGRATORS, cayley, depondt_step, rotation
from ase_spinml.dynamics.llg import gilbert_from_landau_lifshitz, rate, unit
from ase_spinml.dynamics.solver import MidpointMemory
from ase_spinml.dynamics.thermostats import thermal_field

EXPLICIT = ["sib", "depondt", "heun"]
EASY, TWIST = np.array([0.0, 0.0, 0.3]), np.array([0.0, 0.0, 0.4])


def ring_field(spins):
    """Ring with exchange 1, an easy axis and DMI; minus the derivative of :func:`ring_energy`."""
    after, before = np.roll(spins, -1, 0), np.roll(spins, 1, 0)
    return after + before + 2 * EASY * spins + np.cross(after, TWIST) + np.cross(TWIST, before)


def ring_energy(spins):
    after = np.roll(spins, -1, 0)
    return -np.sum(spins * after) - np.sum(EASY * spins**2) - np.sum(TWIST * np.cross(spins, after))


def ring(n=10, seed=0):
    return unit(np.random.default_rng(seed).normal(size=(n, 3)))


def run(name, spins, timestep, steps, **options):
    if name == "midpoint":
        options["memory"] = MidpointMemory()
    for _ in range(steps):
        spins, _ = INTEGRATORS[name](spins, ring_field, timestep, gyromagnetic_ratio=1.0, **options)
    return spins


@pytest.mark.parametrize("name", INTEGRATORS)
@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_order_of_convergence_is_two(name, damping):
    exact = run("midpoint", ring(), 1 / 640, 640, damping=damping)
    errors = [np.abs(run(name, ring(), 1 / n, n, damping=damping) - exact).max() for n in (20, 40, 80)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.15)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("name", INTEGRATORS)
def test_lengths_stay_exact(name):
    spins = run(name, ring(), 0.1, 200, damping=0.02)
    assert np.abs(np.linalg.norm(spins, axis=1) - 1).max() < 1e-15


def energy_errors(name, timestep, steps):
    options = {"memory": MidpointMemory()} if name == "midpoint" else {}
    spins, errors = ring(), []
    for _ in range(steps):
        spins, _ = INTEGRATORS[name](spins, ring_field, timestep, gyromagnetic_ratio=1.0, **options)
        errors.append(ring_energy(spins) - ring_energy(ring()))
    return np.array(errors)


def test_the_midpoint_keeps_the_energy_and_the_others_drift():
    """Over a time of 100 exchange times; the long run is the next test."""
    largest = {name: np.abs(energy_errors(name, 0.1, 1000)).max() for name in INTEGRATORS}
    assert largest["midpoint"] < 0.03
    for name in EXPLICIT:
        assert largest[name] > 3 * largest["midpoint"], name


@pytest.mark.physical
def test_energy_error_of_the_midpoint_is_bounded_over_1e5_steps():
    errors = energy_errors("midpoint", 0.1, 100_000)
    blocks = np.abs(errors).reshape(10, -1).max(axis=1)
    assert blocks.max() < 0.05
    times = 0.1 * np.arange(len(errors))
    assert abs(np.polyfit(times, errors, 1)[0]) * times[-1] < 0.01
    for name in EXPLICIT:
        assert np.abs(energy_errors(name, 0.1, 20_000)).max() > 10 * blocks.max(), name


@pytest.mark.parametrize("name", INTEGRATORS)
def test_precession_of_unequal_moments_in_one_field_of_energy(name):
    """dm/dt = -gamma m x H with H = h/m: the smaller moment turns faster, counter-clockwise about the field."""
    lengths = np.array([1.0, 2.5])
    spins = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    field = np.array([0.0, 0.0, 0.7]) / lengths[:, None]
    for _ in range(100):
        spins, _ = INTEGRATORS[name](spins, lambda e: field, 0.01, gyromagnetic_ratio=1.3)
    assert np.allclose(np.arctan2(spins[:, 1], spins[:, 0]), 1.3 * 0.7 / lengths, rtol=1e-4, atol=0)


def test_depondt_precesses_exactly_in_a_constant_field():
    field = np.array([[0.3, -0.2, 0.9]])
    once = depondt_step(ring(1), lambda e: field, 2.0, gyromagnetic_ratio=1.0)[0]
    often = ring(1)
    for _ in range(8):
        often = depondt_step(often, lambda e: field, 0.25, gyromagnetic_ratio=1.0)[0]
    assert np.allclose(once, often, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", INTEGRATORS)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_damped_spin_in_a_field(name, sign):
    """cos(theta) = tanh(alpha gamma H t/(1 + alpha^2)) from the equator; damping does not know the sense of turning."""
    alpha, spins = 0.4, np.array([[1.0, 0.0, 0.0]])
    for _ in range(200):
        spins, _ = INTEGRATORS[name](
            spins, lambda e: np.array([[0.0, 0.0, 1.0]]), 0.01, alpha, gyromagnetic_ratio=sign
        )
    time = 2.0 / (1 + alpha**2)
    assert spins[0, 2] == pytest.approx(np.tanh(alpha * time), abs=2e-5)
    assert np.arctan2(spins[0, 1], spins[0, 0]) == pytest.approx(sign * time, abs=2e-4)


def test_landau_lifshitz_and_gilbert_are_one_motion():
    """Landau and Lifshitz's right side, written out, against Gilbert's with the converted constants."""
    spins, field, a, g = ring(), ring(seed=1), 0.3, 1.7
    landau = -g * np.cross(spins, field) - g * a * np.cross(spins, np.cross(spins, field))
    alpha, gamma = gilbert_from_landau_lifshitz(a, g)
    change = rate(spins, field, alpha, gamma)
    assert np.allclose(change, landau, rtol=0, atol=1e-14)
    implicit = -gamma * np.cross(spins, field) + alpha * np.cross(spins, change)
    assert np.allclose(change, implicit, rtol=0, atol=1e-14)


def test_rotations():
    spins, turn = ring(), 2.0 * np.random.default_rng(2).normal(size=(10, 3))
    assert np.allclose(rotation(spins, turn), Rotation.from_rotvec(turn).apply(spins), rtol=0, atol=1e-14)
    length = np.linalg.norm(turn, axis=1, keepdims=True)
    angle = 2 * np.arctan(length / 2) * turn / length
    assert np.allclose(cayley(spins, turn), Rotation.from_rotvec(angle).apply(spins), rtol=0, atol=1e-14)
    assert np.array_equal(rotation(spins, 0 * turn), spins)


@pytest.mark.parametrize("name", INTEGRATORS)
def test_torch_takes_the_same_steps(name):
    weights = np.random.default_rng(4).normal(size=(10, 10))
    spins, other = ring(), torch.from_numpy(ring())
    noise = 0.1 * ring(seed=3)
    for _ in range(5):
        options = {"damping": 0.1, "gyromagnetic_ratio": 1.0}
        spins, used = INTEGRATORS[name](spins, lambda e: weights @ e, 0.05, noise=noise, **options)
        other, used_there = INTEGRATORS[name](
            other, lambda e: torch.from_numpy(weights) @ e, 0.05, noise=torch.from_numpy(noise), **options
        )
    assert np.allclose(spins, other.numpy(), rtol=0, atol=1e-12)
    assert np.allclose(used, used_there.numpy(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", INTEGRATORS)
def test_thermal_averages_of_two_lengths_in_one_system(name):
    """<cos> = coth x - 1/x at three x = m B/kT, for moments 1 and 2.5 at once, within 3 standard errors.

    Heun's projection back to unit length biases the average most, so it gets a shorter time step.
    """
    rng = np.random.default_rng(0)
    timestep, steps = (0.01, 1500) if name == "heun" else (0.05, 500)
    lengths = np.repeat([1.0, 2.5], 600)
    fields = np.tile([0.4, 1.0, 3.0], 400) / lengths  # x = m B/kT with kT = 1
    kelvin = 1 / 8.617330337217213e-05
    field = fields[:, None] * np.array([0.0, 0.0, 1.0])
    spins, total, skip = ring(1200), 0.0, steps // 5
    for step in range(steps):
        noise = thermal_field(lengths, kelvin, 0.8, timestep, 1.0, rng)
        spins, _ = INTEGRATORS[name](spins, lambda e: field, timestep, 0.8, noise, 1.0)
        total = total + spins[:, 2] * (step >= skip)
    cosines = total / (steps - skip)
    for length in (1.0, 2.5):
        for x in (0.4, 1.0, 3.0):
            own = cosines[(lengths == length) & np.isclose(fields * lengths, x)]
            error = own.std() / np.sqrt(len(own))
            assert abs(own.mean() - (1 / np.tanh(x) - 1 / x)) < 3 * error, (length, x)

