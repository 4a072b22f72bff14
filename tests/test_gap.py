"""SpinGAP against closed-form teachers: labels in any mixture, kernels, derivatives, files, baselines, bad input."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.neighborlist import neighbor_list
from ase.stress import full_3x3_to_voigt_6_stress

from ase_spinml import (
    SOSO,
    SpinCalculator,
    SpinGAP,
    SpinLatticeDynamics,
    get_moments,
    get_spins,
    load_model,
    set_moments,
)
from ase_spinml.descriptors.basis import cutoff_function
from ase_spinml.errors import InputError
from ase_spinml.models.kernels import Linear
from ase_spinml.moments import random_directions, transverse, unit_rows

CUTOFF = 4.0
PAIR = SOSO(["Fe"], cutoff=CUTOFF, n_max=8, spin_l_max=1, body_order=2, spin_width=0.0)
QUIET = {"sigma_energy": 1e-5, "sigma_forces": 1e-4, "sigma_stress": 1e-5, "sigma_field": 1e-5}


# --- the teacher: E = sum over pairs of V(r) - J(r) e_i.e_j ---


def exchange(r):
    return 0.05 * np.exp(-(((r - 2.4) / 0.8) ** 2)) * cutoff_function(r, CUTOFF)


def exchange_slope(r, h=1e-5):
    return (exchange(r + h) - exchange(r - h)) / (2 * h)


def repulsion(r):
    return 3.0 * exchange(r - 0.2) * cutoff_function(r, CUTOFF)


def repulsion_slope(r, h=1e-5):
    return (repulsion(r + h) - repulsion(r - h)) / (2 * h)


def labelled(atoms, keep=("energy", "forces", "stress", "field"), shift=0.0):
    """Copy of the frame with the teacher's labels."""
    i, j, vectors, r = neighbor_list("ijDd", atoms, CUTOFF)
    spins, lengths = get_spins(atoms), np.linalg.norm(get_moments(atoms), axis=1)
    b = np.einsum("pa,pa->p", spins[i], spins[j])
    energy = 0.5 * np.sum(repulsion(r) - exchange(r) * b) - 8.0 * len(atoms)
    pull = ((repulsion_slope(r) - exchange_slope(r) * b) / r)[:, None] * vectors
    gradient, forces = np.zeros((len(atoms), 3)), np.zeros((len(atoms), 3))
    np.add.at(gradient, i, -exchange(r)[:, None] * spins[j])
    np.add.at(forces, i, pull)
    stress = full_3x3_to_voigt_6_stress(0.5 * pull.T @ vectors / atoms.get_volume())
    results = {"energy": energy + shift, "forces": forces, "stress": stress}
    atoms = atoms.copy()
    atoms.calc = SinglePointCalculator(atoms, **{k: v for k, v in results.items() if k in keep})
    if "field" in keep:
        fields = np.divide(-transverse(gradient, spins), lengths[:, None], where=lengths[:, None] > 0, out=0 * gradient)
        atoms.set_array("exchange_fields", fields)
    return atoms


