"""Spin waves of a ferromagnet in the dynamics: their frequency against the closed form."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from ase_spinml.calculators.analytic import Heisenberg, NonMagnetic, Zeeman
from ase_spinml.dynamics.integrators import INTEGRATORS
from ase_spinml.dynamics.md import SpinDynamics
from ase_spinml.dynamics.timestep import suggest_timestep
from ase_spinml.errors import InputError
from ase_spinml.moments import get_spins, set_moments, unit_rows
from ase_spinml.units import GYROMAGNETIC_RATIO, MU_B

MOMENT = 2.2


def frequency(atoms, wave_vector, exchange, neighbours):
    """gamma J/m sum_delta (1 - cos q.delta) for E = -J over unique pairs, in rad/(ASE time)."""
    return GYROMAGNETIC_RATIO * exchange / MOMENT * np.sum(1 - np.cos(neighbours @ wave_vector))


def measured_frequency(atoms, wave_vector, expected, **options):
    """Slope of the phase of sum_i (e_x + i e_y) exp(-i q.r), after a wave of 2 degrees is set."""
    phase = atoms.positions @ wave_vector
    tilt = np.deg2rad(2)
    spins = np.stack([tilt * np.cos(phase), tilt * np.sin(phase), np.ones(len(atoms))], axis=1)
    set_moments(atoms, MOMENT * unit_rows(spins))
    timestep, steps = min(0.1 / expected, suggest_timestep(atoms, 0.005)), 80
    phases = []

    def record():
        e = get_spins(atoms)
        phases.append(np.angle(np.sum((e[:, 0] + 1j * e[:, 1]) * np.exp(-1j * phase))))

    dyn = SpinDynamics(atoms, timestep, **options)
    dyn.attach(record)
    dyn.run(steps)
    return np.polyfit(np.arange(len(phases)) * timestep, np.unwrap(phases), 1)[0]


def chain(n=24):
    positions = 2.5 * np.arange(n)[:, None] * np.array([1.0, 0.0, 0.0])
    atoms = Atoms(f"Fe{n}", positions, cell=[2.5 * n, 0, 0], pbc=[True, False, False])
    set_moments(atoms, np.tile([0, 0, MOMENT], (n, 1)))
    return atoms


@pytest.mark.parametrize("integrator", INTEGRATORS)
@pytest.mark.parametrize("mode", [1, 5, 12])
def test_magnons_of_a_chain(integrator, mode):
    atoms, exchange = chain(), 0.02
    atoms.calc = Heisenberg([exchange])
    wave_vector = np.array([2 * np.pi * mode / (24 * 2.5), 0, 0])
    expected = frequency(atoms, wave_vector, exchange, np.array([[2.5, 0, 0], [-2.5, 0, 0]]))
    measured = measured_frequency(atoms, wave_vector, expected, integrator=integrator)
    assert measured == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("direction", [(1, 0, 0), (1, 1, 0), (2, 1, 1)])
def test_magnons_of_bcc_iron(direction):
    a, exchange = 2.86, 0.019
    atoms = bulk("Fe", "bcc", a=a, cubic=True) * 4
    del atoms.arrays["initial_magmoms"]
    set_moments(atoms, np.tile([0, 0, MOMENT], (len(atoms), 1)))
    atoms.calc = Heisenberg([exchange])
    wave_vector = 2 * np.pi / (4 * a) * np.array(direction)
    signs = np.array(np.meshgrid([1, -1], [1, -1], [1, -1])).reshape(3, -1).T
    expected = frequency(atoms, wave_vector, exchange, 0.5 * a * signs)
    assert measured_frequency(atoms, wave_vector, expected) == pytest.approx(expected, rel=0.01)


def test_the_suggested_time_step_resolves_the_fastest_magnon():
    """The chain's fastest wave has 4 gamma J/m; the midpoint turns it slow by the fraction asked for."""
    atoms, exchange = chain(), 0.02
    atoms.calc = Heisenberg([exchange])
    fastest = 4 * GYROMAGNETIC_RATIO * exchange / MOMENT
    timestep = suggest_timestep(atoms, tolerance=0.01)
    assert timestep == pytest.approx(np.sqrt(0.12) / fastest, rel=0.05)
    assert suggest_timestep(atoms, tolerance=0.04) == pytest.approx(2 * timestep, rel=1e-6)
    assert suggest_timestep(atoms, 0.01, gyromagnetic_ratio=-1.0) == pytest.approx(GYROMAGNETIC_RATIO * timestep)
    spins = np.tile([0.0, 0.0, 1.0], (24, 1))
    spins[:, 0] = 0.02 * (-1.0) ** np.arange(24)
    set_moments(atoms, MOMENT * unit_rows(spins))
    phases = []
    dyn = SpinDynamics(atoms, timestep)
    dyn.attach(lambda: phases.append(np.arctan2(*get_spins(atoms)[0, [1, 0]])))
    dyn.run(40)
    measured = np.polyfit(np.arange(41) * timestep, np.unwrap(phases), 1)[0]
    assert measured == pytest.approx(fastest * (1 - 0.01), rel=0.002)


@pytest.mark.parametrize("height", [0.0, 0.005, 0.7])
def test_the_suggested_time_step_resolves_spins_across_their_field(height):
    atoms = Atoms("Fe2", positions=[[0, 0, 0], [9, 0, 0]])
    set_moments(atoms, MOMENT * unit_rows([[1.0, 0.0, height], [0.0, 1.0, height]]))
    atoms.calc = Zeeman([0, 0, 100.0])
    larmor = GYROMAGNETIC_RATIO * 100.0 * MU_B
    assert suggest_timestep(atoms, 0.01) == pytest.approx(np.sqrt(0.12) / larmor, rel=0.25)


def test_time_step_refused():
    atoms = chain()
    atoms.calc = Heisenberg([0.02])
    with pytest.raises(InputError) as error:
        suggest_timestep(atoms, tolerance=0.0)
    assert str(error.value) == "Expected tolerance > 0, a relative error of the precession, got 0.0."
    atoms.calc = NonMagnetic(EMT())
    with pytest.raises(InputError) as error:
        suggest_timestep(atoms)
    assert str(error.value) == (
        "Expected spins that something turns, got fields of zero however they turn: check the model."
    )
