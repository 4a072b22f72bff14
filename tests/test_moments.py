"""Moments on Atoms: the setter and getters, geometry helpers, and the facts about ASE they are built around."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.calculators.mixing import SumCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from ase_spinml.calculators.analytic import Heisenberg, NonMagnetic, Zeeman
from ase_spinml.errors import InputError
from ase_spinml.moments import (
    cone,
    get_moments,
    get_spins,
    magnetic_mask,
    random_directions,
    rotate,
    set_moments,
    spin_spiral,
    store_results,
)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def atoms(rng):
    atoms = bulk("Fe", cubic=True) * (2, 1, 1)
    set_moments(atoms, 2.2 * random_directions(len(atoms), rng))
    return atoms


def turn(rng, sign=1):
    """Random orthogonal matrix with the given determinant."""
    matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return sign * np.linalg.det(matrix) * matrix


def angle_to(a, b):
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), np.sum(a * b, axis=-1)))


# --- setter and getters ---


def test_bulk_iron_presets_scalars_and_ase_refuses_vectors_but_the_setter_does_not(rng):
    atoms = bulk("Fe", cubic=True)
    assert atoms.arrays["initial_magmoms"].shape == (2,)
    with pytest.raises(ValueError, match="wrong shape"):
        atoms.set_initial_magnetic_moments(np.ones((2, 3)))
    moments = rng.normal(size=(2, 3))
    set_moments(atoms, moments)
    np.testing.assert_array_equal(get_moments(atoms), moments)
    np.testing.assert_array_equal(atoms.get_initial_magnetic_moments(), moments)


def test_the_setter_keeps_a_copy_and_the_getter_gives_one():
    atoms = Atoms("Fe")
    moments = np.array([[1, 2, 3]])
    set_moments(atoms, moments)
    moments[:] = 0
    get_moments(atoms)[:] = 7.0
    assert get_moments(atoms).dtype == float
    np.testing.assert_array_equal(get_moments(atoms), [[1.0, 2.0, 3.0]])


def test_collinear_moments_are_lifted_along_an_axis():
    atoms = Atoms("Fe3", positions=np.eye(3))
    set_moments(atoms, [2.2, -2.0, 0], axis=(0, 3, 4))
    np.testing.assert_allclose(get_moments(atoms), [[0, 1.32, 1.76], [0, -1.2, -1.6], [0, 0, 0]], atol=1e-15)
    assert magnetic_mask(atoms).tolist() == [True, True, False]


def test_spins_are_unit_rows_and_zero_for_a_zero_moment(rng):
    atoms = Atoms("FeO", positions=[[0, 0, 0], [0, 0, 2]])
    moment = rng.normal(size=3)
    set_moments(atoms, [moment, [0, 0, 0]])
    spins = get_spins(atoms)
    np.testing.assert_allclose(spins[0], moment / np.linalg.norm(moment), rtol=1e-15)
    assert not spins[1].any()


def test_a_frame_without_atoms_is_no_special_case():
    atoms = Atoms()
    set_moments(atoms, np.zeros((0, 3)))
    assert get_spins(atoms).shape == (0, 3)


@pytest.mark.parametrize(
    ("moments", "axis", "message"),
    [
        ([2.2, 2.2], None, r"got 2 collinear moments: give the direction .* axis=\(0, 0, 1\)"),
        (np.ones((3, 3)), None, r"Expected moment vectors of shape \(2, 3\), got shape \(3, 3\)"),
        (np.ones((2, 2)), None, r"Expected moment vectors of shape \(2, 3\), got shape \(2, 2\)"),
        (2.2, None, r"Expected moment vectors of shape \(2, 3\), got shape \(\)"),
        ([[0, 0, np.nan], [0, 0, 1]], None, "Expected moments to be finite numbers, got NaN or infinity"),
        ([[0, 0, np.inf], [0, 0, 1]], None, "Expected moments to be finite numbers, got NaN or infinity"),
        (np.ones((2, 3)), (0, 0, 1), r"Expected 2 collinear moments, .* got shape \(2, 3\): leave axis out"),
        ([2.2, 2.2], (0, 0, 0), r"Expected axis to be one non-zero vector of shape \(3,\), got \[0.0, 0.0, 0.0\]"),
        ([2.2, 2.2], (0, 1), r"Expected axis to be one non-zero vector of shape \(3,\), got \[0.0, 1.0\]"),
    ],
)
def test_wrong_moments_are_refused_and_leave_the_frame_alone(moments, axis, message):
    atoms = bulk("Fe", cubic=True)
    with pytest.raises(InputError, match=message):
        set_moments(atoms, moments, axis=axis)
    assert atoms.arrays["initial_magmoms"].tolist() == [2.3, 2.3]


@pytest.mark.parametrize("getter", [get_moments, get_spins, magnetic_mask])
def test_getters_refuse_what_they_would_have_to_guess(getter):
    with pytest.raises(InputError, match=r"got collinear moments of shape \(1,\): lift them with .*axis=\(0, 0, 1\)"):
        getter(bulk("Fe"))
    with pytest.raises(
        InputError, match=r"Expected a frame with moments .*, got Cu without: set them with set_moments"
    ):
        getter(bulk("Cu"))
    atoms = Atoms("Fe")
    atoms.arrays["initial_magmoms"] = np.ones((1, 4))
    with pytest.raises(InputError, match=r"Expected moment vectors of shape \(1, 3\), got shape \(1, 4\)"):
        getter(atoms)
    atoms.arrays["initial_magmoms"] = np.full((1, 3), np.nan)
    with pytest.raises(InputError, match="Expected moments to be finite numbers, got NaN or infinity"):
        getter(atoms)


# --- rotation ---


def test_ase_rotation_leaves_moments_alone_and_ours_turns_them(atoms, rng):
    before = get_moments(atoms)
    atoms.rotate(30, "z", rotate_cell=True)
    np.testing.assert_array_equal(get_moments(atoms), before)
    rotation, positions = turn(rng), atoms.positions.copy()
    rotate(atoms, rotation)
    np.testing.assert_allclose(get_moments(atoms), before @ rotation.T, rtol=1e-14)
    np.testing.assert_array_equal(atoms.positions, positions)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_crystal_turns_with_polar_and_the_moments_with_axial_vectors(atoms, rng, sign):
    atoms.set_momenta(rng.normal(size=(4, 3)))
    atoms.set_array("exchange_fields", rng.normal(size=(4, 3)))
    old, rotation = atoms.copy(), turn(rng, sign)
    rotate(atoms, rotation, positions=True)
    np.testing.assert_allclose(atoms.positions, old.positions @ rotation.T, atol=1e-14)
    np.testing.assert_allclose(atoms.cell.array, old.cell.array @ rotation.T, atol=1e-14)
    np.testing.assert_allclose(atoms.get_momenta(), old.get_momenta() @ rotation.T, atol=1e-14)
    np.testing.assert_allclose(get_moments(atoms), sign * get_moments(old) @ rotation.T, atol=1e-14)
    np.testing.assert_allclose(
        atoms.arrays["exchange_fields"], sign * old.arrays["exchange_fields"] @ rotation.T, atol=1e-14
    )


def test_inversion_leaves_moments_alone(atoms):
    old = atoms.copy()
    rotate(atoms, -np.eye(3), positions=True)
    np.testing.assert_array_equal(get_moments(atoms), get_moments(old))
    np.testing.assert_array_equal(atoms.positions, -old.positions)


def test_turning_the_spins_alone_drops_the_fields_of_the_old_state(atoms, rng):
    atoms.set_array("exchange_fields", np.ones((4, 3)))
    rotate(atoms, turn(rng))
    assert "exchange_fields" not in atoms.arrays


@pytest.mark.parametrize("matrix", [2 * np.eye(3), np.eye(2), np.zeros((3, 3))])
def test_a_matrix_that_is_no_rotation_is_refused(atoms, matrix):
    with pytest.raises(InputError, match=r"Expected rotation to be an orthogonal matrix of shape \(3, 3\)"):
        rotate(atoms, matrix)


# --- directions ---


def test_random_directions_are_even_on_the_sphere_and_repeatable():
    directions = random_directions(20000, rng=1)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0, rtol=1e-14)
    np.testing.assert_allclose(directions.mean(axis=0), 0.0, atol=0.02)
    np.testing.assert_allclose(directions.T @ directions / 20000, np.eye(3) / 3, atol=0.01)
    np.testing.assert_array_equal(directions, random_directions(20000, rng=np.random.default_rng(1)))


@pytest.mark.parametrize("angle", [0.0, 1e-6, 30.0, 90.0, 180.0])
def test_cone_gives_directions_at_exactly_the_angle(angle, rng):
    axes = 2.0 * random_directions(500, rng)
    directions = cone(axes, angle, rng=0)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0, rtol=1e-14)
    np.testing.assert_allclose(angle_to(directions, axes), angle, atol=1e-12)


def test_cone_azimuths_are_even():
    directions = cone(np.tile([0, 0, 1.0], (20000, 1)), 60, rng=2)
    np.testing.assert_allclose(directions.mean(axis=0), [0, 0, 0.5], atol=0.02)


def test_filled_cone_is_even_on_the_cap():
    directions = cone(np.tile([1.0, 0, 0], (20000, 1)), 60, rng=2, filled=True)
    assert directions[:, 0].min() >= 0.5
    np.testing.assert_allclose(directions.mean(axis=0), [0.75, 0, 0], atol=0.01)  # height is even between 1/2 and 1
    np.testing.assert_allclose(directions[:, 0].var(), 1 / 48, atol=5e-4)


def test_cone_keeps_nonmagnetic_rows_zero():
    directions = cone([[0, 0, 2.0], [0, 0, 0]], 20, rng=0)
    assert directions[0].any()
    assert not directions[1].any()


@pytest.mark.parametrize("angle", [-1, 181, np.nan])
def test_cone_refuses_angles_that_are_none(angle):
    with pytest.raises(InputError, match="Expected an angle between 0 and 180 degrees, got"):
        cone(np.eye(3), angle)


def test_cone_refuses_axes_of_the_wrong_shape():
    with pytest.raises(InputError, match=r"Expected axes of shape \(n, 3\), one per direction, got shape \(3,\)"):
        cone((0, 0, 1), 10)


# --- spirals ---


def test_flat_spiral_turns_counterclockwise_about_the_axis():
    atoms = bulk("Fe", "sc", a=2.5) * (1, 1, 4)
    order = np.argsort(atoms.positions[:, 2])
    spins = spin_spiral(atoms, q=(0, 0, 1))[order]
    np.testing.assert_allclose(spins, [[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]], atol=1e-15)


def test_conical_spiral_keeps_its_angle_and_axis(rng):
    atoms = bulk("Fe", cubic=True) * (3, 2, 2)
    axis = rng.normal(size=3)
    spins = spin_spiral(atoms, q=(1, -2, 0), axis=axis, angle=25)
    np.testing.assert_allclose(np.linalg.norm(spins, axis=1), 1.0, rtol=1e-14)
    np.testing.assert_allclose(angle_to(spins, axis), 25, rtol=1e-12)
    np.testing.assert_allclose(spins.mean(axis=0), np.cos(np.radians(25)) * axis / np.linalg.norm(axis), atol=1e-14)


def test_spiral_along_an_open_direction_may_have_any_pitch():
    atoms = Atoms("Fe3", positions=[[0, 0, 0], [1, 0, 0], [2, 0, 0]], cell=[4, 0, 0])
    np.testing.assert_allclose(spin_spiral(atoms, q=(0.5, 0, 0))[:, 1], np.sin(np.pi / 4 * np.arange(3)), atol=1e-15)


@pytest.mark.parametrize(
    ("q", "kwargs", "message"),
    [
        ((0.5, 0, 0), {}, r"Expected whole numbers for q along periodic directions, got \[0.5, 0.0, 0.0\]: repeat"),
        ((0, 1), {}, r"Expected q of shape \(3,\), got shape \(2,\)"),
        ((0, 0, np.nan), {}, "Expected q to be finite numbers"),
        ((1, 0, 0), {"axis": (0, 0, 0)}, "Expected axis to be one non-zero vector"),
        ((1, 0, 0), {"angle": 200}, "Expected an angle between 0 and 180 degrees, got 200"),
    ],
)
def test_spirals_that_make_no_sense_are_refused(q, kwargs, message):
    with pytest.raises(InputError, match=message):
        spin_spiral(bulk("Fe"), q, **kwargs)


def test_spiral_without_a_cell_is_refused():
    with pytest.raises(InputError, match="Expected q zero where the cell vector is zero"):
        spin_spiral(Atoms("Fe"), (1, 0, 0))


# --- results in files, and what ASE does with moments ---


@pytest.fixture
def evaluated(rng):
    atoms = bulk("Cu", cubic=True)
    set_moments(atoms, 1.5 * random_directions(4, rng))
    atoms.calc = SumCalculator([NonMagnetic(EMT()), Heisenberg([0.01]), Zeeman((0, 0, 5))])
    return atoms


def test_ase_knows_no_exchange_fields(evaluated):
    with pytest.raises(AssertionError, match="exchange_fields"):
        SinglePointCalculator(evaluated, exchange_fields=np.zeros((4, 3)))


def test_stored_results_survive_extxyz(evaluated, tmp_path):
    frame = store_results(evaluated)
    write(tmp_path / "frame.extxyz", frame)
    back = read(tmp_path / "frame.extxyz")
    np.testing.assert_allclose(back.arrays["exchange_fields"], frame.arrays["exchange_fields"], atol=1e-8)
    np.testing.assert_allclose(get_moments(back), get_moments(evaluated), atol=1e-8)
    assert back.get_potential_energy() == pytest.approx(evaluated.get_potential_energy(), abs=1e-8)
    np.testing.assert_allclose(back.get_forces(), evaluated.get_forces(), atol=1e-8)
    np.testing.assert_allclose(back.get_stress(), evaluated.get_stress(), atol=1e-8)


def test_stored_results_in_a_trajectory_keep_moments_but_not_fields(evaluated, tmp_path):
    frame = store_results(evaluated)
    write(tmp_path / "frame.traj", frame)
    back = read(tmp_path / "frame.traj")
    np.testing.assert_array_equal(get_moments(back), get_moments(evaluated))
    assert back.get_potential_energy() == evaluated.get_potential_energy()
    assert "exchange_fields" not in back.arrays


def test_stored_results_are_a_copy_and_replace_old_fields(evaluated):
    evaluated.set_array("exchange_fields", np.zeros(4))
    frame = store_results(evaluated)
    assert frame is not evaluated
    np.testing.assert_array_equal(
        frame.arrays["exchange_fields"], evaluated.calc.get_property("exchange_fields", evaluated)
    )
    assert not evaluated.arrays["exchange_fields"].any()


def test_results_per_frame_go_into_info_and_missing_ones_are_left_out(evaluated):
    class Uncertain(Heisenberg):
        implemented_properties = [*Heisenberg.implemented_properties, "energy_std", "dipole"]

        def calculate(self, atoms, properties, system_changes):
            super().calculate(atoms, properties, system_changes)
            self.results["energy_std"] = 0.25

    evaluated.calc = Uncertain([0.01])
    frame = store_results(evaluated)
    assert frame.info["energy_std"] == 0.25
    with pytest.raises(PropertyNotImplementedError):
        frame.calc.get_property("dipole")


def test_a_frame_without_calculator_has_no_results_to_store(atoms):
    with pytest.raises(InputError, match="Expected a frame with a calculator, got one without"):
        store_results(atoms)


def test_extxyz_keeps_eight_decimals_and_get_spins_renormalises(tmp_path, rng):
    atoms = Atoms("Fe50", positions=rng.normal(size=(50, 3)))
    directions = random_directions(50, rng)
    set_moments(atoms, directions)
    write(tmp_path / "spins.extxyz", atoms)
    back = read(tmp_path / "spins.extxyz")
    assert np.abs(np.linalg.norm(get_moments(back), axis=1) - 1).max() > 1e-10
    np.testing.assert_allclose(np.linalg.norm(get_spins(back), axis=1), 1.0, rtol=4e-16)
    np.testing.assert_allclose(get_spins(back), directions, atol=2e-8)


def test_atoms_equality_ignores_moments(atoms, rng):
    other = atoms.copy()
    set_moments(other, random_directions(4, rng))
    assert other == atoms
    assert other in [atoms]


def test_turning_a_moment_makes_results_stale(evaluated):
    before = evaluated.get_potential_energy()
    set_moments(evaluated, np.tile([0, 0, 1.5], (4, 1)))
    assert evaluated.get_potential_energy() < before
