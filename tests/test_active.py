"""Active learning: scores of frames, the choice among them, streams of frames."""

import copy

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write
from ase.io.trajectory import Trajectory

from ase_spinml import SOSO, Heisenberg, SpinGAP, SpinNN, get_moments, load_model, select, set_moments
from ase_spinml.errors import InputError
from ase_spinml.moments import rotate, store_results
from ase_spinml.sampling import active, random_spins, rattles, sample, spin_cones, thermal_spins
from ase_spinml.sampling.active import Candidates, unknown
from ase_spinml.sampling.diversity import farthest_points, frame_features

HOT = (12, 13, 14)
SMALL = {"cutoff": 4.0, "n_max": 4, "n_max_angular": 2, "l_max": 2}


def iron(cells=2):
    atoms = bulk("Fe", a=2.86, cubic=True) * cells
    set_moments(atoms, np.full(len(atoms), 2.2), axis=(0, 0, 1))
    return atoms


def labelled(frames):
    """Copies with energies and fields of a Heisenberg magnet."""
    calc, out = Heisenberg([0.02], biquadratic=[0.01], reference=iron()), []
    for frame in frames:
        atoms = frame.copy()
        atoms.calc = calc
        out.append(store_results(atoms))
        out[-1].calc.results = {"energy": out[-1].calc.results["energy"]}
    return out


def near(count=12):
    """Labelled frames near the ferromagnet."""
    return labelled(sample(iron(), spin_cones(20, count), rattles(0.02), rng=0))


def gap(**options):
    return SpinGAP(SOSO(["Fe"], **SMALL), n_sparse=40, rng=0, **options)


@pytest.fixture(scope="module")
def model():
    """Fitted to spins near the ferromagnet."""
    return gap().fit(near())


@pytest.fixture(scope="module")
def pool():
    """Many cold frames, a few hot ones."""
    states = thermal_spins(60, [0.02], count=12, sweeps=10) + random_spins(3) + thermal_spins(60, [0.02], 3, sweeps=10)
    return sample(iron(), states, rattles(0.02), rng=1)


# --- scores ---


def test_the_score_is_the_posterior_without_noise(model, pool):
    """With no noise in the model at all, its standard deviations alone give the same score."""
    silent, noisy = copy.copy(model), copy.copy(model)
    silent.noise_ = {"energy": 0.0, "field": 0.0}
    noisy.noise_ = {"energy": 1e-3, "field": 2e-3}
    for atoms in pool[:4]:
        energy, fields = silent.uncertainty(atoms)
        expected = np.sqrt((energy**2 + 2.2**2 * np.sum(fields**2)) / len(atoms))
        assert unknown(noisy, atoms) == pytest.approx(expected, rel=1e-9)
        assert noisy.uncertainty(atoms)[0] > 1.01 * energy


def test_collinear_frames_are_told_apart_by_their_energy(model):
    ferromagnet, other = iron(), iron()
    set_moments(other, np.where(np.arange(16) % 2 == 0, 2.2, -2.2), axis=(0, 0, 1))
    assert not model.uncertainty(other)[1].any()  # the model has no noise
    assert unknown(model, other) > 10 * unknown(model, ferromagnet)


def test_one_strange_atom_in_a_large_crystal_counts(model):
    """A mean over atoms is not diluted as their number suggests, since variances differ by orders of magnitude."""
    cold, strange = sample(iron(3), thermal_spins(60, [0.02], 2, sweeps=10), rng=0)
    moments = get_moments(strange)
    moments[7] *= -1
    set_moments(strange, moments)
    assert unknown(model, strange) > 5 * unknown(model, cold)


def test_models_without_energies_are_scored_by_their_fields(pool):
    frames = near(4)
    for atoms in frames:
        atoms.calc = None
    options = {"hidden": (8,), "n_members": 2, "epochs": 5, "progress": False}
    torques = SpinNN(SOSO(["Fe"], **SMALL), head="site", **options).fit(frames)
    energy, fields = torques.uncertainty(pool[12])
    assert np.isnan(energy)
    assert 0 < unknown(torques, pool[12]) <= 2.2 * np.sqrt(np.sum(fields**2) / 16)
    assert unknown(torques, pool[12]) > 10 * unknown(torques, pool[0])
    fields_only = gap(optimize=None).fit(frames)
    assert fields_only.uncertainty(pool[0])[0] > 10 > 1 > unknown(fields_only, pool[0])


# --- choice ---


def test_the_choice_weighs_what_is_unknown_by_distance(model, pool):
    chosen = select(pool, model, 6)
    scores = np.array([unknown(model, atoms) for atoms in pool])
    points = frame_features(pool, model.descriptor_)
    assert chosen[0] == np.argmax(scores)
    for k in range(1, 6):
        nearest = np.linalg.norm(points[:, None] - points[chosen[:k]], axis=2).min(axis=1)
        assert chosen[k] == np.argmax(scores * nearest)
    assert set(HOT) <= set(chosen[:4])