def iron(seed, displaced=0.1, strain=0.02, repeat=2):
    """Vibrating, strained bcc iron with random moments of unequal length."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Fe", a=2.87, cubic=True) * (repeat, repeat, 1)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.positions += displaced * rng.normal(size=atoms.positions.shape)
    set_moments(atoms, rng.uniform(1.8, 2.4, len(atoms))[:, None] * random_directions(len(atoms), rng))
    return atoms


def frames(seeds, **kwargs):
    return [labelled(iron(seed), **kwargs) for seed in seeds]


def fitted(training, descriptor=PAIR, **parameters):
    return SpinGAP(descriptor, **{"zeta": 1, **QUIET, **parameters}).fit(training)


@pytest.fixture(scope="module")
def pair_model():
    """The linear pair model on noiseless labels of the teacher."""
    return fitted(frames(range(12)))


def assert_relative(value, expected, tolerance):
    assert np.abs(value - expected).max() <= tolerance * np.abs(expected).max()


# --- learning a known law ---


def learned_exchange(model, r):
    """J(r) from the energies of two atoms with parallel and antiparallel spins."""

    def energy(sign):
        pair = Atoms("Fe2", positions=[[0, 0, 0], [0, 0, r]])
        set_moments(pair, [[2.2, 0, 0], [2.2 * sign, 0, 0]])
        return model.predict(pair)["energy"]

    return 0.5 * (energy(-1) - energy(1))


def test_the_linear_pair_model_finds_the_exchange_of_a_heisenberg_law(pair_model):
    distances = np.linspace(2.3, 3.5, 9)
    found = [learned_exchange(pair_model, r) for r in distances]
    assert_relative(found, exchange(distances), 0.01)


def test_the_linear_pair_model_predicts_every_label(pair_model):
    test = frames(range(50, 54))
    errors = pair_model.evaluate(test)
    assert errors["energy_rmse"] < 1e-3
    assert errors["forces_rmse"] < 0.01 * np.std([f.get_forces() for f in test])
    assert errors["stress_rmse"] < 0.01 * np.std([f.get_stress() for f in test])
    assert errors["field_rmse"] < 0.01 * np.std([f.arrays["exchange_fields"] for f in test])


def test_a_many_body_model_learns_a_pair_law_too():
    descriptor = SOSO(["Fe"], cutoff=CUTOFF, n_max=6, spin_l_max=1, n_max_angular=3, l_max=2)
    model = fitted(frames(range(10)), descriptor, zeta=2, n_sparse=60)
    test = frames(range(50, 54))
    errors = model.evaluate(test)
    assert errors["field_rmse"] < 0.03 * np.std([f.arrays["exchange_fields"] for f in test])
    assert errors["forces_rmse"] < 0.03 * np.std([f.get_forces() for f in test])


@pytest.mark.parametrize("keep", ["energy", "forces", "stress", "field"])
def test_each_label_alone_teaches_itself(keep):
    model = fitted(frames(range(40 if keep == "energy" else 15), keep=(keep,)))
    test = frames(range(50, 56))
    truth = {
        "energy": [f.get_potential_energy() / len(f) for f in test],
        "forces": [f.get_forces() for f in test],
        "stress": [f.get_stress() for f in test],
        "field": [f.arrays["exchange_fields"] for f in test],
    }[keep]
    error = model.evaluate(test)["energy_rmse_about_mean" if keep == "energy" else f"{keep}_rmse"]
    assert error < (0.1 if keep == "energy" else 0.02) * np.std(truth)


def test_labels_missing_from_some_frames_are_not_zero():
    kept = ["energy"] * 4 + ["field"] * 5 + ["forces"] * 5
    mixed = [labelled(iron(seed), keep=(name,)) for seed, name in enumerate(kept)]
    model = fitted(mixed)
    assert model.summary_["n_labels"] == {"energy": 4, "forces": 5 * 24, "stress": 0, "field": 5 * 16}
    distances = np.linspace(2.4, 3.2, 5)
    assert_relative([learned_exchange(model, r) for r in distances], exchange(distances), 0.02)


def test_a_row_of_nan_is_an_atom_without_a_label(pair_model):
    training = frames(range(12))
    for k, frame in enumerate(training):
        frame.arrays["exchange_fields"][k % 8] = np.nan
    model = fitted(training)
    assert model.summary_["n_labels"]["field"] == 12 * 14
    assert learned_exchange(model, 2.5) == pytest.approx(learned_exchange(pair_model, 2.5), rel=1e-2)


def test_only_transverse_fields_count():
    plain, longitudinal = frames(range(4)), frames(range(4))
    for frame in longitudinal:
        frame.arrays["exchange_fields"] += 0.3 * get_spins(frame)
    a, b = fitted(plain, optimize=None), fitted(longitudinal, optimize=None)
    np.testing.assert_allclose(a.column_weights_, b.column_weights_, atol=1e-8 * np.abs(a.column_weights_).max())


def test_errors_of_fields_leave_out_the_part_along_the_moments(pair_model):
    """Labels of some programs are full derivatives; a model of directions has nothing to say about that part."""
    frame = iron(7)
    along = labelled(frame)
    along.arrays["exchange_fields"] = along.arrays["exchange_fields"] + 0.3 * along.get_initial_magnetic_moments()
    errors = [pair_model.evaluate([one])["field_rmse"] for one in (along, labelled(frame))]
    assert errors[0] == pytest.approx(errors[1])


def test_a_frame_without_neighbours_is_a_frame():
    """A lone dimer out of reach: its energy is that of the atoms, its forces and fields are zero."""
    alone = Atoms("Fe2", [[0, 0, 0], [15.0, 0, 0]], cell=[30.0] * 3, pbc=True)
    set_moments(alone, [[2.0, 0, 0], [0, 2.0, 0]])
    alone.calc = SinglePointCalculator(alone, energy=0.0, forces=np.zeros((2, 3)))
    alone.arrays["exchange_fields"] = np.zeros((2, 3))
    errors = fitted([*frames(range(4)), alone]).evaluate([alone])
    assert errors["field_rmse"] == errors["forces_rmse"] == 0.0


def test_fields_of_elements_outside_magnetic_are_forgotten():
    training = [two_species(seed) for seed in range(2)]
    descriptor = SOSO(["Fe", "Ge"], cutoff=3.5, n_max=4, body_order=2, magnetic=["Fe"])
    for frame in training:
        frame.set_array("exchange_fields", np.ones((4, 3)))
    assert SpinGAP(descriptor).fit(training).summary_["n_labels"]["field"] == 2 * 2 * 2


def two_species(seed):
    """Two iron and two germanium atoms with small moments on the germanium, and an energy."""
    rng = np.random.default_rng(seed)
    sites = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]) + rng.normal(scale=0.03, size=(4, 3))
    atoms = Atoms("Fe2Ge2", scaled_positions=sites, cell=[3.8, 3.9, 4.0], pbc=True)
    set_moments(atoms, np.array([[2.0], [2.0], [0.1], [0.1]]) * random_directions(4, rng))
    atoms.calc = SinglePointCalculator(atoms, energy=-20 + 0.1 * rng.normal())
    return atoms


# --- standard deviations of labels ---


def twins(sigma_first=None, sigma_second=None):
    """The same frame twice with energies 0.4 eV/atom apart."""
    pair = [labelled(iron(0), keep=("energy",)), labelled(iron(0), keep=("energy",), shift=0.4 * 8)]
    for frame, sigma in zip(pair, (sigma_first, sigma_second), strict=True):
        if sigma is not None:
            frame.info["sigma_energy"] = sigma
    return pair


def mean_error(model, frame):
    return (model.predict(frame)["energy"] - frame.get_potential_energy()) / len(frame)


def test_equal_labels_count_equally():
    pair = twins()
    assert mean_error(fitted(pair, optimize=None, sigma_energy=1e-3), pair[0]) == pytest.approx(0.2, rel=1e-3)


def test_a_frame_may_have_its_own_sigma():
    """Means are weighted with 1 / sigma^2: 4 parts of the first, 1 part of the second."""
    pair = twins(sigma_second=2e-3)
    assert mean_error(fitted(pair, optimize=None, sigma_energy=1e-3), pair[0]) == pytest.approx(0.08, rel=1e-3)


def test_sigma_trades_energies_against_fields():
    training = frames(range(6))
    rng = np.random.default_rng(0)
    for frame in training:
        frame.arrays["exchange_fields"] += rng.normal(scale=0.01, size=(8, 3))
    tight, loose = (fitted(training, sigma_field=s).evaluate(training)["field_rmse"] for s in (1e-5, 1.0))
    assert tight < loose


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_refuses_an_impossible_sigma_of_a_frame(value):
    with pytest.raises(InputError, match=r"info\['sigma_energy'\] of frame 0 must be a positive number, got "):
        fitted(twins(sigma_first=value))


# --- kernels and sparse points ---

MANY = SOSO(["Fe", "Ge"], cutoff=3.8, n_max=4, spin_l_max=2, n_max_angular=3, l_max=2, spin_orbit=True)
KERNELS = {
    "linear": {"zeta": 1},
    "square": {"zeta": 2},
    "cube": {"zeta": 3},
    "rbf": {"kernel": "rbf"},
}


def alloy(seed):
    """Two iron and two non-magnetic germanium atoms with random labels: their values do not matter."""
    rng = np.random.default_rng(seed)
    atoms = two_species(seed)
    atoms.set_cell(atoms.cell.array + 0.2 * rng.normal(size=(3, 3)), scale_atoms=True)
    moments = get_moments(atoms)
    moments[2:] = 0
    set_moments(atoms, moments)
    atoms.calc = SinglePointCalculator(
        atoms, energy=-20 + 0.3 * rng.normal(), forces=rng.normal(size=(4, 3)), stress=0.1 * rng.normal(size=6)
    )
    atoms.set_array("exchange_fields", np.vstack([0.05 * rng.normal(size=(2, 3)), np.zeros((2, 3))]))
    return atoms


@pytest.fixture(scope="module", params=KERNELS)
def many_body(request):
    """Models with every block, two species of which one is magnetic, one per kernel."""
    parameters = {"n_sparse": 8, "optimize": None, "sigma_forces": 0.1, **KERNELS[request.param]}
    return SpinGAP(MANY, **parameters).fit([alloy(seed) for seed in range(5)])


def test_the_energy_is_the_explicit_sum_over_sparse_points(many_body):
    atoms = alloy(9)
    structure = many_body.descriptor_.structure(atoms)
    blocks = many_body.descriptor_.blocks()
    energy, start = many_body.offsets_[structure.species.numpy()].sum(), 0
    for term in many_body.terms_:
        weights = term.whitening @ torch.as_tensor(many_body.column_weights_[start : start + term.size])
        start += term.size
        x = torch.cat([part.features for part in blocks[term.block].parts(structure)])
        x = x[structure.species == term.species] * term.scale
        for row in x:
            for point, weight in zip(term.points, weights, strict=True):
                if isinstance(term.kernel, Linear):
                    k = row @ point
                elif many_body.kernel == "rbf":
                    k = torch.exp(-(row - point).square().sum() / 2)
                else:
                    k = (row @ point) ** many_body.zeta
                energy += float(weight * k)
    assert many_body.predict(atoms)["energy"] == pytest.approx(energy, rel=1e-10)


def test_the_kernel_acts_on_the_highest_body_order_only(many_body):
    kinds = {(t.block, isinstance(t.kernel, Linear)) for t in many_body.terms_}
    linear = many_body.kernel == "polynomial" and many_body.zeta == 1
    assert kinds == {("pair", True), ("angle", linear), ("spin-orbit", True)}


@pytest.mark.parametrize("selection", ["fps", "cur"])
def test_sparse_points_are_different_training_environments(selection):
    descriptor = SOSO(["Fe"], cutoff=CUTOFF, n_max=6, body_order=2)
    training = frames(range(4))
    model = fitted(training, descriptor, zeta=2, n_sparse=10, selection=selection, optimize=None)
    (term,) = model.terms_
    candidates = model.descriptor_.transform(training) * term.scale.numpy()
    nearest = np.linalg.norm(term.points.numpy()[:, None] - candidates, axis=2)
    assert len(set(nearest.argmin(axis=1))) == 10
    assert nearest.min(axis=1).max() < 1e-12


def test_sparse_points_of_a_repeated_frame_are_clipped_to_what_exists():
    twice, descriptor = [labelled(iron(0)) for _ in range(2)], SOSO(["Fe"], cutoff=CUTOFF, body_order=2)
    model = fitted(twice, descriptor, zeta=2, n_sparse=1000, optimize=None)
    assert model.summary_["sparse_points"] == {"pair Fe": 8}


def test_the_choice_of_sparse_points_follows_the_seed():
    descriptor = SOSO(["Fe"], cutoff=CUTOFF, body_order=2)
    a, b, c = (fitted(frames(range(3)), descriptor, zeta=2, n_sparse=5, optimize=None, rng=s) for s in (1, 1, 2))
    assert torch.equal(a.terms_[0].points, b.terms_[0].points)
    assert not torch.equal(a.terms_[0].points, c.terms_[0].points)


@pytest.mark.parametrize("method", ["evidence", "cross-validation"])
def test_amplitudes_are_found_and_no_worse_than_one(method):
    rng = np.random.default_rng(3)
    training = frames(range(8), keep=("energy", "field"))
    for frame in training:
        frame.arrays["exchange_fields"] += rng.normal(scale=0.01, size=(8, 3))
    descriptor = SOSO(["Fe"], cutoff=CUTOFF, n_max=6, n_max_angular=2, l_max=2)
    parameters = {"zeta": 2, "n_sparse": 40, "sigma_field": 0.01, "sigma_energy": 1e-3}
    test = frames(range(50, 54))
    found, unit = (fitted(training, descriptor, optimize=o, **parameters) for o in (method, None))
    assert set(unit.amplitudes_.values()) == {1.0}
    assert set(found.amplitudes_) == {"pair", "angle"}
    assert found.amplitudes_ != unit.amplitudes_
    assert found.evaluate(test)["field_rmse"] < 1.05 * unit.evaluate(test)["field_rmse"]


def test_the_evidence_finds_the_noise_of_the_labels():
    rng = np.random.default_rng(4)
    training = frames(range(10), keep=("field",))
    for frame in training:
        frame.arrays["exchange_fields"] += rng.normal(scale=3e-3, size=(8, 3))
    model = fitted(training, sigma_field=1e-3, optimize="evidence", fit_sigmas=True)
    assert model.sigma_factors_["field"] == pytest.approx(3.0, rel=0.2)


# --- derivatives and identities ---


def five_point(energy, step):
    return (8 * (energy(step) - energy(-step)) - (energy(2 * step) - energy(-2 * step))) / (12 * step)


def energy_along(model, change, step=2e-4):
    def energy(t):
        atoms = alloy(9)
        change(atoms, t)
        return model.predict(atoms)["energy"]

    return five_point(energy, step)


def test_forces_are_derivatives_of_the_energy(many_body):
    forces = many_body.predict(alloy(9))["forces"]
    for atom, axis in [(0, 0), (1, 1), (2, 2), (3, 0)]:

        def move(atoms, t, atom=atom, axis=axis):
            atoms.positions[atom, axis] += t

        assert abs(energy_along(many_body, move) + forces[atom, axis]) <= 1e-6 * np.abs(forces).max()


def test_stress_is_the_strain_derivative_in_the_sign_and_order_of_ase(many_body):
    """At fixed moments; off-diagonal strains symmetric, xx yy zz yz xz xy."""
    stress = many_body.predict(alloy(9))["stress"]
    for k, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):

        def strain(atoms, t, a=a, b=b):
            matrix = np.eye(3)
            matrix[a, b] += 0.5 * t
            matrix[b, a] += 0.5 * t
            atoms.set_cell(atoms.cell.array @ matrix, scale_atoms=True)

        number = energy_along(many_body, strain) / alloy(9).get_volume()
        assert abs(number - stress[k]) <= 1e-6 * np.abs(stress).max()


def test_fields_are_minus_the_derivative_of_the_energy_in_the_moments(many_body):
    fields = many_body.predict(alloy(9))["exchange_fields"]
    for atom, axis in np.ndindex(2, 3):

        def turn(atoms, t, atom=atom, axis=axis):
            moments = get_moments(atoms)
            moments[atom, axis] += t
            set_moments(atoms, moments)

        assert abs(energy_along(many_body, turn, 1e-3) + fields[atom, axis]) <= 1e-6 * np.abs(fields).max()


def test_fields_are_transverse_and_zero_on_non_magnetic_atoms(many_body):
    atoms = alloy(9)
    fields = many_body.predict(atoms)["exchange_fields"]
    assert np.abs(np.einsum("ia,ia->i", fields, get_spins(atoms))).max() < 1e-14
    assert not fields[2:].any()


def test_forces_add_up_to_zero(many_body):
    forces = many_body.predict(alloy(9))["forces"]
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-11 * np.abs(forces).max())


def test_atomic_energies_add_up_to_the_energy(many_body):
    results = many_body.predict(alloy(9))
    assert results["energies"].sum() == pytest.approx(results["energy"], rel=1e-13)
    assert results["free_energy"] == results["energy"]


def test_with_spin_orbit_lattice_and_spins_exchange_angular_momentum(many_body):
    """An open cluster: sum of R x F and m x H together is zero, neither alone."""
    atoms = alloy(9)
    atoms.pbc = False
    results = many_body.predict(atoms)
    lattice = np.cross(atoms.positions, results["forces"]).sum(axis=0)
    spins = np.cross(get_moments(atoms), results["exchange_fields"]).sum(axis=0)
    np.testing.assert_allclose(lattice + spins, 0, atol=1e-10 * np.abs(results["forces"]).max())
    assert np.linalg.norm(spins) > 1e-6


@pytest.fixture(scope="module")
def without_spin_orbit():
    descriptor = SOSO(["Fe", "Ge"], cutoff=3.8, n_max=4, n_max_angular=3, l_max=2)
    return SpinGAP(descriptor, n_sparse=8, optimize=None).fit([alloy(seed) for seed in range(5)])


def test_without_spin_orbit_spin_torques_add_up_to_zero(without_spin_orbit):
    atoms = alloy(9)
    torques = np.cross(get_moments(atoms), without_spin_orbit.predict(atoms)["exchange_fields"])
    np.testing.assert_allclose(torques.sum(axis=0), 0, atol=1e-12 * np.abs(torques).max())


def test_without_spin_orbit_lattice_torques_add_up_to_zero(without_spin_orbit):
    atoms = alloy(9)
    atoms.pbc = False
    torques = np.cross(atoms.positions, without_spin_orbit.predict(atoms)["forces"])
    np.testing.assert_allclose(torques.sum(axis=0), 0, atol=1e-11 * np.abs(torques).max())


def test_longer_moments_feel_smaller_fields(pair_model):
    """Energies depend on directions only, so H = -(1/m) dE/de."""
    atoms, longer = iron(60), iron(60)
    set_moments(longer, 2 * get_moments(longer))
    a, b = pair_model.predict(atoms), pair_model.predict(longer)
    assert a["energy"] == pytest.approx(b["energy"], rel=1e-12)
    np.testing.assert_allclose(b["exchange_fields"], a["exchange_fields"] / 2, rtol=1e-9, atol=1e-14)


def test_a_cluster_without_a_cell_has_no_stress(pair_model):
    atoms = iron(60)
    atoms.set_cell(np.zeros((3, 3)))
    atoms.pbc = False
    assert "stress" not in pair_model.predict(atoms)


# --- files ---


def test_a_saved_model_predicts_the_same(many_body, tmp_path):
    many_body.save(tmp_path / "alloy.model")
    again = load_model(tmp_path / "alloy.model")
    for name, value in many_body.predict(alloy(9)).items():
        np.testing.assert_array_equal(again.predict(alloy(9))[name], value)


def test_a_saved_model_has_the_same_uncertainty(many_body, tmp_path):
    many_body.save(tmp_path / "alloy.model")
    again = load_model(tmp_path / "alloy.model")
    for value, expected in zip(again.uncertainty(alloy(9)), many_body.uncertainty(alloy(9)), strict=True):
        np.testing.assert_array_equal(value, expected)


def test_a_saved_model_keeps_what_it_says_about_itself(many_body, tmp_path):
    many_body.save(tmp_path / "alloy.model")
    again = load_model(tmp_path / "alloy.model")
    assert again.descriptor_.get_params() == many_body.descriptor_.get_params()
    assert again.summary_ == many_body.summary_
    assert again.lattice_fitted is many_body.lattice_fitted
    assert again.sigmas == many_body.sigmas


def test_a_loaded_model_saves_the_same_file(many_body, tmp_path):
    many_body.save(tmp_path / "one.model")
    load_model(tmp_path / "one.model").save(tmp_path / "two.model")
    assert (tmp_path / "one.model").read_bytes() == (tmp_path / "two.model").read_bytes()


def test_an_unfitted_model_cannot_be_saved(tmp_path):
    with pytest.raises(InputError, match=r"the model is not fitted: call fit\(frames\) before save\(path\)"):
        SpinGAP(PAIR).save(tmp_path / "x.model")
    assert not list(tmp_path.iterdir())


# --- a baseline ---


def lennard_jones():
    return LennardJones(epsilon=0.3, sigma=2.2, rc=6.0, smooth=True)


def on_top(frame):
    """The teacher's labels plus those of a Lennard-Jones crystal."""
    bare = frame.copy()
    bare.set_array("initial_magmoms", None)
    bare.calc = lennard_jones()
    results = {name: value + bare.calc.get_property(name, bare) for name, value in frame.calc.results.items()}
    frame = frame.copy()
    frame.calc = SinglePointCalculator(frame, **results)
    return frame


