"""``ase-spinml fit`` and ``evaluate`` on a few of the shipped frames: tables, files, the same model again."""

import contextlib
import io

import ase.io
import numpy as np
import pytest
import yaml

from ase_spinml import cli, load_model
from ase_spinml.commands.errors import table
from ase_spinml.demo import load_frames, split
from ase_spinml.io import read_frames, write_frames
from ase_spinml.models.labels import compare

SMALL = ["--body-order", "2", "--n-max", "4", "--cutoff", "3.5", "--sigma-field", "3e-3"]


def run(*arguments):
    """Exit code and printed lines of a command."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = cli.main([str(argument) for argument in arguments])
    return code, printed.getvalue().splitlines()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder with 24 frames and a fitted model beside its record."""
    folder = tmp_path_factory.mktemp("fit")
    write_frames(folder / "train.xyz", load_frames()[::4] + load_frames()[1:3])
    code, lines = run("fit", folder / "train.xyz", *SMALL, "--holdout", "0.25", "-o", folder / "fe.model")
    assert code == 0
    (folder / "printed").write_text("\n".join(lines))
    return folder


def test_fit_prints_errors_and_writes_model_and_record(folder):
    lines = (folder / "printed").read_text().splitlines()
    assert lines[0] == "fitting gap to 18 frames"
    assert lines[1].split() == ["RMSE", "frames", "energy", "forces", "field", "m*H", "field", "H"]
    assert lines[2].split() == ["meV/atom", "meV/A", "meV", "meV/mu_B"]
    rows = {line.split()[0]: [float(word) for word in line.split()[1:]] for line in lines[3:5]}
    assert list(rows) == ["training", "test"]
    assert [row[0] for row in rows.values()] == [18, 6]
    assert np.isfinite(list(rows.values())).all()
    assert lines[5] == f"model in {folder / 'fe.model'}, settings in {folder / 'fe.model.yaml'}"


def test_the_table_shows_what_evaluate_says(folder):
    model = load_model(folder / "fe.model")
    train, test = split(read_frames(folder / "train.xyz"), 0, 0.25)
    expected = list(table({"training": model.evaluate(train), "test": model.evaluate(test)}))
    assert (folder / "printed").read_text().splitlines()[1:5] == expected


def test_the_record_holds_every_setting(folder):
    held = yaml.safe_load((folder / "fe.model.yaml").read_text())
    assert held["command"] == "fit"
    assert set(held["versions"]) == {"ase_spinml", "ase", "numpy", "scipy", "scikit-learn", "torch"}
    assert list(held["sha256"]) == held["frames"] == ["train.xyz"]
    assert held["output"] == "fe.model"
    model = load_model(folder / "fe.model")
    for name, value in model.descriptor.get_params().items():
        if name not in ("chirality", "magnetic"):
            assert held[name] == value
    for name in ("n_sparse", "zeta", "kernel", "selection", "optimize", "fit_sigmas", "length_scale"):
        assert held[name] == getattr(model, name)
    assert held["sigma_field"] == model.sigma_field == 3e-3
    assert held["seed"] == model.rng == 0


def test_the_record_fits_the_same_model_bit_for_bit(folder, tmp_path):
    before = (folder / "fe.model").read_bytes()
    assert run("fit", folder / "fe.model.yaml", "-o", tmp_path / "again.model")[0] == 0
    assert (tmp_path / "again.model").read_bytes() == before
    assert run("fit", tmp_path / "again.model.yaml")[0] == 0  # paths relative to the record; replaces its own result
    assert (tmp_path / "again.model").read_bytes() == before


def test_networks_too_and_flags_win(tmp_path):
    write_frames(tmp_path / "train.xyz", load_frames()[:12])
    (tmp_path / "nn.yaml").write_text(
        "frames: train.xyz\nmodel: nn\nhidden: 4\nepochs: 50\nbody_order: 2\nn_max: 3\ncutoff: 3.5\noutput: a.model\n"
    )
    assert run("fit", tmp_path / "nn.yaml", "--epochs", "3", "--dtype", "float64")[0] == 0
    model = load_model(tmp_path / "a.model")
    assert (model.epochs, model.hidden) == (3, (4,))
    assert run("fit", tmp_path / "a.model.yaml", "-o", tmp_path / "b.model")[0] == 0
    assert (tmp_path / "a.model").read_bytes() == (tmp_path / "b.model").read_bytes()


