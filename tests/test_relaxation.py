"""Spins, atoms or both go down to a minimum, with any optimizer of ASE."""

import io

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import BaseCalculator
from ase.calculators.emt import EMT
from ase.calculators.mixing import SumCalculator
from ase.constraints import FixAtoms
from ase.io import read
from ase.optimize import BFGS, FIRE, LBFGS, LBFGSLineSearch
from ase.optimize.fire2 import FIRE2

from ase_spinml import Heisenberg, Relaxation, SpinFilter, Zeeman, get_moments, get_spins, set_moments
from ase_spinml.calculators.analytic import NonMagnetic
from ase_spinml.errors import InputError
from ase_spinml.moments import random_directions, transverse


def square(n, calc, seed=1, lengths=2.0):
    atoms = Atoms("Fe", cell=[1, 1, 10], pbc=(1, 1, 0)).repeat((n, n, 1))
    set_moments(atoms, lengths * random_directions(len(atoms), seed))
    atoms.calc = calc
    return atoms


class Magnetostriction(BaseCalculator):
    """E = sum over neighbours of k/2 (r - r0)^2 - J exp(-(r - r0)) e_i.e_j on a closed chain along x of few atoms."""

    implemented_properties = ["energy", "free_energy", "forces", "exchange_fields"]
    stiffness, exchange, rest = 5.0, 0.05, 2.0

    def calculate(self, atoms, properties, system_changes):
        spins, lengths = get_spins(atoms), np.linalg.norm(get_moments(atoms), axis=1)
        energy, forces, gradient = 0.0, np.zeros((len(atoms), 3)), np.zeros((len(atoms), 3))
        for i in range(len(atoms) - 1):
            bond = atoms.positions[i + 1] - atoms.positions[i]
            r = np.linalg.norm(bond)
            strength = self.exchange * np.exp(self.rest - r)
            along = spins[i] @ spins[i + 1]
            energy += 0.5 * self.stiffness * (r - self.rest) ** 2 - strength * along
            pull = (self.stiffness * (r - self.rest) + strength * along) * bond / r
            forces[i], forces[i + 1] = forces[i] + pull, forces[i + 1] - pull
            gradient[i], gradient[i + 1] = (
                gradient[i] - strength * spins[i + 1],
                gradient[i + 1] - strength * spins[i],
            )
        fields = -transverse(gradient, spins) / lengths[:, None]
        self.results = {"energy": energy, "free_energy": energy, "forces": forces, "exchange_fields": fields}


def chain(seed=2):
    atoms = Atoms("Fe4", positions=[[2.0 * i, 0, 0] for i in range(4)])
    atoms.rattle(0.1, seed=seed)
    set_moments(atoms, 2.2 * random_directions(4, seed))
    atoms.calc = Magnetostriction()
    return atoms


def relaxed_bond():
    """Bond length at which a ferromagnetic pair is at rest: k (r - r0) = -J exp(r0 - r)."""
    x = 0.0
    for _ in range(50):
        x = -Magnetostriction.exchange * np.exp(-x) / Magnetostriction.stiffness
    return Magnetostriction.rest + x


@pytest.mark.parametrize(("exchange", "ground"), [([0.01], -0.02), ([-0.01, -0.006], -0.012)])
@pytest.mark.parametrize("scale", [1 / 3, 1.0, 3.0])
def test_random_spins_reach_the_ground_state_whatever_the_length_scale(exchange, ground, scale):
    atoms = square(20, Heisenberg(exchange))
    length_scale = scale * SpinFilter(atoms).length_scale
    relaxation = Relaxation(atoms, length_scale=length_scale)
    assert relaxation.run(torque_max=1e-6, steps=400)
    assert relaxation.torque < 1e-6
    assert atoms.get_potential_energy() / len(atoms) == pytest.approx(ground, abs=1e-7)
    assert relaxation.filter.evaluations < 250


