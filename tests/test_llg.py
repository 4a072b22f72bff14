"""The midpoint step and the thermal field as pure functions, against closed forms and conservation laws."""

import numpy as np
import pytest
import torch
from ase import units

from ase_spinml.dynamics.llg import cross, midpoint_rotation, midpoint_step, unit
from ase_spinml.dynamics.solver import MidpointMemory, PairCoupling, fit_coupling, pair_basis
from ase_spinml.dynamics.thermostats import thermal_field
from ase_spinml.errors import InputError
from ase_spinml.units import GYROMAGNETIC_RATIO, HBAR, MU_B

FS = units.fs


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def random_spins(rng, n):
    return unit(rng.normal(size=(n, 3)))


class Exchange:
    """E = -1/2 sum_ij (J_ij e_i.e_j + K_ij (e_i.e_j)^2): nonlinear fields, total moment kept. Unequal moments."""

    def __init__(self, n, seed=0, scale=0.02):
        rng = np.random.default_rng(seed)
        self.pair, self.square = (np.triu(scale * rng.uniform(0.5, 1.5, (n, n)), 1) for _ in range(2))
        self.pair = self.pair + self.pair.T
        self.square = 0.3 * (self.square + self.square.T)
        self.lengths = rng.uniform(1.0, 3.0, n)
        self.calls = 0

    def energy(self, spins):
        c = spins @ spins.T
        return -0.5 * (self.pair * c + self.square * c**2).sum()

    def field(self, spins):
        self.calls += 1
        field = (self.pair + 2 * self.square * (spins @ spins.T)) @ spins / self.lengths[:, None]
        return field - np.einsum("ia,ia->i", field, spins)[:, None] * spins


def run(spins, field, timestep, steps, **options):
    memory = MidpointMemory()
    for _ in range(steps):
        spins, _ = midpoint_step(spins, field, timestep, memory=memory, **options)
    return spins


def azimuth(vectors, axis):
    """Angle about ``axis``, counter-clockwise seen from its tip, of a single row."""
    axis = np.asarray(axis) / np.linalg.norm(axis)
    u = unit(np.cross(axis, [[0.3, 0.5, -0.2]]))[0]
    return np.arctan2(vectors[0] @ np.cross(axis, u), vectors[0] @ u)


@pytest.mark.parametrize("alpha", [0.0, 0.4, -0.4])
def test_the_rotation_solves_its_equation(rng, alpha):
    spins, turn = random_spins(rng, 50), 0.7 * rng.normal(size=(50, 3))
    middle, turned = midpoint_rotation(spins, turn, alpha)
    assert np.allclose(turned - spins, -cross(middle, turn + alpha * cross(middle, turn)), rtol=0, atol=1e-14)
    assert np.allclose(unit(spins + turned), middle, rtol=0, atol=1e-14)
    assert np.allclose(np.linalg.norm(turned, axis=1), 1.0, rtol=0, atol=1e-15)


def test_a_small_step_is_gilberts_equation(rng):
    """de/dt = -gamma e x H + alpha e x de/dt."""
    spins, field, alpha, dt = random_spins(rng, 5), rng.normal(size=(5, 3)), 0.4, 1e-6
    out, _ = midpoint_step(spins, lambda e: field, dt, damping=alpha, gyromagnetic_ratio=1.5)
    rate = (out - spins) / dt
    assert np.allclose(rate, -1.5 * cross(spins, field) + alpha * cross(spins, rate), rtol=0, atol=1e-5)


def test_torch_and_numpy_take_the_same_step(rng):
    spins, noise = random_spins(rng, 6), 0.01 * rng.normal(size=(6, 3))
    model = Exchange(6)
    torch_field = lambda e: torch.from_numpy(model.field(e.numpy()))  # noqa: E731
    memories = MidpointMemory(), MidpointMemory()
    first, second = spins, torch.from_numpy(spins)
    for _ in range(20):
        first, _ = midpoint_step(first, model.field, FS, damping=0.1, noise=noise, memory=memories[0])
        options = {"noise": torch.from_numpy(noise), "memory": memories[1]}
        second, _ = midpoint_step(second, torch_field, FS, damping=0.1, **options)
    assert second.dtype == torch.float64
    assert np.allclose(first, second.numpy(), rtol=0, atol=1e-11)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_moment_in_a_field_precesses_at_the_larmor_frequency(sign):
    tesla, steps, dt = 50.0, 400, 0.2 * FS
    spins = unit(np.array([[0.6, 0.0, 0.8]]))
    field = np.array([[0.0, 0.0, MU_B * tesla]])
    out = run(spins, lambda e: field, dt, steps, gyromagnetic_ratio=sign * GYROMAGNETIC_RATIO)
    # -m x B: counter-clockwise about B
    turned = (azimuth(out, [0, 0, 1]) - azimuth(spins, [0, 0, 1])) % (2 * np.pi)
    expected = (sign * 2 * MU_B * tesla / HBAR * dt * steps) % (2 * np.pi)
    assert turned == pytest.approx(expected, rel=1e-6)
    assert out[0, 2] == pytest.approx(0.8, abs=1e-13)


