"""SpinDynamics and SpinLatticeDynamics on ASE atoms: conservation, reversibility, baths, refused input."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import BaseCalculator
from ase.calculators.emt import EMT
from ase.calculators.mixing import SumCalculator
from ase.constraints import FixAtoms
from ase.io import read

from ase_spinml.calculators.analytic import Heisenberg, NonMagnetic, Zeeman
from ase_spinml.dynamics.md import SpinDynamics, SpinLatticeDynamics
from ase_spinml.dynamics.temperature import spin_temperature
from ase_spinml.dynamics.trajectory import read_trajectory
from ase_spinml.errors import InputError
from ase_spinml.moments import cone, get_moments, get_spins, random_directions, set_moments
from ase_spinml.units import GYROMAGNETIC_RATIO

FS = units.fs


class ElasticExchange(BaseCalculator):
    """E = sum over pairs of k/2 (r - r0)^2 - J(r) [e_i.e_j + 0.3 (e_i.e_j)^2], J(r) = J exp(-(r - r0)/w).

    The pairs are those closer than 1.2 nearest-neighbour distances in the first frame. Notes what it is asked for.
    """

    implemented_properties = ["energy", "forces", "exchange_fields"]

    def __init__(self, atoms, stiffness=3.0, strength=0.018, width=0.6):
        super().__init__()
        self.stiffness, self.strength, self.width = stiffness, strength, width
        distances = atoms.get_all_distances(mic=True)
        i, j = np.triu_indices(len(atoms), 1)
        self.rest = distances[i, j].min()
        near = distances[i, j] < 1.2 * self.rest
        self.i, self.j = i[near], j[near]
        self.rests = distances[self.i, self.j]
        self.calls = []

    def calculate(self, atoms, properties, system_changes):
        self.calls += properties
        moments = get_moments(atoms)
        length = np.linalg.norm(moments, axis=1, keepdims=True)
        spins = np.divide(moments, length, out=np.zeros_like(moments), where=length > 0)
        vectors = atoms.positions[self.j] - atoms.positions[self.i]
        vectors -= np.round(vectors / atoms.cell.lengths()) * atoms.cell.lengths()
        r = np.linalg.norm(vectors, axis=1)
        exchange = self.strength * np.exp(-(r - self.rest) / self.width)
        c = np.einsum("ia,ia->i", spins[self.i], spins[self.j])
        self.results = {"energy": np.sum(0.5 * self.stiffness * (r - self.rests) ** 2 - exchange * (c + 0.3 * c**2))}
        slope = self.stiffness * (r - self.rests) + exchange / self.width * (c + 0.3 * c**2)
        pull = (slope / r)[:, None] * vectors
        forces, fields = np.zeros_like(moments), np.zeros_like(moments)
        np.add.at(forces, self.i, pull)
        np.add.at(forces, self.j, -pull)
        weight = (exchange * (1 + 0.6 * c))[:, None]
        np.add.at(fields, self.i, weight * spins[self.j])
        np.add.at(fields, self.j, weight * spins[self.i])
        self.results["forces"] = forces
        self.results["exchange_fields"] = np.divide(fields, length, out=np.zeros_like(fields), where=length > 0)


class Einstein(BaseCalculator):
    """Every atom on a spring of its own."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, atoms, stiffness):
        super().__init__()
        self.sites, self.stiffness = atoms.get_positions(), stiffness

    def calculate(self, atoms, properties, system_changes):
        shift = atoms.positions - self.sites
        self.results = {"energy": 0.5 * self.stiffness * np.sum(shift**2), "forces": -self.stiffness * shift}


def iron(seed=0):
    """Thermal bcc iron with moments in a cone, one atom without, on springs."""
    atoms = bulk("Fe", cubic=True) * 3
    rng = np.random.default_rng(seed)
    moments = 2.2 * cone(np.tile([0.0, 0.0, 1.0], (len(atoms), 1)), 35, rng)
    moments[1] *= 0.5
    moments[3] = 0.0
    set_moments(atoms, moments)
    atoms.calc = ElasticExchange(atoms)
    atoms.set_momenta(np.sqrt(units.kB * 600 * 55.8) * rng.normal(size=(len(atoms), 3)))
    return atoms