def test_every_step_lowers_the_energy():
    atoms = square(12, SumCalculator([Heisenberg([0.01], [0.006]), Zeeman((0, 0, 25))]))
    relaxation = Relaxation(atoms)
    accepted = []
    relaxation.optimizer.attach(lambda: accepted.append(relaxation.optimizer._trial))
    assert relaxation.run(torque_max=1e-6)
    starts = [trial[2] for trial in accepted[1:]]
    assert np.diff(starts).max() < 1e-9
    assert starts[0] - starts[-1] > 0.1


@pytest.mark.parametrize("optimizer", [LBFGS, LBFGSLineSearch, BFGS, FIRE, FIRE2])
def test_any_optimizer_of_ase_will_do(optimizer):
    atoms = square(4, Heisenberg([0.01]), seed=3)
    relaxation = Relaxation(atoms, optimizer=optimizer)
    assert relaxation.run(torque_max=1e-5, steps=500)
    assert atoms.get_potential_energy() == pytest.approx(-0.32, abs=1e-7)


def test_the_filter_works_on_its_own():
    atoms = square(4, Heisenberg([0.01]), seed=3)
    assert FIRE(SpinFilter(atoms, torque_max=1e-5), logfile=None).run(steps=500)
    assert atoms.get_potential_energy() == pytest.approx(-0.32, abs=1e-7)


def test_lengths_stay_and_zero_moments_stay_zero():
    lengths = np.tile([[0.3], [1.0], [0.0], [2.7]], (9, 1))
    atoms = square(6, Heisenberg([0.01]), lengths=lengths)
    assert Relaxation(atoms).run(torque_max=1e-7)
    moments = get_moments(atoms)
    assert np.abs(np.linalg.norm(moments, axis=1) - lengths[:, 0]).max() < 1e-12
    assert not moments[lengths[:, 0] == 0].any()


@pytest.mark.parametrize("frozen", [[0, 5], np.arange(16) % 5 == 0])
def test_frozen_moments_stay(frozen):
    atoms = square(4, Heisenberg([0.01]), seed=4)
    before = get_moments(atoms)
    assert Relaxation(atoms, frozen_moments=frozen).run(torque_max=1e-7)
    assert np.array_equal(get_moments(atoms)[frozen], before[frozen])
    free = np.ones(16, bool)
    free[frozen] = False
    fields = atoms.calc.get_property("exchange_fields", atoms)
    assert np.abs(2.0 * fields[free]).max() < 1e-7
    assert np.abs(fields[frozen]).max() > 1e-3


def test_atoms_move_at_fixed_spins():
    atoms = chain()
    moments = get_moments(atoms)
    assert Relaxation(atoms, "atoms").run(fmax=1e-5)
    assert np.array_equal(get_moments(atoms), moments)
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 1e-5


def test_atoms_alone_need_no_more_than_usual():
    atoms = bulk("Cu", cubic=True) * 2
    atoms.rattle(0.1, seed=1)
    set_moments(atoms, np.ones((len(atoms), 3)))
    atoms.calc = NonMagnetic(EMT())
    relaxation = Relaxation(atoms, "atoms")
    assert relaxation.run(fmax=0.01)
    usual = bulk("Cu", cubic=True) * 2
    usual.rattle(0.1, seed=1)
    usual.calc = EMT()
    optimizer = LBFGS(usual, logfile=None)
    assert optimizer.run(fmax=0.01)
    assert atoms.get_potential_energy() == pytest.approx(usual.get_potential_energy(), abs=1e-3)
    assert relaxation.optimizer.nsteps <= optimizer.nsteps + 3


@pytest.mark.parametrize("scale", [0.02, None, 1.0])
def test_atoms_and_spins_relax_together(scale):
    atoms = chain()
    relaxation = Relaxation(atoms, "both", length_scale=scale)
    assert relaxation.run(fmax=1e-6, torque_max=1e-8, steps=500)
    assert relaxation.fmax < 1e-6
    assert relaxation.torque < 1e-8
    bonds = np.linalg.norm(np.diff(atoms.positions, axis=0), axis=1)
    assert bonds == pytest.approx([relaxed_bond()] * 3, abs=1e-6)
    assert np.abs(get_spins(atoms) - get_spins(atoms)[0]).max() < 1e-5


