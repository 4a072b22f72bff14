"""The microscopic spin temperature against states whose temperature is known."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator

from ase_spinml.dynamics.temperature import spin_temperature, temperature_from_gradient
from ase_spinml.moments import get_moments, random_directions, set_moments

TEMPERATURE = 300.0
KT = units.kB * TEMPERATURE


class Bonds(Calculator):
    """E = -1/2 sum_ij J_ij e_i.e_j - sum_i b_i.e_i; fields are transverse, zero for atoms without moment."""

    implemented_properties = ["energy", "exchange_fields"]

    def __init__(self, exchange, field):
        super().__init__()
        self.exchange, self.field = exchange, field

    def calculate(self, atoms=None, properties=None, system_changes=None):
        super().calculate(atoms, properties, system_changes)
        moments = get_moments(atoms)
        length = np.linalg.norm(moments, axis=1, keepdims=True)
        spins = np.divide(moments, length, out=np.zeros_like(moments), where=length > 0)
        pull = self.exchange @ spins + self.field
        pull = np.divide(pull, length, out=np.zeros_like(moments), where=length > 0)
        transverse = pull - spins * np.sum(pull * spins, axis=1, keepdims=True)
        self.results = {"energy": 0.0, "exchange_fields": transverse}


def langevin_spins(rng, x):
    """Exact samples of p(cos) ~ exp(x cos), the field along z; x: (n,) field over temperature."""
    cos = 1 + np.log1p(rng.random(len(x)) * np.expm1(-2 * x)) / x
    azimuth = 2 * np.pi * rng.random(len(x))
    sin = np.sqrt(1 - cos**2)
    return np.stack([sin * np.cos(azimuth), sin * np.sin(azimuth), cos], axis=1)


def heisenberg_lattice(size, coupling):
    """Exchange matrix of nearest neighbours (simple cubic, periodic), in eV."""
    grid = np.arange(size**3).reshape(size, size, size)
    exchange = np.zeros((size**3, size**3))
    for axis in range(3):
        exchange[grid, np.roll(grid, 1, axis)] = exchange[np.roll(grid, 1, axis), grid] = coupling
    return exchange


def metropolis(rng, size, exchange, kt, sweeps, keep):
    """Spins after each of the last ``keep`` of ``sweeps`` checkerboard sweeps."""
    parity = np.indices((size, size, size)).sum(axis=0).ravel() % 2
    spins = np.tile([0.0, 0.0, 1.0], (size**3, 1))
    for sweep in range(sweeps):
        for colour in (0, 1):
            mine = np.flatnonzero(parity == colour)
            new = spins[mine] + 0.7 * rng.normal(size=(len(mine), 3))
            new /= np.linalg.norm(new, axis=1, keepdims=True)
            change = -np.sum((exchange[mine] @ spins) * (new - spins[mine]), axis=1)
            accept = rng.random(len(mine)) < np.exp(np.minimum(0.0, -change / kt))
            spins[mine[accept]] = new[accept]
        if sweep >= sweeps - keep:
            yield spins.copy()


@pytest.mark.parametrize("x", [0.3, 2.0, 8.0])
def test_spins_in_a_field(x):
    rng = np.random.default_rng(1)
    spins = langevin_spins(rng, np.full(20000, x))
    field = KT * x * np.array([0.0, 0.0, 1.0])
    measured = temperature_from_gradient(spins, lambda e: np.broadcast_to(-field, e.shape), rng)
    assert measured == pytest.approx(TEMPERATURE, rel=0.03)


def test_laplacian_of_the_field_energy_is_exact():
    """lap(-b.e) = 2 b.e on the sphere: no noise from the axes, so the ratio is known for any one spin."""
    cos = 0.4
    spin = np.array([[np.sqrt(1 - cos**2), 0.0, cos]])
    field = np.array([0.0, 0.0, 0.05])
    measured = temperature_from_gradient(spin, lambda e: -field + 0 * e, 0)
    assert measured * units.kB == pytest.approx(0.05 * (1 - cos**2) / (2 * cos), rel=1e-4)


def test_heisenberg_magnet_sampled_by_metropolis():
    rng = np.random.default_rng(2)
    exchange = heisenberg_lattice(6, KT)
    states = metropolis(rng, 6, exchange, KT, sweeps=1200, keep=1000)
    measured = [temperature_from_gradient(spins, lambda e: -exchange @ e, rng) for spins in states]
    assert np.mean(measured) == pytest.approx(TEMPERATURE, rel=0.015)


def test_axis_average_is_the_trace_of_the_second_derivatives():
    """For H = -sum J e.e the Laplacian is 2 sum_i e_i.h_i; its noise comes from the bonds alone and averages out."""
    rng = np.random.default_rng(3)
    spins = random_directions(27, rng)
    exchange = heisenberg_lattice(3, 0.01) + 0.01
    np.fill_diagonal(exchange, 0.0)
    pull = exchange @ spins
    expected = np.sum(np.cross(spins, pull) ** 2) / (2 * np.sum(spins * pull)) / units.kB
    measured = temperature_from_gradient(spins, lambda e: -exchange @ e, rng, n_samples=4000)
    assert measured == pytest.approx(expected, rel=0.05)


def test_atoms_of_unequal_moments_with_transverse_fields():
    rng = np.random.default_rng(4)
    n = 8000
    strength = KT * np.where(np.arange(n) % 2, 1.0, 4.0)
    moments = np.where(np.arange(n) % 2, 0.5, 2.2)[:, None] * langevin_spins(rng, strength / KT)
    moments[:100] = 0.0
    atoms = Atoms(f"H{n}", positions=np.zeros((n, 3)))
    set_moments(atoms, moments)
    atoms.calc = Bonds(np.zeros((1, n)), strength[:, None] * [0.0, 0.0, 1.0])
    assert spin_temperature(atoms, rng) == pytest.approx(TEMPERATURE, rel=0.04)
    np.testing.assert_array_equal(get_moments(atoms), moments)


def test_seed_and_degenerate_cases():
    atoms = bulk("Fe", cubic=True)
    set_moments(atoms, [[2.2, 0.0, 0.0], [0.0, 2.0, 1.0]])
    atoms.calc = Bonds(np.array([[0.0, 0.1], [0.1, 0.0]]), np.zeros(3))
    assert spin_temperature(atoms, 5) == spin_temperature(atoms, 5)
    set_moments(atoms, random_directions(2, 5))  # once the very axes of the estimate
    assert np.isfinite(spin_temperature(atoms, 5))
    atoms.calc = Bonds(np.zeros((2, 2)), np.zeros(3))
    assert np.isnan(spin_temperature(atoms, 5))
