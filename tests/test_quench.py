"""Generated frames: tasks, labels, parallel processes, files that are taken up again, order after a quench."""

import joblib
import numpy as np
import pytest
from ase.io import read

from ase_spinml import Heisenberg, SDModel, SpinDynamics, get_moments, get_spins, set_moments
from ase_spinml.electrons import spin_lattice
from ase_spinml.errors import InputError
from ase_spinml.sampling import generate, perturbed_states, spin_quenches


@pytest.fixture
def lattice():
    return spin_lattice("triangular", (3, 3), "120")


@pytest.fixture
def tasks(lattice):
    """Three quenches of three frames and two perturbed states."""
    return spin_quenches(lattice, 3, [0, 0.45, 1.0], rng=0) + perturbed_states(lattice, [10, 60], rng=1)


def names(frames):
    return [(frame.info["task"], frame.info.get("time", frame.info.get("angle"))) for frame in frames]


def test_frames_carry_their_labels(tmp_path, lattice, tasks):
    path, calc = tmp_path / "train.xyz", SDModel()
    assert generate(path, tasks, calc, progress=False) == 11
    frames = read(path, ":")
    assert len(frames) == 11
    for frame in frames:
        fresh = frame.copy()
        np.testing.assert_allclose(
            calc.get_property("exchange_fields", fresh), frame.arrays["exchange_fields"], atol=1e-6
        )
        assert calc.get_property("energy", fresh) == pytest.approx(frame.get_potential_energy(), abs=1e-6)
        assert "momenta" not in frame.arrays
    kinds = [frame.info["config_type"] for frame in frames]
    assert kinds == 9 * ["quench"] + 2 * ["perturbed"]
    assert [frame.info["time"] for frame in frames[:3]] == [0, 0.4, 1.0]  # to the nearest step
    assert [frame.info["angle"] for frame in frames[9:]] == [10, 60]


def test_a_quench_is_spin_dynamics_from_its_seed(tmp_path, lattice):
    set_moments(lattice, 1.5 * get_moments(lattice))
    [task] = spin_quenches(lattice, 1, [0, 2.0], timestep=0.1, damping=0.3, temperature=0.05, rng=3)
    calc = Heisenberg([-0.05])
    start, end = (frame.copy() for frame in task.frames(calc))
    np.testing.assert_allclose(np.linalg.norm(get_moments(end), axis=1), 1.5)
    assert abs(get_spins(start) - get_spins(lattice)).max() > 0.5
    rng = np.random.default_rng(task.seed)
    again = start.copy()
    rng.normal(size=(9, 3))  # the numbers of the start
    again.calc = calc
    from ase import units

    SpinDynamics(again, 0.1, 0.05 / units.kB, 0.3, rng, gyromagnetic_ratio=1.0).run(20)
    np.testing.assert_array_equal(get_moments(again), get_moments(end))


def test_a_quench_may_start_from_the_states_own_order(lattice):
    [task] = spin_quenches(lattice, 1, [0.0], random=False, rng=0)
    np.testing.assert_array_equal(get_moments(next(task.frames(Heisenberg([-0.05])))), get_moments(lattice))


def test_perturbed_spins_stay_in_their_cones(lattice):
    [task] = perturbed_states([lattice], 20.0, rng=0)
    frame = next(task.frames(None))
    cosines = np.sum(get_spins(frame) * get_spins(lattice), axis=1)
    assert np.cos(np.radians(20)) < cosines.min() < cosines.max() < 1