def test_constraints_of_ase_hold():
    atoms = chain()
    atoms.set_constraint(FixAtoms([0, 1]))
    fixed = atoms.positions[[0, 1]].copy()
    assert Relaxation(atoms, "both").run(fmax=1e-5, torque_max=1e-7, steps=500)
    assert np.array_equal(atoms.positions[[0, 1]], fixed)
    assert np.linalg.norm(atoms.get_forces(apply_constraint=False)[0]) > 1e-3


def test_log_and_trajectory(tmp_path):
    atoms = chain()
    log = io.StringIO()
    relaxation = Relaxation(atoms, "both", trajectory=str(tmp_path / "relax.traj"), logfile=log)
    assert relaxation.run(fmax=1e-4, torque_max=1e-6)
    lines = log.getvalue().splitlines()
    assert lines[0].split()[:2] == ["step", "time"]
    assert len(lines) == relaxation.optimizer.nsteps + 2
    assert float(lines[-1].split()[-1]) == pytest.approx(relaxation.torque, rel=1e-3)
    last = read(tmp_path / "relax.traj")
    assert np.abs(get_moments(last) - get_moments(atoms)).max() < 1e-14


def test_moments_changed_between_runs_are_taken_up():
    atoms = square(4, Heisenberg([0.01]), seed=3)
    relaxation = Relaxation(atoms)
    relaxation.run(steps=2)
    set_moments(atoms, 1.5 * random_directions(16, 9))
    assert relaxation.run(torque_max=1e-6)
    assert np.linalg.norm(get_moments(atoms), axis=1) == pytest.approx([1.5] * 16, abs=1e-12)
    assert atoms.get_potential_energy() == pytest.approx(-0.32, abs=1e-7)


def test_a_stationary_start_is_left_as_it_is():
    atoms = square(4, Heisenberg([0.01]))
    set_moments(atoms, np.tile([0.0, 0.0, 2.0], (16, 1)))
    before = get_moments(atoms)
    assert Relaxation(atoms).run(torque_max=1e-9)
    assert np.array_equal(get_moments(atoms), before)


def test_step_limit_is_reported():
    assert Relaxation(square(6, Heisenberg([0.01]))).run(torque_max=1e-12, steps=3) is False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"moves": "spin"}, "Expected moves to be 'spins', 'atoms' or 'both', got 'spin'"),
        ({"frozen_moments": [16]}, "Expected frozen_moments as indices below 16 or 16 booleans, got"),
        ({"frozen_moments": [True, False]}, "Expected frozen_moments as indices below 16 or 16 booleans"),
        ({"frozen_moments": [0.5]}, "Expected frozen_moments as indices below 16 or 16 booleans"),
        ({"frozen_moments": range(16)}, "Expected a moment above zero that may turn, got none"),
        ({"length_scale": 0.0}, "Expected length_scale > 0 in Angstrom per radian"),
    ],
)
def test_unusable_options(options, message):
    with pytest.raises(InputError, match=message):
        Relaxation(square(4, Heisenberg([0.01])), **options)


@pytest.mark.parametrize(("name", "value"), [("fmax", 0.0), ("torque_max", -1.0)])
def test_unusable_criteria(name, value):
    with pytest.raises(InputError, match=f"Expected {name} > 0"):
        Relaxation(square(4, Heisenberg([0.01]))).run(**{name: value})


def test_calculators_that_will_not_do():
    atoms = square(2, None)
    with pytest.raises(InputError, match="Expected atoms with a calculator"):
        Relaxation(atoms)
    atoms.calc = EMT()
    with pytest.raises(InputError, match="got EMT without"):
        Relaxation(atoms)


def test_fields_that_are_no_numbers():
    atoms = square(3, Heisenberg([0.01]))
    atoms.calc.terms = lambda atoms, moments: (np.zeros(9), np.full((9, 3), np.nan), np.zeros((9, 3)), np.zeros((3, 3)))
    with pytest.raises(InputError, match="Expected finite exchange fields"):
        Relaxation(atoms)