@pytest.fixture(scope="module")
def with_baseline():
    return fitted([on_top(f) for f in frames(range(12))], baseline=lennard_jones())


def test_a_model_with_a_baseline_learns_the_remainder(with_baseline, pair_model):
    np.testing.assert_allclose(
        with_baseline.column_weights_, pair_model.column_weights_, atol=3e-6 * np.abs(pair_model.column_weights_).max()
    )


def test_predictions_include_the_baseline(with_baseline):
    test = [on_top(f) for f in frames(range(50, 53))]
    errors = with_baseline.evaluate(test)
    assert errors["energy_rmse"] < 1e-3
    assert errors["forces_rmse"] < 0.01 * np.std([f.get_forces() for f in test])
    assert errors["stress_rmse"] < 0.01 * np.std([f.get_stress() for f in test])


def test_a_baseline_is_attached_again_after_loading(with_baseline, tmp_path):
    with_baseline.save(tmp_path / "fe.model")
    again = load_model(tmp_path / "fe.model")
    with pytest.raises(InputError, match=r"fitted on top of the calculator LennardJones: set model\.baseline to it"):
        again.predict(iron(60))
    again.baseline = lennard_jones()
    for name, value in with_baseline.predict(iron(60)).items():
        np.testing.assert_array_equal(again.predict(iron(60))[name], value)