def pair_of_iron():
    atoms = Atoms("Fe2", positions=[[0, 0, 0], [2.5, 0, 0]])
    set_moments(atoms, [[2.2, 0, 0], [0, 2.2, 0]])
    atoms.calc = Heisenberg([0.02])
    return atoms


def test_nve_keeps_energy_momentum_lengths_and_total_moment():
    atoms = iron()
    moments, momentum = get_moments(atoms), atoms.get_momenta().sum(axis=0)
    energies = []
    dyn = SpinLatticeDynamics(atoms, FS)
    dyn.attach(lambda: energies.append(atoms.get_total_energy()))
    dyn.run(600)
    energies = 1e3 * np.array(energies) / len(atoms)
    drift = np.polyfit(np.arange(len(energies)) / 1000, energies, 1)[0]
    assert abs(drift) < 0.1  # meV/atom/ps, while lattice and spins still exchange energy; kinetic energy 78 meV/atom
    assert np.ptp(energies) < 1.0
    assert np.allclose(atoms.get_momenta().sum(axis=0), momentum, rtol=0, atol=1e-10)
    assert np.allclose(get_moments(atoms).sum(axis=0), moments.sum(axis=0), rtol=0, atol=1e-9)
    lengths = np.linalg.norm(moments, axis=1)
    assert np.abs(np.linalg.norm(get_moments(atoms), axis=1) - lengths).max() < 1e-12
    assert not get_moments(atoms)[3].any()


@pytest.mark.physical
def test_nve_does_not_drift_in_ten_picoseconds():
    atoms, energies = iron(), []
    SpinLatticeDynamics(atoms, FS, temperature_K=300, friction=0.02 / FS, damping=0.1, rng=0).run(500)
    dyn = SpinLatticeDynamics(atoms, FS)
    dyn.attach(lambda: energies.append(1e3 * atoms.get_total_energy() / len(atoms)))
    dyn.run(10_000)
    assert abs(np.polyfit(np.arange(len(energies)) / 1000, energies, 1)[0]) < 0.01  # meV/atom/ps


def test_the_coupled_step_is_time_reversible():
    """Momenta and moments turned around, the motion runs back: exchange is even in the moments."""
    atoms = iron()
    start, momenta, moments = atoms.get_positions(), atoms.get_momenta(), get_moments(atoms)
    SpinLatticeDynamics(atoms, FS).run(40)
    assert np.abs(get_moments(atoms) - moments).max() > 0.5
    atoms.set_momenta(-atoms.get_momenta())
    set_moments(atoms, -get_moments(atoms))
    SpinLatticeDynamics(atoms, FS).run(40)
    assert np.allclose(atoms.positions, start, rtol=0, atol=1e-9)
    assert np.allclose(atoms.get_momenta(), -momenta, rtol=0, atol=1e-8)
    assert np.allclose(get_moments(atoms), -moments, rtol=0, atol=1e-8)


def test_the_coupled_step_is_of_second_order():
    def final(steps):
        atoms = iron()
        SpinLatticeDynamics(atoms, 16 * FS / steps).run(steps)
        return np.concatenate([atoms.positions, get_moments(atoms)])

    exact = final(512)
    errors = [np.abs(final(steps) - exact).max() for steps in (16, 32, 64)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(2, abs=0.1)


def test_a_step_asks_for_few_evaluations_and_counts_them():
    atoms = iron()
    dyn = SpinLatticeDynamics(atoms, FS)
    dyn.run(40)
    atoms.calc.calls.clear()
    before = dyn.evaluations
    dyn.run(40)
    assert atoms.calc.calls.count("forces") == 40
    assert len(atoms.calc.calls) == dyn.evaluations - before
    assert (dyn.evaluations - before) / 40 <= 8


def test_spins_on_a_frozen_lattice_need_no_forces():
    atoms = iron()
    start = atoms.get_positions()
    atoms.calc.implemented_properties = ["energy", "exchange_fields"]
    energy = atoms.get_potential_energy()
    dyn = SpinDynamics(atoms, 0.5 * FS)
    dyn.run(100)
    assert "forces" not in atoms.calc.calls
    assert np.array_equal(atoms.positions, start)
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-3)