def test_processes_write_the_same_frames(tmp_path, tasks):
    one, two = tmp_path / "one.xyz", tmp_path / "two.xyz"
    generate(one, tasks, SDModel(), progress=False)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        generate(two, tasks, SDModel(), progress=False)
    first, second = (sorted(read(path, ":"), key=lambda f: names([f])) for path in (one, two))
    assert names(first) == names(second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(get_moments(a), get_moments(b))


def test_processes_of_their_own(tmp_path, lattice):
    path = tmp_path / "train.xyz"
    assert (
        generate(
            path, perturbed_states(lattice, 10, 2, rng=0), SDModel(lambda r: 1.0 * (r < 1.5), cutoff=1.6), n_jobs=2
        )
        == 2
    )
    assert len(read(path, ":")) == 2


class Interrupted(Heisenberg):
    """Breaks off after some evaluations."""

    left = 60  # of all copies together

    def terms(self, atoms, moments):
        Interrupted.left -= 1
        if Interrupted.left < 0:
            raise KeyboardInterrupt
        return super().terms(atoms, moments)


def test_an_interrupted_run_goes_on(tmp_path, tasks):
    path, whole = tmp_path / "train.xyz", tmp_path / "whole.xyz"
    calc = Heisenberg([-0.05])
    generate(whole, tasks, calc, progress=False)
    with pytest.raises(KeyboardInterrupt):
        generate(path, tasks, Interrupted([-0.05]), progress=False)
    before = len(read(path, ":"))
    assert 0 < before < 11
    assert generate(path, tasks, calc, progress=False) == 11 - before
    assert path.read_bytes() == whole.read_bytes()
    assert generate(path, tasks, calc, progress=False) == 0
    assert path.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("cut", [1, 30, 200, 700, 1000, 1300, 2500, 5000])
def test_a_half_written_end_is_done_again(tmp_path, tasks, cut):
    path, calc = tmp_path / "train.xyz", Heisenberg([-0.05])
    generate(path, tasks, calc, progress=False)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert generate(path, tasks, calc, progress=False) >= 1
    assert path.read_bytes() == whole


def test_tasks_may_be_added_later(tmp_path, lattice, tasks):
    path, calc = tmp_path / "train.xyz", Heisenberg([-0.05])
    generate(path, tasks[:2], calc, progress=False)
    assert generate(path, tasks, calc, progress=False) == 5
    assert len(read(path, ":")) == 11


def test_calculators_keep_their_state(tmp_path, lattice):
    calc = SDModel()
    energy = calc.get_property("energy", lattice)
    generate(tmp_path / "train.xyz", perturbed_states(lattice, 10, rng=0), calc)
    assert calc.results["energy"] == energy


def test_the_same_task_has_the_same_name(lattice):
    first, again, other = (spin_quenches(lattice, 1, [1.0], rng=seed)[0].key for seed in (0, 0, 1))
    assert first == again != other
    assert perturbed_states(lattice, 10, rng=0)[0].key != perturbed_states(lattice, 11, rng=0)[0].key


def test_messages(tmp_path, lattice, tasks):
    calc = Heisenberg([-0.05])
    with pytest.raises(InputError, match=r"Expected a path that ends in .xyz or .extxyz, got train.traj"):
        generate("train.traj", tasks, calc)
    with pytest.raises(InputError, match="Expected tasks that are all different, got 1 twice: change a seed"):
        generate(tmp_path / "a.xyz", [*tasks, tasks[0]], calc)
    with pytest.raises(InputError, match=r"Expected times that rise by at least one timestep of 0.2, got"):
        spin_quenches(lattice, 1, [1.0, 1.05])
    with pytest.raises(InputError, match="Expected count to be a whole number of at least 1, got 0"):
        spin_quenches(lattice, 0, [1.0])
    path = tmp_path / "train.xyz"
    generate(path, tasks[:1], calc, progress=False)
    with pytest.raises(InputError, match=r"hold frames of these tasks, got 'quench-.*': give another path"):
        generate(path, tasks[1:], calc)
    with pytest.raises(InputError, match=r"Expected the calculator that wrote .*, got one whose fields differ by 0"):
        generate(path, tasks, Heisenberg([-0.06]))
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(InputError, match=r"Expected the frames of a task in .* one after the other, got 'quench-"):
        generate(path, tasks, calc)


@pytest.mark.physical
def test_a_quench_reaches_the_120_degree_order():
    """Triangular lattice, n = 1, J = 6: S(K) + S(K') is 1 in perfect order and 1/N for random spins."""
    side = 12
    atoms = spin_lattice("triangular", (side, side), "random", rng=3)
    atoms.calc = SDModel()
    SpinDynamics(atoms, 1.0, damping=0.2, gyromagnetic_ratio=1.0).run(300)
    waves = np.fft.fft2(get_spins(atoms).reshape(side, side, 3), axes=(0, 1))
    factor = np.sum(np.abs(waves) ** 2, axis=-1) / side**4
    assert factor[4, 8] + factor[8, 4] > 0.9
    perfect = atoms.calc.get_property("energy", spin_lattice("triangular", (side, side), "120"))
    assert atoms.get_potential_energy() - perfect < 2e-3 * side**2