class Springs(Calculator):
    """Energy and forces of every atom's spring to the origin, but no stress."""

    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.05 * np.sum(self.atoms.positions**2), "forces": -0.1 * self.atoms.positions}


def test_what_the_baseline_lacks_the_sum_lacks_too():
    """A stress without the baseline's share would be wrong: neither learned, predicted nor compared."""
    training = frames(range(3))
    model = fitted(training, baseline=Springs(), optimize=None)
    assert model.summary_["n_labels"]["stress"] == 0
    assert "stress" not in model.predict(iron(60))
    assert "forces" in model.predict(iron(60))
    assert "stress_rmse" not in model.evaluate(training)


# --- labels that are wrong, frames that are not displaced ---


def test_a_frame_with_wrong_forces_is_named_and_hardly_counts():
    descriptor = SOSO(["Fe"], cutoff=CUTOFF, n_max=6, spin_l_max=1, body_order=2)
    training = frames(range(12))
    clean = fitted(training, descriptor)
    wrong = training[5].calc.results["forces"]
    wrong += np.random.default_rng(0).normal(scale=5.0, size=wrong.shape)
    doubtful = fitted(training, descriptor)
    assert list(doubtful.outliers_) == [5]
    assert list(doubtful.outliers_[5]) == ["forces"]
    assert clean.outliers_ == {}
    test = frames(range(50, 54))
    assert doubtful.evaluate(test)["forces_rmse"] < 2 * clean.evaluate(test)["forces_rmse"] + 1e-3
    assert doubtful.summary_["outliers"] == {"5": doubtful.outliers_[5]}