def test_the_precession_has_the_sense_of_minus_m_cross_b():
    """Seen from the tip of the field a moment turns counter-clockwise."""
    atoms = Atoms("Fe")
    set_moments(atoms, [[2.2, 0.0, 0.0]])
    atoms.calc = Zeeman([0.0, 0.0, 100.0])
    SpinDynamics(atoms, FS).run(10)
    angle = np.arctan2(*get_spins(atoms)[0, [1, 0]])
    field = atoms.calc.results["exchange_fields"][0, 2]
    assert angle == pytest.approx(GYROMAGNETIC_RATIO * field * 10 * FS, rel=1e-4)


def test_results_are_never_stale_after_a_run():
    atoms = iron()
    SpinLatticeDynamics(atoms, FS).run(5)
    fresh = atoms.copy()
    fresh.calc = ElasticExchange(iron())
    assert atoms.get_potential_energy() == fresh.get_potential_energy()
    assert np.array_equal(atoms.get_forces(), fresh.get_forces())
    fields = [a.calc.get_property("exchange_fields", a) for a in (atoms, fresh)]
    assert np.array_equal(*fields)


def test_damping_without_temperature_relaxes_and_friction_cools():
    atoms = iron()
    energies = []
    dyn = SpinLatticeDynamics(atoms, FS, friction=0.05 / FS, damping=0.2)
    dyn.attach(lambda: energies.append(atoms.get_total_energy()), interval=20)
    dyn.run(200)
    assert np.all(np.diff(energies) < 0)
    assert atoms.get_temperature() < 20


