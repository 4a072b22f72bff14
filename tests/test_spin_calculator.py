"""SpinCalculator through ASE: every result, sums of terms, nothing stale, a skin that changes nothing."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.calculators.mixing import SumCalculator
from ase.calculators.singlepoint import SinglePointCalculator

from ase_spinml import (
    SOSO,
    Heisenberg,
    NonMagnetic,
    SpinCalculator,
    SpinGAP,
    Zeeman,
    get_moments,
    set_moments,
)
from ase_spinml.errors import InputError, ModelFileError
from ase_spinml.moments import random_directions

RESULTS = ["energy", "free_energy", "energies", "forces", "stress", "magmoms", "exchange_fields"]


def nickel(seed, repeat=2):
    """Vibrating, strained fcc nickel with random moments: EMT knows the element too."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Ni", a=3.52, cubic=True) * (repeat, 1, 1)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.01 * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
    set_moments(atoms, 0.6 * random_directions(len(atoms), rng))
    return atoms


def training(seed):
    """Frame with random labels: their values do not matter here."""
    rng = np.random.default_rng(seed)
    atoms = nickel(seed)
    atoms.calc = SinglePointCalculator(atoms, energy=-5.0 * len(atoms) + rng.normal(), forces=rng.normal(size=(8, 3)))
    atoms.set_array("exchange_fields", 0.05 * rng.normal(size=(8, 3)))
    return atoms


@pytest.fixture(scope="module")
def model():
    descriptor = SOSO(["Ni", "Cu"], cutoff=3.6, n_max=4, n_max_angular=3, l_max=2, spin_orbit=True, magnetic=["Ni"])
    frames = [training(seed) for seed in range(5)]
    for frame in frames:
        frame.symbols[7] = "Cu"
        moments = get_moments(frame)
        moments[7] = 0
        set_moments(frame, moments)
    return SpinGAP(descriptor, n_sparse=10, optimize=None, sigma_forces=0.2).fit(frames)


@pytest.fixture
def atoms(model):
    atoms = nickel(20)
    atoms.calc = SpinCalculator(model)
    return atoms


def fresh(model, atoms, name):
    """A result of a new calculator for a copy of the atoms."""
    return SpinCalculator(model).get_property(name, atoms.copy())


def assert_close(value, expected):
    """Equal to rounding: the skin adds pairs beyond the cutoff, which count nothing but change the order of sums."""
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


# --- results ---


def test_it_gives_what_the_contract_names():
    assert SpinCalculator.implemented_properties == RESULTS


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_is_that_of_the_model(model, atoms, name):
    assert_close(atoms.calc.get_property(name, atoms), model.predict(nickel(20))[name])


def test_the_getters_of_ase(model, atoms):
    expected = model.predict(nickel(20))
    assert_close(atoms.get_potential_energy(), expected["energy"])
    assert_close(atoms.get_potential_energy(force_consistent=True), expected["free_energy"])
    assert_close(atoms.get_forces(), expected["forces"])
    assert_close(atoms.get_stress(), expected["stress"])
    assert_close(atoms.get_potential_energies(), expected["energies"])
    assert_close(atoms.get_magnetic_moments(), expected["magmoms"])


def test_types_and_shapes(atoms):
    assert type(atoms.get_potential_energy()) is float
    assert atoms.get_forces().shape == atoms.calc.get_property("exchange_fields", atoms).shape == (8, 3)
    assert atoms.get_forces().dtype == np.float64
    assert atoms.get_stress().shape == (6,)
    assert atoms.get_stress(voigt=False).shape == (3, 3)


def test_it_opens_a_model_file(model, atoms, tmp_path):
    model.save(tmp_path / "ni.model")
    for path in (tmp_path / "ni.model", str(tmp_path / "ni.model")):
        assert SpinCalculator(path).get_property("energy", nickel(20)) == atoms.get_potential_energy()


def test_a_missing_model_file(tmp_path):
    with pytest.raises(ModelFileError, match=r"there is no model file .*ni\.model: check the path"):
        SpinCalculator(tmp_path / "ni.model")


def test_an_unfitted_model():
    with pytest.raises(InputError, match=r"the model is not fitted: call fit\(frames\) before making a calculator"):
        SpinCalculator(SpinGAP(SOSO(["Ni"])))


def test_a_cluster_has_no_stress(model):
    atoms = nickel(20)
    atoms.set_cell(np.zeros((3, 3)))
    atoms.pbc = False
    atoms.calc = SpinCalculator(model)
    assert np.isfinite(atoms.get_forces()).all()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_single_points_are_not_changed_from_outside(atoms):
    fields = atoms.calc.get_property("exchange_fields", atoms)
    expected = fields.copy()
    fields[:] = 0
    np.testing.assert_array_equal(atoms.calc.get_property("exchange_fields", atoms), expected)