def test_a_model_of_other_settings_is_kept(folder, tmp_path, capsys):
    before = (folder / "fe.model").read_bytes()
    assert run("fit", folder / "train.xyz", "--cutoff", "3.3", "-o", folder / "fe.model")[0] == 1
    assert "made with other settings: choose another, or --force replaces it." in capsys.readouterr().err
    assert (folder / "fe.model").read_bytes() == before


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--holdout", "0.25", "--test", "train.xyz"], "Expected test or holdout, got both: leave one out."),
        (["--holdout", "1.5"], "Expected holdout to be a share between 0 and 1, got 1.5."),
        (["--holdout", "0.01"], "Expected a holdout that leaves frames on both sides, got 0.01 of 24."),
        (["--cutoff", "-1"], "cutoff must be a positive length in Angstrom, got -1.0"),
        (
            ["--hidden", "8"],
            "Expected settings that belong to model gap, got hidden, which belongs to nn: leave it out.",
        ),
        (["--species", "Co"], "the descriptor knows the species Co, but the frame contains Fe"),
    ],
)
def test_expected_errors_are_one_sentence(more, sentence, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert cli.main(["fit", "train.xyz", "-o", "x.model", *more]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"ase-spinml fit: {sentence}")
    assert error.count("\n") == 1
    assert not (folder / "x.model").exists()
    assert not (folder / "x.model.yaml").exists()


def test_missing_output_and_files(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as caught:
        cli.main(["fit", "train.xyz"])
    assert caught.value.code == 2
    assert "the output is missing: name the file of the model with -o" in capsys.readouterr().err
    assert cli.main(["fit", "nothing.xyz", "-o", "x.model"]) == 1
    assert cli.main(["fit", "nothing.yaml"]) == 1
    assert cli.main(["evaluate", "train.xyz", "train.xyz"]) == 1
    assert "train.xyz is not a model file of ase_spinml" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        cli.main(["evaluate", "fe.model"])
    assert caught.value.code == 2


def test_changed_frames_are_noticed(folder, tmp_path, capsys):
    write_frames(tmp_path / "train.xyz", load_frames()[:6])
    text = (folder / "fe.model.yaml").read_text()
    (tmp_path / "fe.model.yaml").write_text(text)
    assert run("fit", tmp_path / "fe.model.yaml")[0] == 1
    assert "as it was when the settings were written, got another content" in capsys.readouterr().err


def test_evaluate_by_kind(folder, tmp_path):
    code, lines = run(
        "evaluate",
        folder / "fe.model",
        folder / "train.xyz",
        "-o",
        tmp_path / "predictions.xyz",
        "--plot",
        tmp_path / "parity.png",
    )
    assert code == 0
    frames, model = read_frames(folder / "train.xyz"), load_model(folder / "fe.model")
    kinds = sorted({frame.info["config_type"] for frame in frames})
    rows = {"all": model.evaluate(frames)}
    rows |= {kind: model.evaluate([f for f in frames if f.info["config_type"] == kind]) for kind in kinds}
    assert lines[: len(rows) + 2] == list(table(rows))
    predicted = ase.io.read(tmp_path / "predictions.xyz", ":")
    result = model.predict(frames[3])
    assert predicted[3].get_potential_energy() == pytest.approx(result["energy"], abs=1e-6)
    np.testing.assert_allclose(predicted[3].get_forces(), result["forces"], atol=1e-7)
    np.testing.assert_allclose(predicted[3].arrays["exchange_fields"], result["exchange_fields"], atol=1e-7)
    assert predicted[3].info["config_type"] == frames[3].info["config_type"]
    assert (tmp_path / "parity.png").read_bytes().startswith(b"\x89PNG")
    assert {item.name for item in tmp_path.iterdir()} == {"predictions.xyz", "parity.png"}


def test_inputs_are_never_replaced(folder, capsys):
    before = (folder / "train.xyz").read_bytes()
    assert run("fit", folder / "train.xyz", *SMALL, "-o", folder / "train.xyz", "--force")[0] == 1
    assert run("evaluate", folder / "fe.model", folder / "train.xyz", "-o", folder / "train.xyz")[0] == 1
    assert capsys.readouterr().err.count("Expected an output other than the input, got") == 2
    assert (folder / "train.xyz").read_bytes() == before


def test_evaluate_from_a_file(folder, tmp_path):
    (tmp_path / "e.yaml").write_text(f"model: {folder / 'fe.model'}\nframes: [{folder / 'train.xyz'}]\noutput: p.xyz\n")
    assert run("evaluate", tmp_path / "e.yaml")[0] == 0
    assert len(read_frames(tmp_path / "p.xyz")) == 24


def test_a_table_without_some_labels():
    assert list(table({"all": {"n_frames": 3, "field_rmse": 0.00123}, "a": {"n_frames": 1}})) == [
        "RMSE   frames     field H",
        "                 meV/mu_B",
        "all         3        1.23",
        "a           1           -",
    ]
    assert compare([], [])["n_frames"] == 0


def test_info_of_a_model(folder):
    code, lines = run("info", folder / "fe.model")
    assert code == 0
    assert lines[0] == "model: SpinGAP for Fe, cutoff 3.5 A"
    assert lines[1].startswith("fitted to: 18 frames, atoms: ")