def test_both_baths_sample_one_temperature():
    """Independent springs and moments in a field: k <x^2> = <p^2>/m = kT, <cos> = coth x - 1/x for two lengths."""
    temperature_K, n, steps, skip = 400, 400, 500, 100
    kT = units.kB * temperature_K
    atoms = Atoms("Fe" * n, positions=10.0 * np.arange(3 * n).reshape(n, 3))
    lengths = np.repeat([1.0, 2.2], n // 2)
    rng = np.random.default_rng(3)
    set_moments(atoms, lengths[:, None] * random_directions(n, rng))
    atoms.calc = SumCalculator([NonMagnetic(Einstein(atoms, 5.0)), Zeeman([0.0, 0.0, 600.0])])
    sites = atoms.get_positions()
    dyn = SpinLatticeDynamics(atoms, 3 * FS, temperature_K=temperature_K, friction=0.02 / FS, damping=0.5, rng=rng)
    sums = np.zeros((3, n))

    def collect():
        if dyn.nsteps > skip:
            sums[0] += 5.0 * ((atoms.positions - sites) ** 2).sum(axis=1) / 3
            sums[1] += (atoms.get_velocities() ** 2).sum(axis=1) * atoms.get_masses() / 3
            sums[2] += get_spins(atoms)[:, 2]

    dyn.attach(collect)
    dyn.run(steps)
    sums /= steps - skip
    for row in sums[:2]:
        assert abs(row.mean() - kT) < 3 * row.std() / np.sqrt(n)
    for length in (1.0, 2.2):
        x = length * Zeeman([0, 0, 600.0]).field[2] * units._hbar / (2 * units._me) / kT
        own = sums[2][lengths == length]
        assert abs(own.mean() - (1 / np.tanh(x) - 1 / x)) < 3 * own.std() / np.sqrt(n / 2)


def test_a_lattice_bath_alone_reaches_its_temperature():
    atoms = bulk("Cu", cubic=True) * 3
    set_moments(atoms, np.tile([0.0, 0.0, 1.0], (len(atoms), 1)))
    atoms.calc = NonMagnetic(EMT())
    dyn = SpinLatticeDynamics(atoms, 5 * FS, temperature_K=300, friction=0.05 / FS, rng=1)
    temperatures = []
    dyn.run(50)
    dyn.attach(lambda: temperatures.append(atoms.get_temperature()))
    dyn.run(100)
    assert np.mean(temperatures) == pytest.approx(300, rel=0.06)
    assert np.array_equal(get_moments(atoms), np.tile([0.0, 0.0, 1.0], (len(atoms), 1)))


def test_one_seed_gives_one_trajectory_in_one_run_or_two():
    def final(*runs):
        atoms = iron()
        dyn = SpinLatticeDynamics(atoms, FS, temperature_K=300, friction=0.01 / FS, damping=0.1, rng=7)
        for steps in runs:
            dyn.run(steps)
        return np.concatenate([atoms.positions, atoms.get_momenta(), get_moments(atoms)])

    whole = final(20)
    assert np.array_equal(whole, final(20))
    assert np.array_equal(whole, final(10, 10))


@pytest.mark.parametrize("temperature_K", [None, 300])
def test_fixed_atoms_stay_while_their_moments_move(temperature_K):
    atoms = iron()
    atoms.set_constraint(FixAtoms([0, 5]))
    atoms.set_momenta(atoms.get_momenta())
    start, moments = atoms.get_positions(), get_moments(atoms)
    friction = 0.01 / FS if temperature_K else 0.0
    SpinLatticeDynamics(atoms, FS, temperature_K=temperature_K, friction=friction, rng=0).run(20)
    moved = np.abs(atoms.positions - start).max(axis=1)
    assert not moved[[0, 5]].any()
    assert not atoms.get_momenta()[[0, 5]].any()
    assert moved[[1, 2, 3, 4]].min() > 1e-3
    assert np.abs(get_moments(atoms) - moments)[0].max() > 0.1


def test_moments_changed_between_runs_are_taken_up():
    atoms = iron()
    dyn = SpinDynamics(atoms, FS)
    dyn.run(3)
    moments = 1.5 * random_directions(len(atoms), 0)
    set_moments(atoms, moments)
    dyn.run(3)
    assert np.allclose(np.linalg.norm(get_moments(atoms), axis=1), 1.5, rtol=0, atol=1e-12)
    again = iron()
    set_moments(again, moments)
    SpinDynamics(again, FS).run(3)
    assert np.allclose(get_moments(atoms), get_moments(again), rtol=0, atol=1e-10)


def test_a_step_that_fails_leaves_the_moments_as_they_were():
    atoms = iron()
    atoms.calc = ElasticExchange(atoms, strength=1.0)
    before = get_moments(atoms)
    with pytest.raises(InputError, match="use a smaller timestep"):
        SpinDynamics(atoms, 20 * FS).run(1)
    assert np.array_equal(get_moments(atoms), before)


def test_trajectory_and_log(tmp_path):
    atoms = iron()
    with SpinLatticeDynamics(
        atoms, FS, trajectory=tmp_path / "fe.traj", logfile=tmp_path / "fe.log", loginterval=5
    ) as dyn:
        dyn.run(10)
    frames = read(tmp_path / "fe.traj", ":")
    assert len(frames) == 3
    assert np.array_equal(get_moments(frames[-1]), get_moments(atoms))
    assert np.array_equal(frames[-1].get_momenta(), atoms.get_momenta())
    assert frames[-1].get_potential_energy() == atoms.get_potential_energy()
    header, *lines = (tmp_path / "fe.log").read_text().splitlines()
    names = ["Time[ps]", "Etot[eV]", "Epot[eV]", "Ekin[eV]", "T[K]"]
    names += ["Tspin[K]", "|M|/N[muB]", "Econs[eV]", "evals/step"]
    assert header.split() == names
    assert len(lines) == 3
    last = dict(zip(names, map(float, lines[-1].split()), strict=True))
    assert last["|M|/N[muB]"] == pytest.approx(np.linalg.norm(get_moments(atoms).mean(axis=0)), abs=1e-4)
    assert last["Tspin[K]"] == pytest.approx(spin_temperature(atoms, 10), abs=0.1)
    assert last["Econs[eV]"] == last["Etot[eV]"] == pytest.approx(atoms.get_total_energy(), abs=1e-6)
    assert 2 <= last["evals/step"] <= 12
    fields = atoms.calc.get_property("exchange_fields", atoms)
    assert np.allclose(read_trajectory(tmp_path / "fe.traj")[-1].arrays["exchange_fields"], fields, rtol=0, atol=1e-12)
    assert dyn.todict()["md-type"] == "SpinLatticeDynamics"


def with_calculator(calc):
    atoms = pair_of_iron()
    atoms.calc = calc
    return atoms


def collinear():
    atoms = pair_of_iron()
    del atoms.arrays["initial_magmoms"]
    atoms.set_initial_magnetic_moments([2.2, -2.2])
    return atoms


def without_moments():
    atoms = pair_of_iron()
    set_moments(atoms, np.zeros((2, 3)))
    return atoms


REFUSED = [
    ({"timestep": 0.0}, "Expected timestep > 0 in ASE time units, got 0.0."),
    ({"timestep": np.nan}, "Expected timestep > 0 in ASE time units, got nan."),
    ({"tolerance": 0.0}, "Expected tolerance > 0 in radians, got 0.0."),
    ({"damping": -0.1}, "Expected damping >= 0, got -0.1."),
    ({"friction": -1.0}, "Expected friction >= 0, got -1.0."),
    ({"temperature_K": -1.0, "damping": 0.1}, "Expected temperature_K >= 0, got -1.0."),
    ({"gyromagnetic_ratio": 0.0}, "Expected a finite gyromagnetic_ratio other than zero, got 0.0."),
    (
        {"temperature_K": 300},
        "Expected friction > 0 or damping > 0 with temperature_K, got neither: no bath acts.",
    ),
    (
        {"atoms": with_calculator(None)},
        "Expected atoms with a calculator, got none: set atoms.calc, a SpinCalculator for instance.",
    ),
    (
        {"atoms": with_calculator(EMT())},
        "Expected a calculator that gives exchange_fields and forces, got EMT without exchange_fields: use "
        "SpinCalculator, or NonMagnetic(calc) for a term without moments.",
    ),
    (
        {"atoms": without_moments()},
        "Expected a moment above zero, got none: set them with set_moments(atoms, moments).",
    ),
    (
        {"atoms": collinear()},
        "Expected moment vectors of shape (2, 3), got collinear moments of shape (2,): lift them with "
        "set_moments(atoms, atoms.get_initial_magnetic_moments(), axis=(0, 0, 1)).",
    ),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_refused(options, message):
    with pytest.raises(InputError) as error:
        SpinLatticeDynamics(**{"atoms": pair_of_iron(), "timestep": FS, **options})
    assert str(error.value) == message


def test_spins_alone_need_damping_with_a_temperature():
    with pytest.raises(InputError) as error:
        SpinDynamics(pair_of_iron(), FS, temperature_K=300)
    assert str(error.value) == "Expected damping > 0 with temperature_K, got none: no bath acts on the spins."


def test_a_model_that_never_saw_the_lattice_is_refused():
    blind = Heisenberg([0.02])
    blind.lattice_fitted = False
    message = (
        "Expected a model that knows the lattice, got one fitted on undisplaced frames only, whose forces mean "
        "nothing: fit it to displaced frames with forces, add a calculator of the lattice, or use SpinDynamics."
    )
    for calc in (blind, SumCalculator([blind, Zeeman([0, 0, 1.0])])):
        with pytest.raises(InputError) as error:
            SpinLatticeDynamics(with_calculator(calc), FS)
        assert str(error.value) == message
    SpinDynamics(with_calculator(blind), FS).run(1)
    springs = NonMagnetic(Einstein(pair_of_iron(), 1.0))
    SpinLatticeDynamics(with_calculator(SumCalculator([blind, springs])), FS).run(1)
