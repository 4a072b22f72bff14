"""``ase-spinml run``: what it leaves, the same run again from its record, restart, and what it refuses."""

import contextlib
import io

import ase.io
import numpy as np
import pytest
import yaml
from ase import units
from ase.build import bulk

from ase_spinml import (
    SOSO,
    Heisenberg,
    SpinCalculator,
    SpinDynamics,
    SpinGAP,
    SpinLatticeDynamics,
    cli,
    read_trajectory,
    set_moments,
)
from ase_spinml.demo import load_frames
from ase_spinml.moments import get_moments, random_directions

SPINS = ["--kind", "spin-dynamics", "--exchange", "0.02,0.01", "--interval", "5"]
WARM = ["--temperature", "300", "--damping", "0.1", "--steps", "20", "--checkpoint-interval", "10"]


def run(*arguments):
    """Exit code and printed lines of ``ase-spinml run``."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = cli.main(["run", *map(str, arguments)])
    return code, printed.getvalue().splitlines()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The present folder, with a crystal of random spins and one with moments of one number per atom."""
    monkeypatch.chdir(tmp_path)
    atoms = bulk("Fe", a=2.83, cubic=True) * 2
    ase.io.write("scalar.xyz", atoms)
    set_moments(atoms, 2.2 * random_directions(16, 0))
    ase.io.write("fe.xyz", atoms)
    return tmp_path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """File of a small model."""
    path = tmp_path_factory.mktemp("model") / "fe.model"
    SpinGAP(SOSO(["Fe"], cutoff=3.5, n_max=4, body_order=2), rng=0).fit(load_frames()[::4]).save(path)
    return path


def test_spin_dynamics_is_that_of_the_library(folder):
    assert run("fe.xyz", *SPINS, *WARM, "--seed", 3, "-o", "a") == (
        0,
        ["20 steps in a.traj, log in a.log, settings in a.yaml"],
    )
    atoms = ase.io.read("fe.xyz")
    atoms.calc = Heisenberg([0.02, 0.01])
    options = {"temperature_K": 300, "damping": 0.1, "rng": 3, "trajectory": "b.traj", "loginterval": 5}
    SpinDynamics(atoms, 1.0 * units.fs, checkpoint="b", checkpoint_interval=10, **options).run(20)
    ours, theirs = read_trajectory("a.traj"), read_trajectory("b.traj")
    assert len(ours) == len(theirs) == 5
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(get_moments(one), get_moments(other))
        np.testing.assert_array_equal(one.arrays["exchange_fields"], other.arrays["exchange_fields"])
    assert len((folder / "a.log").read_text().splitlines()) == 6


def test_the_record_runs_the_same_again(folder):
    assert run("fe.xyz", *SPINS, *WARM, "-o", "a")[0] == 0
    held = yaml.safe_load((folder / "a.yaml").read_text())
    assert list(held["sha256"]) == ["fe.xyz"]
    expected = {"kind": "spin-dynamics", "exchange": [0.02, 0.01], "temperature": 300.0, "integrator": "midpoint"}
    assert expected.items() <= held.items()
    assert "friction" not in held
    assert "moves" not in held
    before = {name: (folder / name).read_bytes() for name in ("a.traj", "a.log", "a.yaml")}
    assert run("a.yaml")[0] == 0
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert run("a.yaml", "-o", "b", "--seed", 1)[0] == 0
    assert (folder / "b.traj").read_bytes() != before["a.traj"]


