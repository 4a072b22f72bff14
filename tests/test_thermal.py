"""Thermal averages against closed forms, and their errors against series of known correlation."""

import numpy as np
import pytest
from ase import units

from ase_spinml.analysis import (
    autocorrelation_time,
    binder_cumulant,
    blocking,
    equilibration,
    jackknife,
    order_parameter,
    thermal_averages,
)
from ase_spinml.analysis.histograms import JoinedRuns, crossing, fine_grid, peak, sample_weights
from ase_spinml.errors import InputError
from ase_spinml.moments import random_directions
from ase_spinml.sampling.thermal import draw_in_field


def autoregressive(n, rho, rng, repeats=1):
    """Series x_t = rho x_{t-1} + noise of unit variance, (repeats, n); tau = (1 + rho)/(2 (1 - rho))."""
    noise = rng.normal(size=(n, repeats)) * np.sqrt(1 - rho**2)
    out = np.empty((n, repeats))
    out[0] = rng.normal(size=repeats)
    for t in range(1, n):
        out[t] = rho * out[t - 1] + noise[t]
    return out.T


def langevin(x):
    return 1 / np.tanh(x) - 1 / x


def open_chain(coupling, n, samples, rng):
    """Independent states (samples, n, 3) of the open Heisenberg chain, J/kT = ``coupling``, spin after spin."""
    spins = np.empty((n, samples, 3))
    spins[0] = random_directions(samples, rng)
    for k in range(1, n):
        cosine = 1 + np.log(1 - rng.random(samples) * (1 - np.exp(-2 * coupling))) / coupling
        side = np.cross(spins[k - 1], random_directions(samples, rng))
        side /= np.linalg.norm(side, axis=1)[:, None]
        spins[k] = cosine[:, None] * spins[k - 1] + np.sqrt(1 - cosine**2)[:, None] * side
    return spins.transpose(1, 0, 2)


@pytest.mark.parametrize("rho", [0.0, 0.8, 0.95])
def test_blocking_knows_the_error_of_a_correlated_mean(rho):
    """Standard deviation of the mean of an AR(1) series of unit variance is sqrt(2 tau/n)."""
    rng = np.random.default_rng(0)
    exact_time = (1 + rho) / (2 * (1 - rho))
    series = autoregressive(4096, rho, rng, repeats=60)
    exact = np.sqrt(2 * exact_time / 4096)
    found = np.array([blocking(one) for one in series])
    assert abs(found[:, 1].mean() / exact - 1) < 0.1
    assert abs(np.mean((found[:, 0] / found[:, 1]) ** 2) - 1) < 0.5  # means scatter by their errors
    times = [autocorrelation_time(one) for one in series]
    assert abs(np.mean(times) / exact_time - 1) < 0.1


def test_a_constant_series_has_no_error():
    assert blocking(np.ones(100)) == (1.0, 0.0)
    assert autocorrelation_time(np.ones(100)) == 0.5


def test_jackknife_of_a_nonlinear_function():
    """exp of a mean: error exp(mu) sigma sqrt(2 tau/n), bias of the plain value taken out."""
    rng = np.random.default_rng(1)
    series = autoregressive(4000, 0.5, rng, repeats=100)
    found = np.array([jackknife(np.exp, one[None], 40) for one in series])
    assert abs(found[:, 1].mean() / np.sqrt(3 / 4000) - 1) < 0.1
    assert abs(found[:, 0].mean() - 1) < 3 * found[:, 0].std() / 10


def test_equilibration_leaves_out_the_start():
    rng = np.random.default_rng(2)
    series = autoregressive(2000, 0.5, rng)[0] + 20 * np.exp(-np.arange(2000) / 50)
    assert 150 < equilibration(series) < 700
    assert equilibration(autoregressive(2000, 0.5, rng)[0]) < 400