@pytest.mark.parametrize(
    ("displaced", "keep", "known"),
    [(0.1, ("energy", "forces"), True), (0.0, ("energy", "forces"), False), (0.1, ("energy", "field"), False)],
    ids=["displaced", "undisplaced", "no forces"],
)
def test_the_lattice_is_learned_from_forces_on_displaced_frames_only(displaced, keep, known):
    training = [labelled(iron(seed, displaced, strain=0.0), keep=keep) for seed in range(3)]
    assert fitted(training, optimize=None).lattice_fitted is known


def test_spin_lattice_dynamics_refuses_a_model_that_does_not_know_the_lattice():
    model = fitted([labelled(iron(seed, 0.0, strain=0.0)) for seed in range(3)], optimize=None)
    atoms = iron(60)
    atoms.calc = SpinCalculator(model)
    with pytest.raises(InputError, match=r"one fitted on undisplaced frames only, whose forces mean nothing: fit it "):
        SpinLatticeDynamics(atoms, 1.0)


def test_the_shipped_data_teach_the_lattice(fe_dft):
    model = SpinGAP(SOSO(["Fe"], cutoff=4.0, n_max=4, body_order=2), zeta=1, optimize=None).fit(fe_dft[::10])
    assert model.lattice_fitted


# --- lengths of moments ---


