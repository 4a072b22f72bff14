"""``ase-spinml plot``: the picture that fits a file, and what is drawn in it."""

import matplotlib as mpl
import numpy as np
import pytest
from ase.build import bulk

from ase_spinml import SOSO, Heisenberg, SpinDynamics, SpinGAP, cli, load_model, read_trajectory, set_moments
from ase_spinml.commands import pictures
from ase_spinml.commands.errors import predict
from ase_spinml.demo import load_frames
from ase_spinml.io import write_frames
from ase_spinml.moments import get_moments, random_directions

mpl.use("Agg")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a model, labelled frames, and log and trajectories of a run."""
    folder = tmp_path_factory.mktemp("plot")
    write_frames(folder / "frames.xyz", load_frames()[::6])
    SpinGAP(SOSO(["Fe"], cutoff=3.5, n_max=4, body_order=2), rng=0).fit(load_frames()[::6]).save(folder / "fe.model")
    atoms = bulk("Fe", a=2.83, cubic=True) * 2
    set_moments(atoms, 2.2 * random_directions(16, 0))
    atoms.calc = Heisenberg([0.02])
    files = {"trajectory": folder / "run.traj", "logfile": folder / "run.log", "loginterval": 4}
    with SpinDynamics(atoms, 0.05, temperature_K=300, damping=0.1, rng=0, **files) as dynamics:
        dynamics.run(20)
    return folder


def plot(*arguments):
    return cli.main(["plot", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["fe.model", "frames.xyz"], "fe.model.png"),
        (["run.log"], "run.log.png"),
        (["run.traj"], "run.traj.png"),
        (["run.traj", "--frame", "2", "-o", "frame.png"], "frame.png"),
        (["frames.xyz", "--view", "above", "-o", "above.svg"], "above.svg"),
        (["run.traj", "-o", "run.gif"], "run.gif"),
    ],
)
def test_every_file_gets_its_picture(arguments, output, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    before = {path.name for path in folder.iterdir()}
    assert plot(*arguments) == 0
    assert capsys.readouterr().out == f"picture in {output}\n"
    assert {path.name for path in folder.iterdir()} - before <= {output}
    start = {"png": b"\x89PNG", "svg": b"<?xml", "gif": b"GIF8"}[output.rpartition(".")[2]]
    assert (folder / output).read_bytes().startswith(start)


def test_a_parity_picture_has_a_panel_for_every_label(folder):
    frames, model = load_frames()[::6], load_model(folder / "fe.model")
    drawn = pictures.parity_picture(*predict(model, frames))
    labels = [ax.get_ylabel() for ax in drawn.axes if ax.get_ylabel().startswith("predicted")]
    assert labels == ["predicted energy (meV/atom)", "predicted forces (meV/Å)", "predicted field m*H (meV)"]
    errors = model.evaluate(frames)
    texts = [ax.get_legend().get_texts()[0].get_text() for ax in drawn.axes if ax.get_legend()]
    values = [1e3 * errors[name] for name in ("energy_rmse", "forces_rmse", "turning_rmse")]
    units = ("meV/atom", "meV/Å", "meV")
    assert texts == [f"RMSE {value:.3g} {unit}" for value, unit in zip(values, units, strict=True)]


def test_a_log_shows_conserved_energy_magnetisation_and_temperatures(folder):
    upper, middle, lower = pictures.log_picture(folder / "run.log").axes
    rows = np.loadtxt(folder / "run.log", skiprows=1)
    np.testing.assert_allclose(upper.lines[0].get_ydata(), 1e3 * (rows[:, 7] - rows[0, 7]), atol=1e-9)
    assert upper.get_ylabel() == "change of conserved energy (meV)"
    np.testing.assert_allclose(middle.lines[0].get_ydata(), rows[:, 6])
    np.testing.assert_allclose(lower.lines[0].get_ydata(), rows[:, 5])
    assert [text.get_text() for text in lower.get_legend().get_texts()] == ["spins"]
    assert lower.get_xlabel() == "time (ps)"


def test_a_log_of_a_relaxation(folder, tmp_path):
    lines = ["  step     time      energy (eV)  fmax (eV/A)  torque (eV)"]
    lines += [f"{k:6d} 20:37:31 {-k:16.6f} {0.0:12.6f} {10.0**-k:12.3e}" for k in range(4)]
    (tmp_path / "a.log").write_text("\n".join(lines) + "\n")
    assert plot(tmp_path / "a.log") == 0
    assert (tmp_path / "a.log.png").exists()
    upper, lower = pictures.log_picture(tmp_path / "a.log").axes
    np.testing.assert_allclose(upper.lines[0].get_ydata(), [3000, 2000, 1000, 0])
    assert [line.get_label() for line in lower.lines] == ["torque (eV)"]
    np.testing.assert_allclose(lower.lines[0].get_ydata(), [1, 0.1, 0.01, 0.001])
    assert lower.get_yscale() == "log"


def test_a_trajectory_shows_energy_and_magnetisation(folder):
    frames = read_trajectory(folder / "run.traj")
    times = np.arange(6) * 0.2
    upper, lower = pictures.trajectory_picture(frames, times).axes
    energies = np.array([frame.get_potential_energy() for frame in frames]) / 16
    np.testing.assert_allclose(upper.lines[0].get_ydata(), 1e3 * (energies - energies[0]), atol=1e-9)
    np.testing.assert_allclose(lower.lines[0].get_ydata()[2], np.linalg.norm(get_moments(frames[2]).mean(axis=0)))
    assert lower.get_ylabel() == r"magnetisation ($\mu_B$/atom)"


def test_errors(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "empty.log").write_text((folder / "run.log").read_text().splitlines()[0])
    (folder / "damaged.log").write_text("  Time[ps] Etot[eV]\n 0.0 one\n")
    for arguments, sentence in (
        (["fe.model"], "Expected labelled frames beside the model fe.model, got none: name their file too."),
        (["run.traj", "--frame", "6"], "Expected a frame below 6, got 6: run.traj holds 6 frames."),
        (["run.log", "-o", "a.docx"], "Expected a picture ending in .png, .pdf or .svg, got 'a.docx'"),
        (["damaged.log"], "Expected lines of 2 numbers in damaged.log, got others: "),
        (["empty.log"], "two series of one length, at least 3 points, are needed, got shapes (0,) and (0,)"),
        (["frames.xyz", "run.traj"], "frames.xyz is not a model file of ase_spinml"),
        (["missing.xyz"], "[Errno 2] No such file or directory: 'missing.xyz'"),
    ):
        assert plot(*arguments) == 1
        assert capsys.readouterr().err.startswith(f"ase-spinml plot: {sentence}")
    assert not list(folder.glob("a.*"))
    assert not list(folder.glob(".*"))