def test_a_restarted_run_equals_an_unbroken_one(folder, capsys):
    assert run("fe.xyz", *SPINS, *WARM, "-o", "a")[0] == 0
    assert run("fe.xyz", *SPINS, *WARM, "--steps", 10, "-o", "b")[0] == 0
    assert run("b.yaml", "--restart", "--steps", 20)[0] == 0
    for one, other in zip(read_trajectory("a.traj"), read_trajectory("b.traj"), strict=True):
        np.testing.assert_array_equal(get_moments(one), get_moments(other))
    assert (folder / "a.log").read_text() == (folder / "b.log").read_text()
    assert yaml.safe_load((folder / "b.yaml").read_text())["steps"] == 20
    assert run("b.yaml", "--restart", "--steps", 20)[0] == 0
    assert run("b.yaml", "--restart", "--steps", 15)[0] == 1
    assert "Expected more steps than the 20 that are done, got 15: raise --steps." in capsys.readouterr().err
    assert run("b.yaml", "--restart", "--steps", 30, "--damping", 0.2)[0] == 1
    assert (
        "Expected the settings of b.yaml to restart, got others: change nothing but steps." in capsys.readouterr().err
    )
    assert run("b.yaml", "--restart", "-o", "c")[0] == 1
    assert "Expected the checkpoint c.checkpoint to restart from, found none" in capsys.readouterr().err


def test_spin_lattice_dynamics(folder, model):
    flags = ["--kind", "spin-lattice-dynamics", "--model", model, "--friction", 0.01, "--interval", 2, "--steps", 4]
    assert run("fe.xyz", *flags, "--temperature", 300, "-o", "a")[0] == 0
    atoms = ase.io.read("fe.xyz")
    atoms.calc = SpinCalculator(model)
    options = {"temperature_K": 300, "friction": 0.01 / units.fs, "rng": 0}
    dynamics = SpinLatticeDynamics(atoms, 1.0 * units.fs, **options)
    dynamics.run(4)
    last = read_trajectory("a.traj")[-1]
    np.testing.assert_allclose(last.positions, atoms.positions, atol=1e-12)
    np.testing.assert_allclose(last.get_momenta(), atoms.get_momenta(), atol=1e-12)
    assert np.abs(last.get_momenta()).max() > 0


def test_relaxation(folder, capsys):
    flags = ["--kind", "relaxation", "--exchange", 0.02, "--torque-max", 1e-6]
    code, lines = run("fe.xyz", *flags, "-o", "a")
    assert code == 0
    assert lines[0].startswith("converged in ")
    assert lines[0].endswith(f"energy {-16 * 4 * 0.02:.6f} eV, state in a.xyz")
    last = ase.io.read("a.xyz")
    spins = get_moments(last) / 2.2
    np.testing.assert_allclose(spins @ spins[0], 1, atol=1e-6)
    assert len(read_trajectory("a.traj")) == len((folder / "a.log").read_text().splitlines()) - 1
    assert {path.name for path in folder.glob("a.*")} == {"a.xyz", "a.traj", "a.log", "a.yaml"}
    assert run("fe.xyz", *flags, "--steps", 2, "-o", "b")[0] == 1
    error = capsys.readouterr().err
    assert "Expected forces below 0.01 eV/A and torques below 1e-06 eV within 2 steps, got 0 and " in error
    assert (folder / "b.xyz").exists()
    assert run("a.yaml", "--restart")[0] == 1