def test_moment_lengths_are_learned_from_the_same_features():
    """M = 2 + 0.3 sum_j f(r_ij) e_i.e_j is linear in the pair features of the teacher's own range."""

    def with_lengths(seed):
        atoms = iron(seed)
        i, j, r = neighbor_list("ijd", atoms, CUTOFF)
        spins, total = get_spins(atoms), np.zeros(len(atoms))
        np.add.at(total, i, exchange(r) * np.einsum("pa,pa->p", spins[i], spins[j]))
        set_moments(atoms, (2 + total)[:, None] * spins)
        return labelled(atoms)

    model = fitted([with_lengths(seed) for seed in range(8)], optimize=None)
    test = with_lengths(60)
    expected = get_moments(test)
    set_moments(test, get_spins(test))  # only directions are known
    magmoms = model.predict(test)["magmoms"]
    np.testing.assert_allclose(unit_rows(magmoms), unit_rows(expected), atol=1e-12)
    spread = np.std(np.linalg.norm(expected, axis=1))
    assert np.abs(np.linalg.norm(magmoms, axis=1) - np.linalg.norm(expected, axis=1)).max() < 0.05 * spread


def test_non_magnetic_atoms_have_no_predicted_moment(without_spin_orbit):
    magmoms = without_spin_orbit.predict(alloy(9))["magmoms"]
    assert np.linalg.norm(magmoms[:2], axis=1) == pytest.approx([2.0, 2.0], rel=1e-6)
    assert not magmoms[2:].any()


# --- uncertainty ---


