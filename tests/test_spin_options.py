"""Options of the dynamics classes: integrators, damping forms, frozen moments, lengths, driving, heat accounts."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator
from ase.calculators.mixing import SumCalculator

from ase_spinml.calculators.analytic import Heisenberg, Zeeman
from ase_spinml.calculators.anisotropy import Anisotropy
from ase_spinml.calculators.driving import rotating_field
from ase_spinml.calculators.torques import SlonczewskiTorque
from ase_spinml.dynamics.integrators import INTEGRATORS
from ase_spinml.dynamics.md import SpinDynamics, SpinLatticeDynamics
from ase_spinml.dynamics.trajectory import read_trajectory
from ase_spinml.errors import InputError
from ase_spinml.moments import get_moments, get_spins, random_directions, set_moments
from ase_spinml.units import GYROMAGNETIC_RATIO

FS = units.fs


def ring(n=12, lengths=2.0, seed=0):
    """Ring of moments, random directions, exchange and an easy axis."""
    angles = 2 * np.pi * np.arange(n) / n
    radius = 1.25 / np.sin(np.pi / n)
    atoms = Atoms(f"Fe{n}", radius * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1))
    set_moments(atoms, lengths * random_directions(n, seed))
    atoms.calc = SumCalculator([Heisenberg([0.02]), Anisotropy(uniaxial=0.004)])
    return atoms


class Breathing(BaseCalculator):
    """Ring with E = -J sum e_i.e_(i+1) and lengths m_i = 2 + 0.4 e_i.(e_(i+1) + e_(i-1)), as an adiabatic model has."""

    implemented_properties = ["energy", "exchange_fields", "magmoms"]

    def calculate(self, atoms, properties, system_changes):
        spins = get_spins(atoms)
        others = np.roll(spins, -1, 0) + np.roll(spins, 1, 0)
        lengths = 2 + 0.4 * np.sum(spins * others, axis=1)
        own = np.linalg.norm(get_moments(atoms), axis=1)
        self.results = {
            "energy": -0.01 * np.sum(spins * others),
            "exchange_fields": 0.02 * others / own[:, None],
            "magmoms": lengths[:, None] * spins,
        }


class TorqueOnly(BaseCalculator):
    """Turns every moment about z; knows no energy."""

    implemented_properties = ["exchange_fields"]
    conservative = False

    def calculate(self, atoms, properties, system_changes):
        self.results = {"exchange_fields": np.tile([0.0, 0.0, 0.01], (len(atoms), 1))}


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_integrators_agree_in_the_limit(integrator):
    reference, atoms = ring(), ring()
    SpinDynamics(reference, 0.05 * FS).run(80)
    dyn = SpinDynamics(atoms, 0.05 * FS, integrator=integrator)
    dyn.run(80)
    assert np.abs(get_moments(atoms) - get_moments(reference)).max() < 1e-3
    if integrator != "midpoint":
        assert dyn.evaluations == 160
    assert dyn.todict()["integrator"] == integrator


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_coupled_step_takes_any_integrator(integrator):
    class Springs(BaseCalculator):
        implemented_properties = ["energy", "forces", "exchange_fields"]

        def calculate(self, atoms, properties, system_changes):
            fields = np.tile([0.0, 0.0, 0.01], (len(atoms), 1))
            self.results = {"energy": 0.0, "forces": -atoms.positions, "exchange_fields": fields}

    atoms = Atoms("Fe", [[0.1, 0.0, 0.0]])
    set_moments(atoms, [[2.0, 0.0, 0.0]])
    atoms.calc = Springs()
    SpinLatticeDynamics(atoms, FS, integrator=integrator).run(30)
    angle = GYROMAGNETIC_RATIO * 0.01 * 30 * FS
    assert np.allclose(get_spins(atoms), [[np.cos(angle), np.sin(angle), 0]], rtol=0, atol=1e-3)


@pytest.mark.parametrize("integrator", ["sib", "depondt"])
def test_effective_fields_keep_explicit_steps_from_drifting(integrator):
    """With the transverse part alone a moment chases the field of its neighbours instead of turning about it."""

    class TransverseHeisenberg(Heisenberg):
        def calculate(self, *args):
            super().calculate(*args)
            del self.results["effective_fields"]

    drifts = []
    for kind in (Heisenberg, TransverseHeisenberg):
        atoms = ring()
        atoms.calc = kind([0.02])
        start = atoms.get_potential_energy()
        SpinDynamics(atoms, 4 * FS, integrator=integrator).run(300)
        drifts.append(abs(atoms.get_potential_energy() - start))
    assert drifts[0] < drifts[1] / 4


def test_effective_fields_add_nothing_across_the_moments():
    atoms = ring()
    for term in atoms.calc.mixer.calcs:
        fields = term.get_property("exchange_fields", atoms)
        along = term.results["effective_fields"] - fields
        assert np.abs(along).max() > 1e-4
        assert np.abs(np.cross(along, get_spins(atoms))).max() < 1e-15


def test_landau_lifshitz_parameters_are_converted():
    one, other = ring(), ring()
    SpinDynamics(one, FS, damping=0.5, equation="landau-lifshitz").run(20)
    SpinDynamics(other, FS, damping=0.5, gyromagnetic_ratio=1.25 * GYROMAGNETIC_RATIO).run(20)
    assert np.array_equal(get_moments(one), get_moments(other))


@pytest.mark.parametrize("frozen", [[0, 3], np.arange(12) % 3 == 0])
def test_frozen_moments_stay(frozen):
    atoms = ring()
    start = get_moments(atoms)
    SpinDynamics(atoms, FS, 300, damping=0.1, rng=0, frozen_moments=frozen).run(20)
    still = np.zeros(12, bool)
    still[np.asarray(frozen)] = True
    moved = np.abs(get_moments(atoms) - start).max(axis=1)
    assert not moved[still].any()
    assert moved[~still].min() > 0.01


def test_lengths_that_follow_the_model():
    atoms = ring()
    atoms.calc = Breathing()
    energy, start = atoms.get_potential_energy(), get_spins(atoms)
    dyn = SpinDynamics(atoms, 0.5 * FS, moment_lengths="model")
    energies = []
    dyn.attach(lambda: energies.append(atoms.get_potential_energy()))
    dyn.run(80)
    lengths = np.linalg.norm(get_moments(atoms), axis=1)
    assert np.ptp(lengths) > 0.2
    model = np.linalg.norm(atoms.calc.get_property("magmoms", atoms), axis=1)
    assert np.abs(lengths - model).max() < 0.01  # those of mid-step
    assert np.ptp(energies) < 2e-4
    assert energies[0] == energy
    set_moments(atoms, -get_moments(atoms))
    SpinDynamics(atoms, 0.5 * FS, moment_lengths="model").run(80)
    assert np.abs(get_spins(atoms) + start).max() < 1e-8  # and back again


def test_following_the_model_is_of_second_order():
    def final(steps):
        atoms = ring()
        atoms.calc = Breathing()
        SpinDynamics(atoms, 10 * FS / steps, moment_lengths="model").run(steps)
        return get_spins(atoms)

    exact = final(100)
    errors = [np.abs(final(steps) - exact).max() for steps in (6, 12, 24)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.2)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(2, abs=0.25)


def test_work_of_a_rotating_field_is_accounted_for():
    """The energy changes by what the field does, to the second order of the step."""

    def imbalance(timestep):
        atoms = ring()
        field = Zeeman(rotating_field(200.0, 5.0))
        atoms.calc = SumCalculator([Heisenberg([0.02]), field])
        dyn = SpinDynamics(atoms, timestep)
        start, conserved = atoms.get_potential_energy(), dyn.get_conserved_energy()
        dyn.run(round(100 * FS / timestep))
        assert field.time == pytest.approx(100 * FS)
        assert atoms.get_potential_energy() == pytest.approx(
            sum(term.get_property("energy", atoms) for term in atoms.calc.mixer.calcs), abs=1e-14
        )
        assert abs(atoms.get_potential_energy() - start) > 0.02
        return abs(dyn.get_conserved_energy() - conserved)

    coarse, fine = imbalance(FS), imbalance(0.25 * FS)
    assert coarse < 2e-3
    assert fine < coarse / 8


def test_a_time_dependent_run_starts_its_clock_at_zero():
    atoms = ring()
    field = Zeeman(rotating_field(100.0, 5.0))
    field.time = 50.0
    atoms.calc = field
    SpinDynamics(atoms, FS)
    assert field.time == 0.0


def test_torques_of_currents_run_without_a_conserved_energy(tmp_path):
    atoms = ring()
    atoms.calc = SumCalculator([Heisenberg([0.02]), SlonczewskiTorque([0, 0, 1], damping_like_T=200.0)])
    with SpinDynamics(atoms, FS, logfile=tmp_path / "log", loginterval=10) as dyn:
        dyn.run(30)
    header, *lines = (tmp_path / "log").read_text().splitlines()
    last = dict(zip(header.split(), lines[-1].split(), strict=True))
    assert last["Econs[eV]"] == last["Tspin[K]"] == "nan"
    assert float(last["Epot[eV]"]) == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    assert np.isnan(dyn.get_conserved_energy())
    assert get_spins(atoms)[:, 2].mean() > 0.5


def test_a_calculator_of_torques_alone_runs_and_is_recorded(tmp_path):
    atoms = ring()
    atoms.calc = TorqueOnly()
    with SpinDynamics(atoms, FS, logfile=tmp_path / "log", trajectory=tmp_path / "run.xyz") as dyn:
        dyn.run(3)
    assert "nan" in (tmp_path / "log").read_text()
    frames = read_trajectory(tmp_path / "run.xyz")
    assert len(frames) == 4
    assert np.allclose(frames[-1].arrays["exchange_fields"], [0, 0, 0.01])


def test_heat_of_the_spin_bath_balances_the_energy():
    """Energies of many kT go through the bath; what remains unaccounted for falls with the time step."""

    def imbalance(timestep):
        atoms = ring(lengths=np.tile([1.0, 3.0], 6)[:, None])
        dyn = SpinDynamics(atoms, timestep, 300, damping=0.2, rng=1)
        start, conserved = atoms.get_potential_energy(), dyn.get_conserved_energy()
        dyn.run(round(80 * FS / timestep))
        heat = atoms.get_potential_energy() - start
        assert abs(heat) > 0.03
        assert dyn.spin_heat == pytest.approx(heat, abs=0.02)
        return abs(dyn.get_conserved_energy() - conserved)

    assert imbalance(FS) < 0.02
    assert imbalance(0.25 * FS) < 0.005


def test_a_bath_whose_temperature_is_a_function_of_time():
    """Cooled from 2000 K to nothing in 150 fs, the moments in a strong field end up along it."""
    atoms = Atoms("Fe" * 50, 10.0 * np.arange(150).reshape(50, 3))
    set_moments(atoms, 2.0 * random_directions(50, 0))
    atoms.calc = Zeeman([0.0, 0.0, 1000.0])
    SpinDynamics(atoms, FS, lambda t: 2000 * max(0.0, 1 - t / (150 * FS)), damping=0.5, rng=0).run(300)
    assert get_spins(atoms)[:, 2].min() > 0.99


def refused(**options):
    with pytest.raises(InputError) as error:
        SpinDynamics(**({"atoms": ring(), "timestep": FS} | options))
    return str(error.value)


def test_refused():
    assert refused(integrator="euler") == (
        "Expected integrator to be one of midpoint, sib, depondt, heun, got 'euler'."
    )
    assert refused(equation="llg") == "Expected equation to be one of gilbert, landau-lifshitz, got 'llg'."
    assert refused(moment_lengths="free") == "Expected moment_lengths to be one of fixed, model, got 'free'."
    assert refused(moment_lengths="model") == (
        "Expected a calculator that gives magmoms with moment_lengths='model', got SumCalculator without: use "
        "SpinCalculator, or moment_lengths='fixed'."
    )
    assert refused(frozen_moments=[12]) == "Expected frozen_moments as indices below 12 or 12 booleans, got [12]."
    assert refused(frozen_moments=np.ones(12, bool)) == (
        "Expected a moment that may move, got frozen_moments with all of them: leave some out."
    )
    dyn = SpinDynamics(ring(), FS, lambda t: -1.0, damping=0.1)
    with pytest.raises(InputError) as error:
        dyn.run(1)
    assert str(error.value) == (
        "Expected a temperature >= 0 in K at every time, got -1.0 at 0.5 fs: check the function of time given as "
        "temperature."
    )
    with pytest.raises(InputError) as error:
        SpinLatticeDynamics(ring(), FS, friction=0.1, spin_temperature_K=300)
    assert str(error.value) == (
        "Expected damping > 0 with spin_temperature_K, got none: no bath acts on the spins."
    )