def test_two_unequal_moments_precess_about_their_total():
    """E = -J e1.e2: both turn about M = m1 e1 + m2 e2, which stays, at gamma J |M|/(m1 m2)."""
    coupling, lengths = 0.05, np.array([1.0, 2.5])
    spins = unit(np.array([[1.0, 0.0, 0.2], [0.0, 0.3, 1.0]]))
    total = lengths @ spins
    steps, dt = 500, 0.02 * FS
    out = run(spins, lambda e: coupling * e[::-1] / lengths[:, None], dt, steps)
    assert np.allclose(lengths @ out, total, rtol=0, atol=1e-12)
    expected = GYROMAGNETIC_RATIO * coupling * np.linalg.norm(total) / lengths.prod() * dt * steps
    for row in range(2):
        turned = azimuth(out[row:][:1], total) - azimuth(spins[row:][:1], total)
        assert turned % (2 * np.pi) == pytest.approx(expected % (2 * np.pi), rel=2e-6)


def test_energy_length_and_total_moment_are_kept(rng):
    model, spins = Exchange(12, scale=0.01), random_spins(rng, 12)
    memory, total, energies = MidpointMemory(), model.lengths @ spins, []
    for _ in range(1000):
        spins, _ = midpoint_step(spins, model.field, FS, memory=memory)
        energies.append(model.energy(spins))
    assert np.abs(np.linalg.norm(spins, axis=1) - 1).max() < 1e-14
    assert np.abs(model.lengths @ spins - total).max() < 1e-10
    drift = np.mean(energies[900:]) - np.mean(energies[:100])
    assert np.ptp(energies) < 1e-3 * abs(energies[0])
    assert abs(drift) < 0.1 * np.ptp(energies)