@pytest.fixture(scope="module")
def z_scores():
    """Squared errors against the truth over posterior variances, of energies and fields, for several noisy data sets.

    The noise of the labels, part of the predicted standard deviations, is taken out of them: the truth has none.
    """
    test, energies, fields = frames(range(50, 65), keep=("energy", "field")), [], []
    for draw in range(12):
        rng = np.random.default_rng(draw)
        training = frames(range(8), keep=("energy", "field"))
        for frame in training:
            frame.calc.results["energy"] += 2e-3 * 8 * rng.normal()
            frame.arrays["exchange_fields"] += rng.normal(scale=4e-3, size=(8, 3))
        model = fitted(training, sigma_energy=2e-3, sigma_field=4e-3, optimize="evidence")
        for frame in test:
            result, (energy_std, field_std) = model.predict(frame), model.uncertainty(frame)
            error, noise = result["energy"] - frame.get_potential_energy(), 8 * model.noise_["energy"]
            energies.append(error**2 / (energy_std**2 - noise**2))
            error, noise = result["exchange_fields"] - frame.arrays["exchange_fields"], model.noise_["field"]
            fields.append(np.sum(error**2, axis=1) / (np.sum(field_std**2, axis=1) - 2 * noise**2))
    return np.array(energies), np.array(fields)


@pytest.mark.parametrize("label", ["energy", "field"])
def test_errors_are_as_large_as_predicted(z_scores, label):
    z = z_scores[label == "field"]
    assert 0.8 < np.sqrt(np.mean(z)) < 1.25


def test_more_data_make_a_model_more_certain():
    few, many = (fitted(frames(range(n)), optimize=None, sigma_field=5e-3) for n in (3, 12))
    assert many.uncertainty(iron(60))[1].max() < few.uncertainty(iron(60))[1].max()


def test_a_strange_environment_is_less_certain_than_a_training_frame():
    descriptor = SOSO(["Fe"], cutoff=CUTOFF, n_max=6, body_order=2)
    model = fitted(frames(range(6)), descriptor, zeta=2, optimize=None)
    strange = iron(60, strain=0.15)
    assert model.uncertainty(strange)[0] > 3 * model.uncertainty(iron(0))[0]


def test_fields_of_non_magnetic_atoms_are_certain(without_spin_orbit):
    _, std = without_spin_orbit.uncertainty(alloy(9))
    assert std[:2].min() > 0
    assert not std[2:].any()


# --- frames of some species only ---


def iron_alone(seed):
    """The alloy without its germanium."""
    full = alloy(seed)
    atoms = full[:2]
    atoms.calc = SinglePointCalculator(atoms, energy=-10.0, forces=np.array([[0.1, 0, 0], [-0.1, 0, 0]]))
    return atoms


def test_frames_may_lack_a_species():
    model = SpinGAP(MANY, n_sparse=8, optimize=None).fit([alloy(0), iron_alone(1), alloy(2)])
    assert np.isfinite(model.predict(iron_alone(3))["forces"]).all()
    assert model.summary_["n_atoms_by_species"] == {"Fe": 6, "Ge": 4}


def test_uncertainty_of_a_frame_that_lacks_a_species(many_body):
    energy_std, field_std = many_body.uncertainty(iron_alone(3))
    assert energy_std > 0
    assert (field_std > 0).all()


# --- evaluate ---


def test_evaluate_counts_errors_over_what_is_labelled(pair_model):
    good, bad = iron(60), labelled(iron(61), keep=("energy", "field"))
    good.calc = SinglePointCalculator(good, energy=pair_model.predict(good)["energy"] + 8 * 0.3)
    bad.calc = SinglePointCalculator(bad, energy=pair_model.predict(bad)["energy"] + 8 * 0.1)
    wrong = transverse(np.full((8, 3), 0.02), get_spins(bad))
    bad.arrays["exchange_fields"] = pair_model.predict(bad)["exchange_fields"] + wrong
    errors = pair_model.evaluate([good, bad])
    assert errors["n_frames"] == 2
    assert errors["n_atoms"] == 16
    assert errors["energy_rmse"] == pytest.approx(np.sqrt((0.3**2 + 0.1**2) / 2))
    assert errors["energy_rmse_about_mean"] == pytest.approx(0.1)
    assert errors["field_rmse"] == pytest.approx(np.sqrt(np.mean(wrong**2)))
    lengths = np.linalg.norm(get_moments(bad), axis=1)
    assert errors["turning_rmse"] == pytest.approx(np.sqrt(np.mean((lengths[:, None] * wrong) ** 2)))
    assert "forces_rmse" not in errors


# --- bad input ---


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"descriptor": "SOSO"}, r"SpinGAP needs a SOSO descriptor or a LatticeDescriptor, got str"),
        ({"n_sparse": 0}, r"n_sparse must be an integer >= 1, got 0"),
        ({"sigma_energy": 0.0}, r"sigma_energy must be a positive number, got 0\.0"),
        ({"sigma_forces": np.nan}, r"sigma_forces must be a positive number, got nan"),
        ({"selection": "random"}, r"selection must be 'fps' or 'cur', got 'random'"),
        ({"optimize": "guess"}, r"optimize must be 'evidence', 'cross-validation' or None, got 'guess'"),
        ({"zeta": 0}, r"zeta must be an integer >= 1, got 0"),
        ({"kernel": "laplace"}, r"kernel must be 'polynomial' or 'rbf', got 'laplace'"),
    ],
)
def test_refuses_bad_parameters(parameters, message):
    with pytest.raises(InputError, match=message):
        SpinGAP(**{"descriptor": PAIR, **parameters})


def broken(change):
    """A good frame and one that has been spoiled."""
    training = frames(range(2))
    change(training[1])
    return training


