"""SpinNN: networks on SOSO features, trained on energies, forces, stress and fields."""

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.neighborlist import neighbor_list
from scipy.spatial.transform import Rotation

from ase_spinml import (
    SOSO,
    Heisenberg,
    SpinCalculator,
    SpinDynamics,
    SpinLatticeDynamics,
    SpinNN,
    get_moments,
    load_model,
    set_moments,
)
from ase_spinml.descriptors.structure import concatenate
from ase_spinml.errors import InputError
from ase_spinml.models.batches import make_batch
from ase_spinml.models.distributed import Workers
from ase_spinml.models.graph import Graph
from ase_spinml.models.labels import read_labels
from ase_spinml.models.training import Schedule, Training
from ase_spinml.moments import random_directions, rotate

PAIR = {"cutoff": 3.4, "n_max": 4, "spin_l_max": 2, "body_order": 2}
SIGMAS = {"sigma_energy": 1e-3, "sigma_forces": 0.05, "sigma_stress": 1e-3, "sigma_field": 5e-3}


def crowd(atoms):
    """E = sum_i 0.4 x_i^2/(1 + x_i^2) with x_i = sum_j w(r_ij) (0.5 + e_i.e_j): many-body, and no polynomial."""
    i, j, d = neighbor_list("ijd", atoms, 3.4)
    spins = get_moments(atoms) / 2.0
    weight = np.where(d < 3.4, np.cos(0.5 * np.pi * d / 3.4) ** 2, 0.0)
    x = np.bincount(i, weight * (0.5 + np.einsum("ia,ia->i", spins[i], spins[j])), len(atoms))
    return np.sum(0.4 * x**2 / (1 + x**2))


def numerical(function, x, h=2e-5):
    out = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        values = []
        for sign in (1, -1):
            moved = x.copy()
            moved[index] += sign * h
            values.append(function(moved))
        out[index] = (values[0] - values[1]) / (2 * h)
    return out


def frame(seed, label=True):
    rng = np.random.default_rng(seed)
    atoms = bulk("Fe", cubic=True)
    atoms.set_cell(atoms.cell.array * (1 + rng.uniform(-0.02, 0.02)), scale_atoms=True)
    atoms.positions += rng.normal(scale=0.08, size=(2, 3))
    set_moments(atoms, 2.0 * random_directions(2, rng))
    if not label:
        return atoms

    def at(positions=None, spins=None):
        other = atoms.copy()
        if positions is not None:
            other.positions = positions
        if spins is not None:
            set_moments(other, 2.0 * spins / np.linalg.norm(spins, axis=1, keepdims=True))
        return crowd(other)

    forces = -numerical(lambda x: at(positions=x), atoms.positions)
    fields = -numerical(lambda s: at(spins=s), get_moments(atoms) / 2.0) / 2.0
    atoms.calc = SinglePointCalculator(atoms, energy=at(), forces=forces)
    atoms.arrays["exchange_fields"] = fields
    return atoms


@pytest.fixture(scope="module")
def frames():
    return [frame(seed) for seed in range(24)]


def network(**options):
    descriptor = options.pop("descriptor", None) or SOSO(["Fe"], **PAIR)
    return SpinNN(descriptor, **({"hidden": (16, 16), "epochs": 80, "progress": False} | SIGMAS | options))


@pytest.fixture(scope="module")
def model(frames):
    return network(n_members=2, epochs=60).fit(frames)


def test_it_learns_what_the_linear_model_cannot(frames, model):
    held_out = [frame(seed) for seed in range(100, 110)]
    errors, linear = model.evaluate(held_out), model.linear_.evaluate(held_out)
    assert errors["energy_rmse"] < 0.8 * linear["energy_rmse"]
    assert errors["field_rmse"] < 0.6 * linear["field_rmse"]
    assert errors["forces_rmse"] < linear["forces_rmse"]