def test_weights_of_farthest_points():
    points = np.array([[0.0], [1.0], [1.001], [5.0]])
    assert farthest_points(points, 4, 0.01, np.array([1.0, 3.0, 2.9, 0.1]))[0] == [1, 0, 3]
    assert farthest_points(points, 2, 0.0, np.zeros(4))[0] == [0, 1]


def test_frames_that_repeat_a_chosen_one_are_left_out(model, pool):
    copies = []
    for atoms in (pool[13], pool[3], pool[13], pool[3]):
        copies.append(atoms.copy())
        rotate(copies[-1], [[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    chosen = select([pool[13], pool[3], *copies], model, 4)
    assert len(chosen) == 2
    assert {k % 2 for k in chosen} == {0, 1}


def test_lists_streams_and_files_give_the_same(model, pool, tmp_path):
    expected = select(pool, model, 5)
    write(tmp_path / "pool.extxyz", pool)
    write(tmp_path / "pool.traj", pool)
    assert select(iter(pool), model, 5) == expected
    assert select(str(tmp_path / "pool.extxyz"), model, 5) == expected
    assert select(tmp_path / "pool.traj", model, 5) == expected
    with Trajectory(tmp_path / "pool.traj") as trajectory:
        assert select(trajectory, model, 5) == expected
    model.save(tmp_path / "fe.model")
    assert select(pool, load_model(tmp_path / "fe.model"), 5) == expected
    assert select(pool[4], model, 1) == [0]


def test_only_so_many_frames_are_remembered(model, pool, monkeypatch):
    """Those given up on the way are the known and the repeated ones: the hot frames stay."""
    candidates = Candidates(model, 8)
    for atoms in pool:
        candidates.add(atoms)
        assert len(candidates.numbers) <= 8
    assert candidates.seen == len(pool)
    assert set(HOT) <= set(candidates.numbers)
    monkeypatch.setattr(active, "REMEMBERED", 1)
    monkeypatch.setattr(active, "LEAST_REMEMBERED", 8)
    assert set(select(iter(pool), model, 3)) == set(select(pool[:15], model, 3))


def test_a_committee_of_networks_chooses_as_well(pool):
    network = SpinNN(SOSO(["Fe"], **SMALL), hidden=(8,), n_members=3, epochs=5, progress=False).fit(near(6))
    chosen = select(pool, network, 4)
    assert len(set(chosen) & set(HOT)) >= 2


def test_learning_what_was_chosen_leaves_less_unknown(model, pool):
    before = np.mean([unknown(model, atoms) ** 2 for atoms in pool])

    def left(numbers):
        fitted = gap().fit(near() + labelled([pool[k] for k in numbers]))
        return np.mean([unknown(fitted, atoms) ** 2 for atoms in pool])

    chosen = left(select(pool, model, 4))
    cold = left([0, 4, 8, 11])
    assert chosen < 0.1 * cold
    assert chosen < 0.1 * before


# --- refusals ---


def test_what_cannot_be_used_is_refused(model, pool):
    with pytest.raises(InputError) as caught:
        select(pool, model, 19)
    assert str(caught.value) == "Expected n of at most 18, the number of frames, got 19."
    with pytest.raises(InputError) as caught:
        select([], model, 1)
    assert str(caught.value) == "Expected frames to choose from, got none."
    for n in (0, 2.0):
        with pytest.raises(InputError) as caught:
            select(pool, model, n)
        assert str(caught.value) == f"Expected n to be a whole number of at least 1, got {n}."
    with pytest.raises(InputError) as caught:
        select(pool, Heisenberg([0.02]), 1)
    assert str(caught.value) == "Expected a model with standard deviations, SpinGAP or SpinNN, got Heisenberg."
    with pytest.raises(InputError) as caught:
        select(pool, SpinGAP(SOSO(["Fe"])), 1)
    assert str(caught.value) == "the model is not fitted: call fit(frames) before selecting frames with it"
    alone = SpinNN(SOSO(["Fe"], **SMALL), hidden=(4,), epochs=1, progress=False).fit(labelled([iron()]))
    with pytest.raises(InputError) as caught:
        select(pool, alone, 1)
    assert str(caught.value) == (
        "Expected a SpinNN with several members, got one, which has no spread: fit with n_members=4."
    )
    nickel = pool[0].copy()
    nickel.symbols[0] = "Ni"
    with pytest.raises(InputError, match="Ni"):
        select([pool[0], nickel], model, 1)