def test_order_parameter():
    up = np.tile([0, 0, 1.0], (6, 1))
    signs = np.array([1, -1, 1, -1, 1, -1])
    assert order_parameter(up) == pytest.approx(1)
    assert order_parameter(up, signs) == pytest.approx(0)
    assert order_parameter(signs[:, None] * up, signs) == pytest.approx(1)
    phase = 2 * np.pi * np.arange(6) / 6
    spiral = np.stack([np.cos(phase), np.sin(phase), 0 * phase], axis=1)
    assert order_parameter(spiral, np.exp(-1j * phase)) == pytest.approx(np.sqrt(0.5))  # cos^2 + sin^2 at one q
    assert order_parameter(np.array([up, spiral])).shape == (2,)
    up[3:] = 0
    assert order_parameter(up) == pytest.approx(1)  # atoms without a moment do not count


def test_binder_limits():
    """2/3 in perfect order, 4/9 for Gaussian vectors."""
    assert binder_cumulant(0.3**2, 0.3**4) == pytest.approx(2 / 3)
    squares = (np.random.default_rng(0).normal(size=(400_000, 3)) ** 2).sum(axis=1)
    assert binder_cumulant(squares.mean(), (squares**2).mean()) == pytest.approx(4 / 9, abs=0.003)


def test_free_spins():
    """Curie's law: chi = 1/(3 kT), 2/3 of it less 8/9 pi for the part along m, no heat capacity, U near 4/9."""
    rng, n = np.random.default_rng(3), 100
    order = np.array([order_parameter(random_directions(n, rng)) for _ in range(4000)])
    found = thermal_averages(order, np.zeros(4000), n, 300)
    curie = 1 / (3 * units.kB * 300)
    for estimate, exact in (
        (found.susceptibility, curie),
        (found.longitudinal_susceptibility, 3 * curie * (1 - 8 / (3 * np.pi))),
        (found.binder, 1 - (5 / 3 - 2 / (3 * n)) / 3),
    ):
        assert abs(estimate.value - exact) < 3.5 * estimate.error
        assert estimate.error < 0.05 * exact
    assert found.heat_capacity == (0.0, 0.0)


def test_spins_in_a_field():
    """A single spin, x = mB/kT: <cos> = coth x - 1/x and C = 1 - x^2/sinh^2 x."""
    rng, n, x, temperature = np.random.default_rng(4), 20, 2.0, 500.0
    cosines = np.array([[draw_in_field(np.array([0, 0, x]), rng)[2] for _ in range(n)] for _ in range(3000)])
    energies = -x * units.kB * temperature * cosines.mean(axis=1)
    found = thermal_averages(np.abs(cosines.mean(axis=1)), energies, n, temperature)
    assert abs(found.energy.value + x * units.kB * temperature * langevin(x)) < 3.5 * found.energy.error
    assert abs(found.heat_capacity.value - (1 - x**2 / np.sinh(x) ** 2)) < 3.5 * found.heat_capacity.error
    assert found.heat_capacity.error < 0.05


@pytest.mark.parametrize("coupling", [0.5, 2.0, 6.0])
def test_heisenberg_chain(coupling):
    """M. E. Fisher, Am. J. Phys. 32, 343 (1964): bonds are independent, <e_0.e_r> = u^r with u = coth K - 1/K."""
    rng, n, temperature = np.random.default_rng(5), 24, 400.0
    spins = open_chain(coupling, n, 4000, rng)
    bonds = (spins[:, 1:] * spins[:, :-1]).sum(axis=2)
    energies = -coupling * units.kB * temperature * bonds.sum(axis=1) / n
    found = thermal_averages(order_parameter(spins), energies, n, temperature)
    u, share = langevin(coupling), (n - 1) / n
    exact_energy = -coupling * units.kB * temperature * u * share
    exact_heat = (1 - coupling**2 / np.sinh(coupling) ** 2) * share
    distances = abs(np.subtract.outer(np.arange(n), np.arange(n)))
    exact_square = (u**distances).sum() / n**2
    assert abs(found.energy.value - exact_energy) < 3.5 * found.energy.error
    assert abs(found.heat_capacity.value - exact_heat) < 3.5 * found.heat_capacity.error
    exact_chi = n * exact_square / (3 * units.kB * temperature)
    assert abs(found.susceptibility.value - exact_chi) < 3.5 * found.susceptibility.error
    for r in (1, 2, 4):
        products = (spins[:, r:] * spins[:, :-r]).sum(axis=2).mean(axis=1)
        mean = blocking(products)
        assert abs(mean.value - u**r) < 3.5 * mean.error
    if coupling > 1:  # correlations over four bonds are above the noise
        assert -4 / np.log(products.mean()) == pytest.approx(-1 / np.log(u), rel=0.05)


