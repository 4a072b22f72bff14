"""The command line and the demonstration behind it, end to end in a small size."""

import contextlib
import io

import ase.io
import numpy as np
import pytest

import ase_spinml
from ase_spinml import cli, demo, load_model
from ase_spinml.errors import InputError
from ase_spinml.moments import get_moments

TINY = demo.Size(n_sparse=150, repeat=2, nve_steps=4, langevin_steps=4, interval=2)
PICTURES = ["nve_drift.png", "parity.png", "run_300K.png"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Exit code, printed lines and directory of a tiny demonstration, run into a directory that is not empty."""
    output = tmp_path_factory.mktemp("demo") / "output"
    output.mkdir()
    (output / "fe.xyz").write_text("left from an earlier run\n")
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(demo, "Size", lambda: TINY)
        code = cli.main(["demo", "--output", str(output)])
    return code, printed.getvalue().splitlines(), output


def test_demo_leaves_its_files(finished):
    code, lines, output = finished
    assert code == 0
    assert sorted(path.name for path in output.iterdir()) == sorted(["fe.model", "fe.traj", "fe.xyz", *PICTURES])
    for name in PICTURES:
        assert (output / name).read_bytes().startswith(b"\x89PNG")
    assert lines[-1].startswith(f"files in {output}: fe.model, fe.traj, fe.xyz")


def test_demo_prints_the_table(finished):
    lines = finished[1]
    assert lines[0] == "bcc Fe, PBE, noncollinear: training on 70 frames, 18 held out"
    rows = {line[:18].strip(): [float(word) for word in line[18:].split()] for line in lines[3:6]}
    assert list(rows) == ["SOSO-GAP", "Heisenberg pairs", "spread of labels"]
    assert np.isfinite(list(rows.values())).all()
    assert rows["SOSO-GAP"][1] < rows["spread of labels"][1]


def test_demo_trajectories(finished):
    output = finished[2]
    extended = ase.io.read(output / "fe.xyz", ":")
    binary = ase.io.read(output / "fe.traj", ":")
    assert [len(frames) for frames in (extended, binary)] == [3, 3]
    for one, other in zip(extended, binary, strict=True):
        assert one.arrays["exchange_fields"].shape == (16, 3)
        np.testing.assert_allclose(get_moments(one), get_moments(other), atol=1e-7)
        np.testing.assert_allclose(np.linalg.norm(get_moments(other), axis=1), 2.2, rtol=1e-12)


def test_demo_model_opens_again(finished):
    output = finished[2]
    frame = ase.io.read(output / "fe.traj", 1)
    result = load_model(output / "fe.model").predict(frame)
    assert result["energy"] == pytest.approx(frame.get_potential_energy(), abs=1e-9)


def test_split_is_a_seeded_partition():
    frames = list(range(88))
    train, test = demo.split(frames, rng=0)
    assert (len(train), len(test)) == (70, 18)
    assert sorted(train + test) == frames
    assert demo.split(frames, rng=0) == (train, test)
    assert demo.split(frames, rng=1) != (train, test)


def test_error_table_of_known_errors():
    reference = {name: np.array([-1.0, 3.0]) for name in ("energy", "turn", "field", "forces")}
    shifted = {name: values + 0.5 for name, values in reference.items()}
    assert list(demo.error_table(reference, {"model": shifted})) == [
        "held-out RMSE           energy   field m*H     field H      forces",
        "                      meV/atom         meV     eV/mu_B       meV/A",
        "model                     0.50        0.50     0.50000         0.5",
        "spread of labels          2.00        2.24     2.23607         2.2",
    ]


def test_shipped_frames_have_every_label():
    frames = demo.load_frames()
    values = demo.labels(frames)
    n_atoms = sum(len(frame) for frame in frames)
    assert {name: len(array) for name, array in values.items()} == {
        "energy": 88,
        "turn": 3 * n_atoms,
        "field": 3 * n_atoms,
        "forces": 3 * n_atoms,
    }
    assert np.std(values["energy"]) == pytest.approx(112.2, abs=0.1)
    assert np.sqrt(np.mean(values["turn"] ** 2)) == pytest.approx(128.4, abs=0.1)
    assert np.sqrt(np.mean(values["forces"] ** 2)) == pytest.approx(781.7, abs=0.1)


def test_input_error_is_one_sentence_and_exit_code_1(monkeypatch, capsys):
    def refuse(output, say):
        raise InputError("expected this, got that: do so")

    monkeypatch.setattr(demo, "run_demo", refuse)
    assert cli.main(["demo"]) == 1
    printed = capsys.readouterr()
    assert printed.err == "ase-spinml demo: expected this, got that: do so\n"
    assert printed.out == ""


def test_output_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / "taken").write_text("a file")
    assert cli.main(["demo", "--output", str(tmp_path / "taken")]) == 1
    assert capsys.readouterr().err.startswith("ase-spinml demo: [Errno 17] File exists")


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["demo", "--colour"]])
def test_wrong_command_line_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: ase-spinml" in capsys.readouterr().err


def test_help_and_version(capsys):
    for flag, text in (("--help", "demo"), ("--version", ase_spinml.__version__)):
        with pytest.raises(SystemExit) as caught:
            cli.main([flag])
        assert caught.value.code == 0
        assert text in capsys.readouterr().out