# --- only what is asked for ---


def test_fields_alone_compute_no_forces(atoms):
    atoms.calc.get_property("exchange_fields", atoms)
    assert not {"forces", "stress", "magmoms"} & set(atoms.calc.results)


def test_fields_with_and_without_forces_are_the_same(model, atoms):
    fields = atoms.calc.get_property("exchange_fields", atoms)
    atoms.get_forces()
    np.testing.assert_allclose(atoms.calc.get_property("exchange_fields", atoms), fields, rtol=1e-12, atol=1e-15)


def test_energies_are_a_free_result_of_fields(atoms):
    atoms.calc.get_property("exchange_fields", atoms)
    assert {"energy", "free_energy", "energies"} <= set(atoms.calc.results)


# --- uncertainty ---


def test_uncertainty_is_a_result_when_asked_for(model):
    calc = SpinCalculator(model, uncertainty=True)
    energy_std, field_std = model.uncertainty(nickel(20))
    assert calc.get_property("energy_std", nickel(20)) == energy_std > 0
    np.testing.assert_array_equal(calc.get_property("exchange_fields_std", nickel(20)), field_std)
    assert field_std.shape == (8, 3)
    assert field_std.min() > 0


def test_uncertainty_is_not_computed_unasked(model):
    calc = SpinCalculator(model, uncertainty=True)
    calc.get_property("forces", nickel(20))
    assert not {"energy_std", "exchange_fields_std"} & set(calc.results)


def test_uncertainty_of_one_calculator_leaves_others_alone(model):
    SpinCalculator(model, uncertainty=True)
    with pytest.raises(PropertyNotImplementedError):
        SpinCalculator(model).get_property("energy_std", nickel(20))


# --- sums ---


def nickel_terms(model):
    return [
        SpinCalculator(model),
        Heisenberg(exchange=[0.01], reference=bulk_reference()),
        Zeeman([0, 3.0, 1.0]),
        NonMagnetic(EMT()),
    ]


def bulk_reference():
    reference = bulk("Ni", a=3.52, cubic=True) * (2, 1, 1)
    set_moments(reference, np.full(8, 0.6), axis=(0, 0, 1))
    return reference


@pytest.mark.parametrize("name", ["energy", "free_energy", "forces", "stress", "exchange_fields"])
def test_terms_add_up(model, name):
    total = SumCalculator(nickel_terms(model)).get_property(name, nickel(20))
    parts = [term.get_property(name, nickel(20)) for term in nickel_terms(model)]
    np.testing.assert_allclose(total, sum(parts), rtol=1e-12, atol=1e-14)


def test_a_sum_of_models_still_has_one_set_of_moments(model):
    """Only SpinCalculator reports magmoms, so a sum does not pretend to have them."""
    assert "magmoms" not in SumCalculator(nickel_terms(model)).implemented_properties


# --- nothing stale ---


def turn_a_moment(atoms):
    moments = get_moments(atoms)
    moments[2] = moments[2][[1, 2, 0]]
    set_moments(atoms, moments)


def lengthen_moments(atoms):
    set_moments(atoms, 2 * get_moments(atoms))


def move_a_little(atoms):
    atoms.positions[3] += 0.01


def move_far(atoms):
    atoms.positions[3] += [0.5, 0.2, 0]


def strain(atoms):
    atoms.set_cell(atoms.cell.array * 1.01, scale_atoms=True)


def grow_the_cell_alone(atoms):
    atoms.set_cell(atoms.cell.array * 1.01)


def open_a_direction(atoms):
    atoms.pbc = (False, True, True)


def exchange_an_element(atoms):
    atoms.symbols[1] = "Cu"


def move_and_turn(atoms):
    move_a_little(atoms)
    turn_a_moment(atoms)


