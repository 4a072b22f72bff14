"""Coupled runs against statistical mechanics: Boltzmann weights at two temperatures, equipartition without baths."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import BaseCalculator
from test_dynamics import ElasticExchange

from ase_spinml import SpinLatticeDynamics, get_spins, set_moments
from ase_spinml.dynamics.temperature import spin_temperature
from ase_spinml.moments import cone, random_directions

FS = units.fs


class Dimers(BaseCalculator):
    """Atoms on springs, in pairs with exchange J (1 + g (x_1 - x_0)) e_0.e_1 that depends on their displacements x."""

    implemented_properties = ["energy", "forces", "exchange_fields"]

    def __init__(self, atoms, stiffness=5.0, exchange=0.04, coupling=0.0):
        super().__init__()
        self.sites, self.stiffness, self.exchange, self.coupling = atoms.get_positions(), stiffness, exchange, coupling

    def parts(self, atoms):
        """Energies of the springs and of the spins of each dimer, (n/2,) each, in eV."""
        shift, spins = atoms.positions - self.sites, get_spins(atoms)
        exchange = self.exchange * (1 + self.coupling * (shift[1::2, 0] - shift[::2, 0]))
        cosines = np.sum(spins[::2] * spins[1::2], axis=1)
        springs = 0.5 * self.stiffness * np.sum(shift**2, axis=1)
        return springs[::2] + springs[1::2], -exchange * cosines

    def calculate(self, atoms, properties, system_changes):
        shift, spins = atoms.positions - self.sites, get_spins(atoms)
        exchange = self.exchange * (1 + self.coupling * (shift[1::2, 0] - shift[::2, 0]))
        forces, fields = -self.stiffness * shift, np.empty_like(shift)
        pull = self.exchange * self.coupling * np.sum(spins[::2] * spins[1::2], axis=1)
        forces[::2, 0] -= pull
        forces[1::2, 0] += pull
        fields[::2], fields[1::2] = exchange[:, None] * spins[1::2], exchange[:, None] * spins[::2]
        self.results = {"energy": sum(part.sum() for part in self.parts(atoms)), "forces": forces}
        self.results["exchange_fields"] = fields


def dimer_energies(temperature_K, coupling, n=400, steps=400, skip=60):
    """Energies of springs and spins, (samples, n/2) each, with both baths at one temperature."""
    rng = np.random.default_rng(int(temperature_K))
    atoms = Atoms(f"Fe{n}", positions=10.0 * np.arange(3 * n).reshape(n, 3))
    set_moments(atoms, random_directions(n, rng))
    atoms.calc = Dimers(atoms, coupling=coupling)
    dyn = SpinLatticeDynamics(atoms, 2 * FS, temperature_K, 0.05 / FS, 0.5, rng, integrator="sib", progress=False)
    dyn.run(skip)
    samples = []
    dyn.attach(lambda: samples.append(atoms.calc.parts(atoms)), 10)
    dyn.run(steps)
    return np.swapaxes(np.array(samples), 0, 1)


def log_ratio(first, second):
    """b and c of ln[P1(E)/P2(E)] = a + b E + c (E - mean)^2, by maximum likelihood from samples of P1 and P2."""
    energies = np.concatenate([first.ravel(), second.ravel()])
    centre, scale = energies.mean(), energies.std()
    x = (energies - centre) / scale
    features = np.stack([np.ones_like(x), x, x**2])
    label = np.repeat([1.0, 0.0], [first.size, second.size])
    coefficients = np.zeros(3)
    for _ in range(20):
        p = 1 / (1 + np.exp(-coefficients @ features))
        coefficients += np.linalg.solve((features * (p * (1 - p))) @ features.T, features @ (label - p))
    return coefficients[1:] / [scale, scale**2]


def check_boltzmann(first, second, temperatures):
    """The slope is 1/kT2 - 1/kT1 and there is no curvature, within three standard errors from ten groups of dimers."""
    expected = 1 / (units.kB * temperatures[1]) - 1 / (units.kB * temperatures[0])
    groups = zip(np.array_split(first, 10, axis=1), np.array_split(second, 10, axis=1), strict=True)
    found = np.array([log_ratio(*group) for group in groups])
    mean, error = found.mean(axis=0), found.std(axis=0, ddof=1) / np.sqrt(10)
    assert error[0] < 0.1 * abs(expected)
    assert abs(mean[0] - expected) < 3 * error[0]
    assert abs(mean[1]) < 3 * error[1]


@pytest.mark.parametrize("coupling", [0.0, 0.8])
def test_two_temperatures_have_boltzmann_s_ratio(coupling):
    """Springs and spins apart where they do not know of each other, together where they do."""
    temperatures = (300.0, 450.0)
    first, second = (dimer_energies(temperature, coupling) for temperature in temperatures)
    if coupling:
        check_boltzmann(first.sum(axis=0), second.sum(axis=0), temperatures)
        return
    for part in (0, 1):
        check_boltzmann(first[part], second[part], temperatures)


@pytest.mark.physical
def test_lattice_and_spins_come_to_one_temperature_without_baths():
    """An antiferromagnet, whose conserved total moment of zero forbids nothing: hot atoms heat cold spins.

    Moments of 7 mu_B precess as slowly as the lattice vibrates. The step matters: at 1.5 fs the spins stay a sixth
    colder than the lattice however long one waits, at 0.75 fs the two agree to a few percent.
    """
    rng = np.random.default_rng(1)
    atoms = bulk("Fe", cubic=True) * 3
    n = len(atoms)
    set_moments(atoms, 7.0 * cone(np.array([[0, 0, 1.0], [0, 0, -1.0]] * (n // 2)), 15, rng))
    atoms.calc = ElasticExchange(atoms, strength=-0.018, width=0.2)
    momenta = rng.normal(size=(n, 3))
    atoms.set_momenta(np.sqrt(units.kB * 1300 * 55.8) * (momenta - momenta.mean(axis=0)))
    rows = []
    dyn = SpinLatticeDynamics(atoms, 0.75 * FS, progress=False)

    def collect():
        fields = 7.0 * atoms.calc.get_property("exchange_fields", atoms)
        gradient = np.sum(np.cross(get_spins(atoms), fields) ** 2)
        laplacian = gradient / spin_temperature(atoms, rng, 2)
        rows.append((atoms.get_temperature(), gradient, laplacian, 1e3 * atoms.get_total_energy() / n))

    dyn.attach(collect, 10)
    dyn.run(6000)
    rows = np.array(rows[20:])  # after 150 fs, when the springs have their half

    def temperatures(part):
        lattice, gradient, laplacian, _ = part.mean(axis=0)
        return lattice, gradient / laplacian

    early, late = temperatures(rows[:20]), temperatures(rows[190:])
    assert early[1] < 0.3 * early[0]
    assert late[1] == pytest.approx(late[0], rel=0.06)
    assert late[0] < 0.9 * early[0]
    assert np.ptp(rows[:, 3]) < 0.5  # meV/atom