def collinear(frame):
    frame.set_array("initial_magmoms", None)
    frame.set_initial_magnetic_moments([2.2] * 8)


def zero_moment(frame):
    frame.arrays["initial_magmoms"][3] = 0


def nan_moment(frame):
    frame.arrays["initial_magmoms"][3, 1] = np.nan


def half_nan_field(frame):
    frame.arrays["exchange_fields"][3, 1] = np.nan


def infinite_field(frame):
    frame.arrays["exchange_fields"][3] = np.inf


def nan_energy(frame):
    frame.calc.results["energy"] = np.nan


def nan_forces(frame):
    frame.calc.results["forces"][0, 0] = np.nan


def nan_stress(frame):
    frame.calc.results["stress"][0] = np.nan


def nan_positions(frame):
    frame.positions[0, 0] = np.nan


def flat_fields(frame):
    frame.arrays["exchange_fields"] = np.zeros(8)


def short_forces(frame):
    frame.calc.results["forces"] = np.zeros((7, 3))


def long_stress(frame):
    frame.calc.results["stress"] = np.zeros(9)


def other_species(frame):
    frame.symbols[0] = "Co"


def no_label(frame):
    frame.calc = None
    frame.set_array("exchange_fields", None)


BROKEN = {
    collinear: r"Expected moment vectors of shape \(8, 3\), got collinear moments of shape \(8,\)",
    zero_moment: r"Fe has moments on some atoms and zero moments on others",
    nan_moment: r"Expected moments to be finite numbers, got NaN or infinity",
    half_nan_field: r"exchange_fields of frame 1 must be finite, or NaN in the whole row of an atom without a label",
    infinite_field: r"exchange_fields of frame 1 must be finite, or NaN in the whole row of an atom without a label",
    nan_energy: r"energy of frame 1 contain NaN or infinity; remove the label if it is not known",
    nan_forces: r"forces of frame 1 contain NaN or infinity; remove the label if it is not known",
    nan_stress: r"stress of frame 1 contain NaN or infinity; remove the label if it is not known",
    nan_positions: r"positions and cell must be finite numbers in Angstrom, got NaN or infinity",
    flat_fields: r"exchange_fields of frame 1 must have shape \(8, 3\), got \(8,\)",
    short_forces: r"forces of frame 1 must have shape \(8, 3\), got \(7, 3\)",
    long_stress: r"stress of frame 1 must have shape \(6,\) or \(3, 3\), got \(9,\)",
    other_species: r"the descriptor knows the species Fe, but the frame contains Co; add them to species=",
    no_label: r"frame 1 has no label: give it an energy, forces, stress or exchange_fields, or leave it out",
}


@pytest.mark.parametrize("change", BROKEN, ids=lambda change: change.__name__)
def test_fit_refuses_a_bad_frame(change):
    with pytest.raises(InputError, match=BROKEN[change]):
        fitted(broken(change))


def test_a_single_frame_need_not_be_a_list():
    frame = labelled(iron(0))
    model = fitted(frame, optimize=None)
    assert model.summary_["n_frames"] == model.evaluate(frame)["n_frames"] == 1


def test_fit_refuses_a_stress_without_a_volume():
    frame = labelled(iron(0))
    frame.pbc = False
    frame.cell[:] = 0
    with pytest.raises(InputError, match=r"frame 0 has a stress but no cell with a volume; remove the label or give"):
        fitted(frame)


def test_predict_refuses_an_unfitted_model():
    with pytest.raises(InputError, match=r"the model is not fitted: call fit\(frames\) before asking it for anything"):
        SpinGAP(PAIR).predict(iron(60))


@pytest.mark.parametrize("given", [[], iter([])])
def test_fit_refuses_no_frames(given):
    with pytest.raises(InputError, match=r"at least one frame is needed to fit a model, got an empty list"):
        SpinGAP(PAIR).fit(given)


def test_evaluate_refuses_no_frames(pair_model):
    with pytest.raises(InputError, match=r"at least one frame is needed to evaluate a model, got an empty list"):
        pair_model.evaluate([])


def test_fit_refuses_a_zero_moment_on_a_species_named_magnetic():
    training = frames(range(2))
    zero_moment(training[1])
    with pytest.raises(InputError, match=r"Fe has moments on some atoms and zero moments on others"):
        fitted(training, SOSO(["Fe"], cutoff=CUTOFF, body_order=2, magnetic=["Fe"]))


def test_predict_refuses_a_zero_moment_on_a_magnetic_species(pair_model):
    atoms = iron(60)
    zero_moment(atoms)
    with pytest.raises(InputError, match=r"Fe is magnetic in this model, but atom 3 has a zero moment: set its moment"):
        pair_model.predict(atoms)


def test_predict_refuses_a_moment_on_a_non_magnetic_species(without_spin_orbit):
    with pytest.raises(InputError, match=r"Ge is not magnetic in this model, but atom 2 has a moment: set it to zero"):
        without_spin_orbit.predict(two_species(9))


def test_predict_refuses_an_element_that_no_training_frame_contained():
    model = fitted(frames(range(2)), SOSO(["Fe", "Ge"], cutoff=CUTOFF, body_order=2), optimize=None)
    with pytest.raises(InputError, match=r"no training frame contained Ge, so the model knows nothing of it: add "):
        model.predict(alloy(9))