def test_the_step_is_of_second_order(rng):
    model, spins = Exchange(8, scale=0.03), random_spins(rng, 8)
    exact = run(spins, model.field, 20 * FS / 1280, 1280)
    errors = [np.abs(run(spins, model.field, 20 * FS / n, n) - exact).max() for n in (20, 40, 80)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(2, abs=0.1)


def test_the_step_is_time_reversible(rng):
    model, spins = Exchange(8), random_spins(rng, 8)
    out = run(spins, model.field, FS, 50)
    assert np.abs(out - spins).max() > 0.5
    assert np.allclose(run(out, model.field, -FS, 50), spins, rtol=0, atol=1e-10)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_damped_moment_falls_into_the_field(sign):
    """tan(theta/2) decays as exp(-alpha gamma H t/(1 + alpha^2)), whatever the sense of precession."""
    alpha, strength, dt, steps = 0.2, 0.05, 0.1 * FS, 300
    spins = unit(np.array([[0.8, 0.0, -0.6]]))
    field = np.array([[0.0, 0.0, strength]])
    out = run(spins, lambda e: field, dt, steps, damping=alpha, gyromagnetic_ratio=sign * GYROMAGNETIC_RATIO)
    tangents = [np.tan(np.arccos(e[0, 2]) / 2) for e in (spins, out)]
    rate = alpha * GYROMAGNETIC_RATIO * strength / (1 + alpha**2)
    assert np.log(tangents[0] / tangents[1]) == pytest.approx(rate * dt * steps, rel=1e-4)


def test_damping_lowers_the_energy_at_every_step(rng):
    model, spins = Exchange(8), random_spins(rng, 8)
    energies, memory = [model.energy(spins)], MidpointMemory()
    for _ in range(100):
        spins, _ = midpoint_step(spins, model.field, FS, damping=0.1, memory=memory)
        energies.append(model.energy(spins))
    assert np.all(np.diff(energies) < 0)


def test_the_thermal_field_has_the_variance_of_the_fluctuation_theorem():
    lengths = np.repeat([0.5, 4.0], 50000)
    noise = thermal_field(lengths, 300, 0.1, FS, -GYROMAGNETIC_RATIO, np.random.default_rng(0))
    for length in (0.5, 4.0):
        expected = 2 * 0.1 * units.kB * 300 / (GYROMAGNETIC_RATIO * length * FS)
        assert noise[lengths == length].var() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("ratio", [0.5, 2.0, 5.0])
def test_moments_of_unlike_length_share_one_temperature(ratio):
    """<cos> = coth x - 1/x with x = m H/kT, for two lengths in one system, within three standard errors."""
    n, alpha, dt, skip, steps = 600, 0.5, 0.1, 100, 700
    lengths = np.repeat([1.0, 2.5], n)
    temperature_K = 1.0 / (ratio * units.kB)
    rng = np.random.default_rng(1)
    spins, field, memory = random_spins(rng, 2 * n), np.tile([0.0, 0.0, 1.0], (2 * n, 1)), MidpointMemory()
    memory.couple(PairCoupling(np.zeros((2 * n, 1), int), *np.zeros((2, 2 * n, 1)), field[0]))
    cosines = np.zeros(2 * n)
    for step in range(steps):
        noise = thermal_field(lengths, temperature_K, alpha, dt, 1.0, rng)
        options = {"damping": alpha, "noise": noise, "gyromagnetic_ratio": 1.0, "memory": memory, "tolerance": 1e-8}
        spins, _ = midpoint_step(spins, lambda e: field, dt, **options)
        if step >= skip:
            cosines += spins[:, 2] / (steps - skip)
    for length in (1.0, 2.5):
        x, own = ratio * length, cosines[lengths == length]
        assert abs(own.mean() - (1 / np.tanh(x) - 1 / x)) < 3 * own.std() / np.sqrt(n)


def ring(n):
    """Neighbours up to the third in a ring, their distances, their bilinear and biquadratic exchange in eV."""
    shifts = [1, -1, 2, -2, 3, -3]
    neighbours = np.stack([(np.arange(n) + s) % n for s in shifts], axis=1)
    distances = np.tile(np.abs(shifts).astype(float), (n, 1))
    return neighbours, distances, np.array([[0.1, 0.1, 0.05, 0.05, -0.02, -0.02], [0.02, 0.02, 0, 0, 0.01, 0.01]])


def test_the_fitted_coupling_finds_the_exchange(rng):
    neighbours, distances, exchange = ring(20)
    basis = pair_basis(distances, np.zeros_like(neighbours), np.ones_like(neighbours, dtype=bool))
    lengths = rng.uniform(1.0, 2.0, 20)
    true = PairCoupling(neighbours, *(exchange[:, None] / lengths[:, None]), np.array([0.01, 0.0, -0.02]))
    spins = random_spins(rng, 20)
    field = true(spins)
    field -= np.einsum("ia,ia->i", field, spins)[:, None] * spins
    fitted = fit_coupling(neighbours, basis, lengths, [(spins, field)])
    assert np.allclose(fitted.bilinear, true.bilinear, rtol=0, atol=1e-5)
    assert np.allclose(fitted.biquadratic, true.biquadratic, rtol=0, atol=1e-5)
    assert np.allclose(fitted.uniform, true.uniform, rtol=0, atol=1e-5)


def test_what_is_learned_saves_evaluations_and_changes_nothing(rng):
    """Fields of the strength of iron, at 1 fs."""
    model, start = Exchange(40, scale=0.006), unit(np.array([[0.0, 0.0, 1.0]]) + 0.4 * rng.normal(size=(40, 3)))
    memory, calls = MidpointMemory(), []
    neighbours = np.array([[j for j in range(40) if j != i] for i in range(40)])
    basis = np.ones((40, 39, 1))
    learned = fresh = start
    for step in range(60):
        before = model.calls
        learned, _ = midpoint_step(learned, model.field, FS, memory=memory)
        calls.append(model.calls - before)
        if step in (1, 5, 20):
            memory.couple(fit_coupling(neighbours, basis, model.lengths, memory.frames))
    before = model.calls
    for _ in range(60):
        fresh, _ = midpoint_step(fresh, model.field, FS)
    assert np.allclose(learned, fresh, rtol=0, atol=1e-10)
    assert np.mean(calls[30:]) <= 8
    assert (model.calls - before) / 60 > 2 * np.mean(calls[30:])


def test_a_step_too_large_is_refused(rng):
    model = Exchange(8, scale=1.0)
    message = (
        r"Expected the midpoint step to converge to 1e-12, got a residual of \S+ after 100 field evaluations: "
        r"use a smaller timestep\."
    )
    with pytest.raises(InputError, match=message):
        run(random_spins(rng, 8), model.field, 20 * FS, 5)


def test_fields_that_are_not_finite_are_refused(rng):
    message = r"Expected finite exchange fields from the calculator, got NaN or infinity: check the model\."
    with pytest.raises(InputError, match=message):
        midpoint_step(random_spins(rng, 2), lambda e: np.nan * e, FS)


@pytest.mark.physical
def test_the_energy_error_stays_bounded_over_many_steps(rng):
    """1e5 steps with up to 0.3 rad/fs at 1 fs: the energy of the last tenth is that of the first."""
    model, spins = Exchange(12, scale=0.015), random_spins(rng, 12)
    memory, energies = MidpointMemory(), np.zeros(100_000)
    for step in range(len(energies)):
        spins, _ = midpoint_step(spins, model.field, FS, memory=memory)
        energies[step] = model.energy(spins)
    tenths = energies.reshape(10, -1).mean(axis=1)
    assert np.ptp(energies) < 0.02 * abs(energies[0])
    assert abs(tenths[-1] - tenths[0]) < 0.1 * np.ptp(energies)
    assert np.abs(np.linalg.norm(spins, axis=1) - 1).max() < 1e-12
