"""Fields that vary with time: values, clocks of terms, resonance and precession under SpinDynamics."""

import pickle

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.mixing import SumCalculator

from ase_spinml import Heisenberg, SpinDynamics, Zeeman, ac_field, pulsed_field, rotating_field
from ase_spinml.errors import InputError
from ase_spinml.moments import get_spins, set_moments
from ase_spinml.units import GYROMAGNETIC_RATIO, MU_B

PS = 1000 * units.fs


def pair():
    atoms = Atoms("Fe2", positions=[[0, 0, 0], [0, 0, 2.5]], cell=[9, 9, 9], pbc=True)
    set_moments(atoms, [[2.0, 0, 0], [0, 1.0, 0]])
    return atoms


def test_ac_field():
    field = ac_field((0, 0, 2.0), 0.5, phase_deg=60, static_T=(1, 0, 0))
    for picoseconds in (0.0, 0.3, 1.7):
        expected = [1, 0, 2 * np.cos(2 * np.pi * 0.5 * picoseconds + np.pi / 3)]
        np.testing.assert_allclose(field(picoseconds * PS), expected, atol=1e-13)


def test_rotating_field_turns_counter_clockwise_about_its_normal():
    field = rotating_field(3.0, 0.25, static_T=(0, 0, 1))
    np.testing.assert_allclose(field(0.0), [3, 0, 1], atol=1e-14)
    np.testing.assert_allclose(field(1.0 * PS), [0, 3, 1], atol=1e-14)
    np.testing.assert_allclose(rotating_field(3.0, -0.25, phase_deg=180)(1.0 * PS), [0, 3, 0], atol=1e-14)
    tilted = rotating_field(3.0, 0.25, normal=(1, 2, 2))
    normal = np.cross(tilted(0.0), tilted(1.0 * PS)) / 9
    np.testing.assert_allclose(normal, np.array([1, 2, 2]) / 3, atol=1e-14)
    np.testing.assert_allclose(tilted(0.0) / 3, np.array([8, -2, -2]) / np.sqrt(72), atol=1e-14)


def test_pulsed_field():
    field = pulsed_field((0, 4.0, 0), centre=2 * PS, width=0.5 * PS, static_T=(0, 0, 1))
    np.testing.assert_allclose(field(2 * PS), [0, 4, 1])
    np.testing.assert_allclose(field(1.5 * PS), [0, 4 * np.exp(-0.5), 1])
    assert field((2 + 0.5 * 2.3548200 / 2) * PS)[1] == pytest.approx(2.0, rel=1e-7)
    carried = pulsed_field((0, 4.0, 0), 2 * PS, 0.5 * PS, frequency_THz=1.0, phase_deg=90)
    np.testing.assert_allclose(carried(2 * PS), 0, atol=1e-14)
    np.testing.assert_allclose(carried(2.25 * PS), [0, -4 * np.exp(-0.125), 0], atol=1e-13)


def test_fields_can_be_sent_to_other_processes():
    for field in (ac_field((1, 2, 3), 1.0), rotating_field(1.0, 2.0), pulsed_field((1, 0, 0), 5.0, 1.0)):
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(field))(0.7), field(0.7))


def test_the_clock_of_a_term():
    atoms, calc = pair(), Zeeman(ac_field((10.0, 0, 0), 1.0))
    assert calc.time == 0.0
    assert calc.get_property("energy", atoms) == pytest.approx(-MU_B * 20)
    calc.time = 0.5 * PS
    assert calc.results == {}
    assert calc.get_property("energy", atoms) == pytest.approx(MU_B * 20)
    np.testing.assert_allclose(calc.field, [-10, 0, 0], atol=1e-13)
    kept = calc.results
    calc.time = 0.5 * PS
    assert calc.results is kept
    constant = Zeeman((10.0, 0, 0))
    constant.get_property("energy", atoms)
    constant.time = 3.0
    assert constant.time == 3.0
    assert constant.results  # a constant field has nothing to forget
    with pytest.raises(InputError, match="Expected a finite time in ASE time units, got nan"):
        calc.time = np.nan


def test_a_sum_follows_the_clock_of_its_terms():
    atoms, field = pair(), Zeeman(lambda time: [0, time, 0])
    atoms.calc = SumCalculator([Heisenberg([0.01]), field])
    start = atoms.get_potential_energy()
    field.time = 2.0
    atoms.calc.results = {}
    assert atoms.get_potential_energy() == pytest.approx(start - 2.0 * MU_B)


def test_a_rotating_field_at_resonance_turns_the_moment_over():
    """In the frame that turns with it only B_1 is left, so theta = gamma B_1 t, exactly (Rabi)."""
    static, amplitude = 20.0, 5.0
    frequency = GYROMAGNETIC_RATIO * MU_B * static / (2 * np.pi) * PS
    assert frequency == pytest.approx(0.027992 * static, rel=1e-4)
    atoms = Atoms("Fe")
    set_moments(atoms, [[0, 0, 2.2]])
    atoms.calc = Zeeman(rotating_field(amplitude, frequency, static_T=(0, 0, static)))
    dynamics = SpinDynamics(atoms, 4 * units.fs)
    dynamics.run(300)
    angle = GYROMAGNETIC_RATIO * MU_B * amplitude * dynamics.get_time()
    assert get_spins(atoms)[0, 2] == pytest.approx(np.cos(angle), abs=5e-5)
    assert abs(np.cos(angle)) < 0.9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ac_field(1.0, 1.0), "Expected amplitude_T to be three finite numbers in tesla, got 1.0"),
        (lambda: ac_field((1, 0, 0), "fast"), "Expected frequency_THz to be a finite number in THz, got fast"),
        (lambda: ac_field((1, 0, 0), 1.0, np.inf), "Expected phase_deg to be a finite number in degrees, got inf"),
        (lambda: ac_field((1, 0, 0), 1.0, static_T=5), "Expected static_T to be three finite numbers in tesla, got 5"),
        (
            lambda: rotating_field((1, 0, 0), 1.0),
            r"Expected amplitude_T to be a finite number in tesla, got \(1, 0, 0\)",
        ),
        (lambda: rotating_field(1, 1, (0, 0, 0)), "Expected normal to be three finite numbers, not all zero, got"),
        (lambda: pulsed_field(1, 0, 1), "Expected peak_T to be three finite numbers in tesla, got 1"),
        (lambda: pulsed_field((1, 0, 0), None, 1), "Expected centre to be a finite number in ASE time units, got None"),
        (lambda: pulsed_field((1, 0, 0), 0, 0), "Expected width above zero in ASE time units, got 0.0"),
    ],
)
def test_unusable_parameters_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("value", [1.0, [0, 0, np.nan], None, [[1, 2], [3]]])
def test_a_function_that_gives_no_field_is_refused(value):
    with pytest.raises(InputError, match=r"Expected field_T to be three finite numbers in tesla, got .* at time 0"):
        Zeeman(lambda time: value).get_property("energy", pair())
