"""Anisotropy: closed forms, signs, derivatives, choice of atoms, a precession frequency."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from test_analytic import assert_relative, numerical_fields

from ase_spinml import Anisotropy, SpinDynamics
from ase_spinml.errors import InputError
from ase_spinml.moments import get_moments, get_spins, random_directions, set_moments
from ase_spinml.units import GYROMAGNETIC_RATIO


def atom(moment):
    atoms = Atoms("Fe", cell=[3, 3, 3], pbc=True)
    set_moments(atoms, [moment])
    return atoms


def crystal(seed=5):
    rng = np.random.default_rng(seed)
    atoms = bulk("NiO", "rocksalt", a=4.2, cubic=True)
    moments = rng.uniform(0.5, 2.5, (8, 1)) * random_directions(8, rng)
    moments[2] = 0
    set_moments(atoms, moments)
    return atoms


def test_uniaxial_energy_by_angle():
    for degrees in (0, 35, 90, 180):
        cosine = np.cos(np.radians(degrees))
        moment = 1.7 * np.array([0, np.sin(np.radians(degrees)), cosine])
        energy = Anisotropy(0.003, quartic=-0.001).get_property("energy", atom(moment))
        assert energy == pytest.approx(-0.003 * cosine**2 + 0.001 * cosine**4, abs=1e-16)


def test_cubic_energies_of_the_main_directions():
    calc = Anisotropy(cubic=0.012)
    assert calc.get_property("energy", atom([0, -2, 0])) == 0
    assert calc.get_property("energy", atom([1, 0, 1])) == pytest.approx(0.003, rel=1e-14)
    assert calc.get_property("energy", atom([1, -1, 1])) == pytest.approx(0.004, rel=1e-14)
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    assert Anisotropy(cubic=0.012, axes=turned).get_property("energy", atom(turned[1])) == pytest.approx(0, abs=1e-16)
    assert Anisotropy(cubic=0.012, axes=turned).get_property("energy", atom(turned.sum(axis=0))) == pytest.approx(0.004)


@pytest.mark.parametrize(
    "constants",
    [
        {"uniaxial": 0.003, "axis": (1, 2, -2)},
        {"quartic": 0.002, "axis": (0, 1, 1)},
        {"cubic": -0.004, "axes": np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]},
        {"uniaxial": 0.003, "quartic": 0.002, "cubic": 0.004, "axis": (1, 2, -2), "species": ["Ni"]},
    ],
)
def test_fields_are_minus_the_derivative_and_transverse(constants):
    atoms = crystal()
    magnetic = get_moments(atoms).any(axis=1)
    calc = Anisotropy(**constants)
    fields = calc.get_property("exchange_fields", atoms)
    assert_relative(fields[magnetic], numerical_fields(atoms[magnetic], calc), 1e-8)
    assert not fields[~magnetic].any()
    np.testing.assert_allclose(np.sum(fields * get_spins(atoms), axis=1), 0, atol=1e-17)
    energies = calc.get_property("energies", atoms)
    assert energies.sum() == pytest.approx(calc.get_property("energy", atoms), rel=1e-14)
    assert not calc.get_property("forces", atoms).any()
    assert not calc.get_property("stress", atoms).any()


def test_choice_of_atoms():
    atoms = crystal()
    nickel = atoms.symbols == "Ni"
    every = Anisotropy(0.003).get_property("energies", atoms)
    for calc in (Anisotropy(0.003, species="Ni"), Anisotropy(0.003, indices=np.flatnonzero(nickel))):
        np.testing.assert_array_equal(calc.get_property("energies", atoms), np.where(nickel, every, 0))
        assert not calc.get_property("exchange_fields", atoms)[~nickel].any()
    assert Anisotropy(0.003, indices=[]).get_property("energy", atoms) == 0


def test_a_moment_precesses_about_its_easy_axis_at_two_k_cosine_over_m():
    """H = 2 K cos(theta) a / m, less its part along e; counter-clockwise like about a field."""
    strength, length, tilt = 0.001, 2.2, np.radians(30)
    atoms = atom(length * np.array([np.sin(tilt), 0, np.cos(tilt)]))
    atoms.calc = Anisotropy(strength)
    dynamics = SpinDynamics(atoms, 1.0 * units.fs)
    dynamics.run(50)
    x, y, z = get_spins(atoms)[0]
    omega = GYROMAGNETIC_RATIO * 2 * strength * np.cos(tilt) / length
    assert np.arctan2(y, x) == pytest.approx(omega * dynamics.get_time(), rel=1e-5)
    assert z == pytest.approx(np.cos(tilt), abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Expected uniaxial, quartic or cubic other than zero, got none: give one in eV per atom"),
        ({"uniaxial": [0.1]}, r"Expected uniaxial to be a finite number in eV, got \[0.1\]"),
        ({"cubic": np.nan}, "Expected cubic to be a finite number in eV, got nan"),
        ({"quartic": "much"}, "Expected quartic to be a finite number in eV, got much"),
        (
            {"uniaxial": 1, "axis": (0, 0, 0)},
            r"Expected axis to be three finite numbers, not all zero, got \(0, 0, 0\)",
        ),
        ({"cubic": 1, "axes": np.ones((3, 3))}, r"Expected axes to be three orthonormal rows, shape \(3, 3\), got"),
        ({"uniaxial": 1, "species": "Fe", "indices": [0]}, "Expected species or indices, got both: give one of them"),
        (
            {"uniaxial": 1, "species": ["Fe", "Xx"]},
            r"Expected species to be chemical symbols such as 'Fe', got \['Xx'\]",
        ),
        ({"uniaxial": 1, "indices": [-1]}, r"Expected indices to be a list of whole numbers from zero, got \[-1\]"),
        ({"uniaxial": 1, "indices": [0.5]}, r"Expected indices to be a list of whole numbers from zero, got \[0.5\]"),
    ],
)
def test_unusable_parameters_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Anisotropy(**arguments)


def test_indices_beyond_the_frame_are_refused():
    with pytest.raises(InputError, match="Expected indices below the number of atoms, 8, got 8: give the term"):
        Anisotropy(0.1, indices=[1, 8]).get_property("energy", crystal())