def chain_runs(temperatures, exchange=0.02, n=24, samples=2000):
    """|m| and energies per spin of the open chain at several temperatures."""
    orders, energies = [], []
    for t in temperatures:
        spins = open_chain(exchange / (units.kB * t), n, samples, np.random.default_rng(int(t)))
        orders.append(order_parameter(spins))
        energies.append(-exchange * (spins[:, 1:] * spins[:, :-1]).sum(axis=(1, 2)) / n)
    return orders, energies


def test_joined_runs_give_averages_between_temperatures():
    """Energy and <m^2> of the chain at temperatures that were not run."""
    temperatures, n = np.array([90.0, 110.0, 135.0]), 24
    orders, energies = chain_runs(temperatures)
    grid = np.array([100.0, 120.0])
    weights = sample_weights(temperatures, [n * e for e in energies], grid)
    runs = JoinedRuns(temperatures, orders, energies, n, grid)
    distances = abs(np.subtract.outer(np.arange(n), np.arange(n)))
    for k, t in enumerate(grid):
        u = langevin(0.02 / (units.kB * t))
        assert weights[k] @ np.concatenate(energies) == pytest.approx(-0.02 * u * (n - 1) / n, rel=3e-3)
        assert runs.moments()[1][k] == pytest.approx((u**distances).sum() / n**2, rel=0.03)
    assert (runs.effective > 2000).all()
    rng = np.random.default_rng(0)
    draws = np.array([runs.moments(runs.counts(rng))[1] for _ in range(100)])
    assert 0.3 < (draws.std(axis=0) / (np.concatenate(orders) ** 2).std() * np.sqrt(runs.effective)).mean() < 2


def test_crossing_and_peak_of_curves():
    grid = fine_grid(np.array([80.0, 100.0, 130.0]))
    assert len(grid) == 49
    assert grid[24] == 100.0
    shape = -(grid - 101) * np.exp(-(((grid - 101) / 10) ** 2))
    assert crossing(grid, shape) == pytest.approx(101, abs=0.01)
    assert np.isnan(crossing(grid, abs(shape)))
    assert np.isnan(crossing(grid, -abs(shape)))
    assert peak(grid, np.exp(-(((grid - 95) / 30) ** 2))) == pytest.approx(95, abs=0.01)
    assert np.isnan(peak(grid, grid))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: blocking(np.zeros(5)), r"Expected series as one row of at least 16 finite numbers, got shape \(5,\)"),
        (lambda: order_parameter(np.zeros((4, 2))), r"Expected spins of shape \(..., N, 3\), got shape \(4, 2\)"),
        (lambda: order_parameter(np.zeros((4, 3))), "Expected one weight for each of 4 spins, not all zero"),
        (lambda: order_parameter(np.ones((4, 3)), np.ones(3)), "Expected one weight for each of 4 spins"),
        (lambda: thermal_averages(np.ones(20), np.ones(21), 5, 300), "as many energies as samples"),
        (lambda: thermal_averages(np.ones(20), np.ones(20), 5, 0), "Expected temperature_K > 0, got 0"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(InputError, match=message):
        call()