@pytest.mark.parametrize("body_order", [2, 3])
def test_derivatives_are_those_of_the_energy(frames, body_order):
    soso = SOSO(["Fe"], **(PAIR | {"body_order": body_order, "n_max_angular": 2, "l_max": 2}))
    model = network(descriptor=soso, epochs=3).fit(frames[:6])
    atoms = frame(50, label=False)
    found = model.predict(atoms)

    def energy(positions=None, spins=None, strain=None):
        other = atoms.copy()
        if positions is not None:
            other.positions = positions
        if spins is not None:
            set_moments(other, 2.0 * spins / np.linalg.norm(spins, axis=1, keepdims=True))
        if strain is not None:
            other.set_cell(other.cell.array @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
        return model.predict(other)["energy"]

    scale = np.abs(found["forces"]).max()
    forces = -numerical(lambda x: energy(positions=x), atoms.positions)
    assert np.allclose(found["forces"], forces, rtol=0, atol=2e-6 * scale)
    fields = -numerical(lambda s: energy(spins=s), get_moments(atoms) / 2.0) / 2.0
    assert np.allclose(found["exchange_fields"], fields, rtol=0, atol=2e-6 * np.abs(fields).max())
    stress = numerical(lambda e: energy(strain=e), np.zeros((3, 3))) / atoms.get_volume()
    voigt = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    assert np.allclose(found["stress"], voigt, rtol=0, atol=2e-6 * np.abs(voigt).max())


def test_energies_do_not_know_the_axes_of_lattice_and_spins(model):
    atoms = frame(51, label=False)
    energy = model.predict(atoms)["energy"]
    turned, twisted = atoms.copy(), atoms.copy()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    rotate(twisted, Rotation.from_rotvec([0.3, -0.8, 0.5]).as_matrix())
    for copy in (turned, twisted):
        assert model.predict(copy)["energy"] == pytest.approx(energy, abs=1e-10)
    flipped = atoms.copy()
    set_moments(flipped, -get_moments(atoms))
    assert model.predict(flipped)["energy"] == pytest.approx(energy, abs=1e-12)


def test_one_seed_gives_one_model_and_another_another(frames):
    energies = [network(epochs=3, rng=seed).fit(frames[:12]).predict(frames[20])["energy"] for seed in (1, 1, 2)]
    assert energies[0] == energies[1] != energies[2]


def test_a_saved_model_is_the_same_model(model, tmp_path):
    model.save(tmp_path / "nn.model")
    again = load_model(tmp_path / "nn.model")
    atoms = frame(52, label=False)
    for name, value in model.predict(atoms).items():
        assert np.allclose(again.predict(atoms)[name], value, rtol=0, atol=1e-13), name
    assert again.uncertainty(atoms)[0] == pytest.approx(model.uncertainty(atoms)[0], rel=1e-10)
    assert again.history_ == model.history_


def test_the_calculator_runs_dynamics_and_tells_uncertainties(model):
    atoms = bulk("Fe", cubic=True) * 2
    set_moments(atoms, 2.0 * random_directions(16, 0))
    atoms.calc = SpinCalculator(model, uncertainty=True)
    assert atoms.get_potential_energy() == pytest.approx(model.predict(atoms)["energy"])
    assert atoms.calc.get_property("energy_std", atoms) > 0
    assert atoms.calc.get_property("exchange_fields_std", atoms).shape == (16, 3)
    SpinLatticeDynamics(atoms, 0.05).run(2)


def test_spins_do_not_feel_the_part_of_a_field_along_them(frames, model):
    """Nothing in the labels says what it is, and explicit steps would follow it."""
    results = model.predict(frames[0])
    np.testing.assert_allclose(results["effective_fields"], results["exchange_fields"], rtol=0, atol=1e-14)
    moved = []
    for integrator in ("midpoint", "depondt"):
        atoms = frames[0].copy()
        atoms.calc = SpinCalculator(model)
        SpinDynamics(atoms, 0.1 * units.fs, damping=0.3, integrator=integrator).run(20)
        moved.append(get_moments(atoms))
    assert np.abs(moved[0] - get_moments(frames[0])).max() > 0.1
    assert np.abs(moved[1] - moved[0]).max() < 0.02 * np.abs(moved[0] - get_moments(frames[0])).max()


def test_members_spread_where_no_frame_has_been(frames, model):
    near, far = frame(60, label=False), frame(60, label=False)
    far.set_cell(far.cell.array * 0.85, scale_atoms=True)
    assert model.uncertainty(far)[0] > 3 * model.uncertainty(near)[0]


def test_a_batch_of_frames_has_the_loss_of_its_frames(frames):
    model = network(epochs=2).fit(frames[:4])
    blocks, structures = model.descriptor_.blocks(), [model.descriptor_.structure(f) for f in frames[:4]]
    labels = [read_labels(f) for f in frames[:4]]

    def batch(structures, labels):
        return make_batch(Graph(blocks, concatenate(structures)), structures, labels, SIGMAS)

    whole = batch(structures, labels)
    single = [batch([s], [label]) for s, label in zip(structures, labels, strict=True)]
    schedule = Schedule(epochs=1, learning_rate=1e-3, patience=1, seed=[0])
    alone = Workers(torch.device("cpu"))
    errors = [
        Training(model.networks_[0], batches, [], schedule, alone).errors(batches) for batches in ([whole], single)
    ]
    for kind in errors[0]:
        assert errors[0][kind] == pytest.approx(errors[1][kind], rel=1e-10)


def test_labels_may_be_missing(frames):
    partly = []
    for k, full in enumerate(frames[:12]):
        atoms = full.copy()
        results = {"energy": full.get_potential_energy()} if k % 2 else {"forces": full.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **results)
        if k % 3:
            del atoms.arrays["exchange_fields"]
        else:
            atoms.arrays["exchange_fields"] = full.arrays["exchange_fields"].copy()
            atoms.arrays["exchange_fields"][0] = np.nan
        partly.append(atoms)
    model = network(epochs=5).fit(partly)
    assert all(np.isfinite(model.predict(frames[20])["forces"]).ravel())


def test_the_baseline_is_subtracted_and_added(frames):
    exchange = Heisenberg([0.01])
    plain, shifted = network(epochs=3).fit(frames[:12]), []
    for full in frames[:12]:
        atoms = full.copy()
        energy = full.get_potential_energy() + exchange.get_property("energy", atoms)
        forces = full.get_forces() + exchange.get_property("forces", atoms)
        fields = exchange.get_property("exchange_fields", atoms)
        atoms.arrays["exchange_fields"] = full.arrays["exchange_fields"] + fields
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        shifted.append(atoms)
    model = network(epochs=3, baseline=exchange).fit(shifted)
    atoms = frame(70, label=False)
    difference = model.predict(atoms)["energy"] - plain.predict(atoms)["energy"]
    assert difference == pytest.approx(exchange.get_property("energy", atoms), abs=1e-6)


def test_refused(frames):
    def message(**options):
        with pytest.raises(InputError) as error:
            network(**options)
        return str(error.value)

    heads = "'conservative', 'global', 'site', 'direct'"
    assert message(head="local") == f"Expected head to be one of {heads}, got 'local'."
    assert message(parity="odd") == "Expected parity to be 'equilibrium' or 'driven', got 'odd'."
    assert message(n_members=0) == "Expected n_members to be a whole number >= 1, got 0."
    assert message(rng=None) == "Expected rng to be a whole number >= 0, the seed of all members, got None."
    assert message(hidden=()) == "Expected hidden to be widths of layers such as (64, 64), got ()."
    assert message(validation=1.0) == "Expected validation to be a share of the frames from 0 to below 1, got 1.0."
    assert message(learning_rate=0.0) == "Expected learning_rate > 0, got 0.0."
    bad = frames[0].copy()
    bad.calc = SinglePointCalculator(bad, energy=np.nan)
    with pytest.raises(InputError, match="frame 1 contain NaN"):
        network().fit([frames[1], bad])
    with pytest.raises(InputError, match=r"call fit\(frames\) before save"):
        network().save("never.model")
    model = network(epochs=1).fit(frames[:4])
    stranger = Atoms("Co", cell=[3, 3, 3], pbc=True)
    set_moments(stranger, [[0, 0, 1.0]])
    with pytest.raises(InputError, match="the frame contains Co"):
        model.predict(stranger)