def test_moments_that_the_settings_give(folder, model, capsys):
    flags = [*SPINS, "--steps", 0]
    assert run("scalar.xyz", *flags, "--axis", "1,0,0", "-o", "a")[0] == 0
    np.testing.assert_allclose(get_moments(read_trajectory("a.traj", 0)), np.tile([2.3, 0, 0], (16, 1)))
    assert run("fe.xyz", *flags, "--moments", "Fe=1.5", "-o", "b")[0] == 0
    np.testing.assert_allclose(get_moments(read_trajectory("b.traj", 0)), np.tile([0, 0, 1.5], (16, 1)))
    assert run("fe.xyz", *flags, "--moments", "Co=1.5", "-o", "c")[0] == 1
    assert "Expected moments for every element, got none for Fe." in capsys.readouterr().err
    ase.io.write("bare.xyz", bulk("Al"))
    assert run("bare.xyz", *flags, "-o", "c")[0] == 1
    assert "Expected moments in bare.xyz, got none: give --moments, such as Fe=2.2." in capsys.readouterr().err
    assert run("b.traj", *flags, "-o", "c")[0] == 0  # with the fields of another run
    assert not list(folder.glob("c.checkpoint.*"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["fe.xyz", "--kind", "relaxation"], "Expected a model or exchange constants, got neither: give --model or"),
        (["fe.xyz", *SPINS, "--model", "x"], "Expected a model or exchange constants, got both: give --model or"),
        (["fe.xyz", "--kind", "spin-lattice-dynamics", "--exchange", "1"], "Expected a model where atoms move, got"),
        (["fe.xyz", "--kind", "relaxation", "--moves", "both", "--exchange", "1"], "Expected a model where atoms move"),
        (["fe.xyz", *SPINS, "--temperature", "300"], "Expected damping > 0 with temperature_K, got none"),
        (["fe.xyz", *SPINS, "--timestep", "0"], "Expected timestep > 0 in ASE time units, got 0.0."),
        (["fe.xyz", *SPINS, "--friction", "1"], "Expected settings that belong to kind spin-dynamics, got friction,"),
        (["fe.xyz", "--kind", "relaxation", "--exchange", "1", "--model", "no"], "Expected a model or exchange"),
        (["fe.xyz", "--kind", "relaxation", "--fmax", "0", "--exchange", "1"], "Expected fmax > 0 in eV/Angstrom"),
    ],
)
def test_expected_errors_are_one_sentence(arguments, sentence, folder, capsys):
    (folder / "x").touch()
    (folder / "no").touch()
    before = {path.name for path in folder.iterdir()}
    assert run(*arguments, "-o", "a")[0] == 1
    error = capsys.readouterr().err
    assert error.startswith(f"ase-spinml run: {sentence}")
    assert error.count("\n") == 1
    assert {path.name for path in folder.iterdir()} == before


def test_old_results_outlive_errors(folder, capsys):
    assert run("fe.xyz", *SPINS, "--steps", 5, "-o", "a")[0] == 0
    before = {path.name: path.read_bytes() for path in folder.glob("a.*")}
    assert run("fe.xyz", *SPINS, "--steps", 5, "--seed", 1, "-o", "a")[0] == 1
    assert "made with other settings: choose another, or --force replaces it." in capsys.readouterr().err
    assert run("fe.xyz", *SPINS, "--timestep", -1, "-o", "a", "--force")[0] == 1
    assert {path.name: path.read_bytes() for path in folder.glob("a.*")} == before
    assert run("fe.xyz", *SPINS, "--steps", 4, "-o", "a", "--force")[0] == 0
    assert len(read_trajectory("a.traj")) == 1


def test_settings_written_by_hand_are_never_replaced(folder, capsys):
    text = "# mine\nstructure: fe.xyz\nkind: spin-dynamics\nexchange: 0.02\nsteps: 2\noutput: a\n"
    (folder / "a.yaml").write_text(text)
    assert run("a.yaml", "--force")[0] == 1
    assert "Expected a.yaml to be free for the record of the results, got a file that no" in capsys.readouterr().err
    assert (folder / "a.yaml").read_text() == text
    assert run("a.yaml", "-o", "b")[0] == 0


def test_the_structure_is_never_replaced(folder, capsys):
    before = (folder / "fe.xyz").read_bytes()
    assert run("fe.xyz", "--kind", "relaxation", "--exchange", 0.02, "-o", "fe", "--force")[0] == 1
    assert "Expected an output other than the input, got fe.xyz for both: choose another." in capsys.readouterr().err
    assert (folder / "fe.xyz").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fe.xyz", "-o", "a"], "the kind is missing: give --kind, or kind in the file"),
        (["fe.xyz", *SPINS], "the output is missing: give --output, or output in the file"),
        (["fe.xyz", "--kind", "walk"], "invalid choice: 'walk'"),
        (["fe.xyz", *SPINS, "--steps", "few"], "expected a whole number from 0, got 'few'"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, words, folder, capsys):
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_unreadable_structures(folder, capsys):
    (folder / "damaged.xyz").write_text("3\nno lattice\nFe 0 0\n")
    for name in ("damaged.xyz", "missing.xyz"):
        assert run(name, *SPINS, "-o", "a")[0] == 1
        assert capsys.readouterr().err.count("\n") == 1