CHANGES = [
    turn_a_moment,
    lengthen_moments,
    move_a_little,
    move_far,
    strain,
    grow_the_cell_alone,
    open_a_direction,
    exchange_an_element,
    move_and_turn,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_every_change_of_the_atoms_is_noticed(model, atoms, change):
    for name in ("energy", "forces", "exchange_fields"):
        atoms.calc.get_property(name, atoms)
    before = atoms.calc.get_property("exchange_fields", atoms)
    change(atoms)
    for name in ("exchange_fields", "energy", "forces"):
        np.testing.assert_allclose(
            atoms.calc.get_property(name, atoms), fresh(model, atoms, name), rtol=1e-11, atol=1e-12
        )
    assert np.abs(atoms.calc.get_property("exchange_fields", atoms) - before).max() > 1e-7


def test_another_number_of_atoms(model, atoms):
    atoms.get_forces()
    other = nickel(21, repeat=3)
    other.calc = atoms.calc
    np.testing.assert_allclose(other.get_forces(), fresh(model, other, "forces"), rtol=1e-12, atol=1e-13)


def test_two_frames_that_take_turns(model, atoms):
    other = nickel(21)
    other.calc = atoms.calc
    for _ in range(2):
        for frame in (atoms, other):
            np.testing.assert_allclose(frame.get_forces(), fresh(model, frame, "forces"), rtol=1e-11, atol=1e-12)


def zero_moment(atoms):
    moments = get_moments(atoms)
    moments[2] = 0
    set_moments(atoms, moments)


def collinear(atoms):
    atoms.set_array("initial_magmoms", None)
    atoms.set_initial_magnetic_moments([0.6] * len(atoms))


def nan_position(atoms):
    atoms.positions[3, 1] = np.nan


def foreign_element(atoms):
    atoms.symbols[1] = "Au"


SPOILT = {
    zero_moment: r"Ni is magnetic in this model, but atom 2 has a zero moment: set its moment vector",
    collinear: r"got collinear moments of shape \(8,\)",
    nan_position: r"positions and cell must be finite numbers in Angstrom, got NaN or infinity",
    foreign_element: r"the descriptor knows the species Ni, Cu, but the frame contains Au",
}


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_a_refused_frame_leaves_nothing_behind(model, atoms, spoil):
    atoms.get_forces()
    bad = atoms.copy()
    bad.calc = atoms.calc
    spoil(bad)
    for _ in range(2):  # still refused when asked again
        with pytest.raises(InputError, match=SPOILT[spoil]):
            bad.get_potential_energy()
    np.testing.assert_allclose(atoms.get_forces(), fresh(model, atoms, "forces"), rtol=1e-12, atol=1e-13)


def test_a_frame_after_a_refused_one_that_moved_beyond_the_skin(model, atoms):
    """The neighbour list may have been found for the bad frame: it must not serve the good one."""
    atoms.get_forces()
    bad = atoms.copy()
    move_far(bad)
    zero_moment(bad)
    bad.calc = atoms.calc
    with pytest.raises(InputError):
        bad.get_forces()
    np.testing.assert_allclose(atoms.get_forces(), fresh(model, atoms, "forces"), rtol=1e-11, atol=1e-12)


# --- dynamics ---


def test_a_walk_with_the_skin_equals_fresh_calculators(model, atoms):
    """Small and large steps of atoms and spins, fields alone or with forces, as an integrator asks."""
    rng = np.random.default_rng(0)
    builds = []
    for step in range(25):
        atoms.positions += rng.normal(scale=0.02, size=(8, 3))
        names = ("exchange_fields", "forces")
        for _ in range(2):
            set_moments(atoms, 0.6 * random_directions(8, rng))
            fields = atoms.calc.get_property("exchange_fields", atoms)
            np.testing.assert_allclose(fields, fresh(model, atoms, "exchange_fields"), rtol=0, atol=1e-12)
        for name in names if step % 2 else reversed(names):
            value, expected = atoms.calc.get_property(name, atoms), fresh(model, atoms, name)
            np.testing.assert_allclose(value, expected, rtol=0, atol=1e-12 * max(1, np.abs(expected).max()))
        builds.append(atoms.calc._neighbors.builds)
    assert 1 < builds[-1] < 15


# --- devices ---


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", torch.device("cuda")])
def test_refuses_a_device_that_is_not_there(model, device):
    expected = rf"Expected a CUDA device for device='{device}', got none: use device='cpu'\."
    with pytest.raises(InputError, match=expected):
        SpinCalculator(model, device=device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
@pytest.mark.parametrize("name", RESULTS)
def test_a_cuda_device_gives_the_same_results(model, atoms, name):
    value = SpinCalculator(model, device="cuda").get_property(name, nickel(20))
    np.testing.assert_allclose(value, atoms.calc.get_property(name, atoms), rtol=1e-10, atol=1e-11)


def test_the_cpu_by_name(model, atoms):
    assert SpinCalculator(model, device="cpu").get_property("energy", nickel(20)) == atoms.get_potential_energy()


def test_the_process_wide_default_type_stays(atoms):
    before = torch.get_default_dtype()
    atoms.get_forces()
    assert torch.get_default_dtype() == before == torch.float32


# --- small systems ---


def test_a_single_atom_far_from_everything(model):
    atom = Atoms("Ni")
    set_moments(atom, [[0, 0, 0.6]])
    atom.calc = SpinCalculator(model)
    assert atom.get_forces().tolist() == [[0, 0, 0]]
    assert atom.calc.get_property("exchange_fields", atom).tolist() == [[0, 0, 0]]


def test_unknown_devices_are_refused(model):
    expected = r"Expected device to be one that torch knows, 'cpu' or 'cuda', got 'banana'\."
    with pytest.raises(InputError, match=expected):
        SpinCalculator(model, device="banana")
