"""Ladders of lambda: written, read back, and extrapolated to the exact energy and field of the constrained state."""

import numpy as np
import pytest
import vasp_samples as vasp
from ase import Atoms
from scipy.optimize import minimize
from test_vasp_constraint import ELECTRONS, SYMBOLS, TARGETS

from ase_spinml import get_moments, set_moments
from ase_spinml.errors import InputError
from ase_spinml.io import read_ladder, read_vasp, write_ladder
from ase_spinml.io.vasp.incar import read_incar, value
from ase_spinml.io.vasp.ladder import extrapolate
from ase_spinml.models.labels import read_labels
from ase_spinml.moments import transverse, unit_rows

LAMBDAS = (5.0, 10.0, 20.0, 40.0)


def frame():
    sample = vasp.make_sample(steps=1, symbols=SYMBOLS)
    atoms = Atoms(SYMBOLS, positions=sample.positions[0], cell=sample.cell, pbc=True)
    set_moments(atoms, np.where(TARGETS.any(axis=1)[:, None], TARGETS, [0.1, 0, 0]))
    return atoms


def exact(mode):
    """Energy, moments and field of an infinite penalty: directions fixed (mode 2: vectors), the rest relaxed."""
    axes = unit_rows(TARGETS)

    def moments(x):
        return np.array([x[0] * axes[0], x[1] * axes[1], x[2:]])

    def fixed(x):
        return np.array([TARGETS[0], TARGETS[1], x])

    build, start = (fixed, np.ones(3)) if mode == 2 else (moments, np.array([2.0, 2.0, 1, 1, 1]))
    done = minimize(lambda x: ELECTRONS.energy(build(x)), start, method="BFGS", tol=1e-10)
    m = build(done.x)
    return done.fun, m, transverse(-ELECTRONS.gradient(m), unit_rows(m))


def run_ladder(folder, mode, lambdas=LAMBDAS):
    """Job folders, and what VASP would have written into them."""
    for job in write_ladder(folder, frame(), lambdas, constraint=mode, rwigs=[1.2, 1.3], targets=TARGETS):
        lam = value(read_incar(job / "INCAR"), "LAMBDA")
        moments, penalty, printed = ELECTRONS.solve(mode, lam, TARGETS)
        sample = vasp.make_sample(steps=1, symbols=SYMBOLS)
        sample.free = np.array([ELECTRONS.energy(moments) + penalty])
        text = vasp.oszicar(sample, [penalty], lam, moments[None], printed[None], constrained=[0, 1])
        (job / "OSZICAR").write_text(text)


@pytest.mark.parametrize("mode", [1, 2, 4])
def test_the_limit_is_the_exact_one(tmp_path, mode):
    run_ladder(tmp_path, mode)
    ladder = read_ladder(tmp_path)
    energy, moments, fields = exact(mode)
    assert ladder["lambdas"].tolist() == list(LAMBDAS)
    assert abs(ladder["energies"][-1] - energy) > 5 * ladder["energy_error"] > 0
    assert ladder["energy"] == pytest.approx(energy, abs=max(2 * ladder["energy_error"], 2e-6))
    np.testing.assert_allclose(ladder["exchange_fields"][:2], fields[:2], atol=max(2 * ladder["field_error"], 2e-5))
    assert ladder["field_error"] < 0.1 * np.abs(fields[:2]).max()
    assert ladder["slope"] == pytest.approx(-1, abs=0.1)
    assert (np.diff(ladder["angles"]) < 0).all()
    np.testing.assert_allclose(unit_rows(get_moments(ladder["frame"]))[:2], unit_rows(moments)[:2], atol=1e-6)


@pytest.mark.parametrize("mode", [1, 2, 4])
def test_one_run_is_nearly_right_once_its_penalty_is_added(tmp_path, mode):
    """E - E_p = E_inf - 2 E_p and E = E_inf - E_p to leading order, whatever the mode."""
    run_ladder(tmp_path, mode)
    ladder = read_ladder(tmp_path)
    error = np.abs(ladder["corrected"] - exact(mode)[0])
    assert (error < 0.2 * ladder["penalties"]).all()
    plain = ladder["energies"] - exact(mode)[0]
    np.testing.assert_allclose(plain[-1], -2 * ladder["penalties"][-1], rtol=0.15)


def test_the_frame_of_the_limit_can_be_trained_on(tmp_path):
    run_ladder(tmp_path, 1)
    labels = read_labels(read_ladder(tmp_path)["frame"])
    assert labels.labelled_spins.tolist() == [True, True, False]
    assert labels.energy == pytest.approx(exact(1)[0], abs=1e-4)


def test_two_runs_give_a_line(tmp_path):
    run_ladder(tmp_path, 1, (10, 20))
    ladder = read_ladder(sorted(tmp_path.glob("lambda_*")))
    assert ladder["energy"] == pytest.approx(exact(1)[0], abs=2 * ladder["energy_error"])


def test_extrapolation_of_a_parabola_is_exact():
    lambdas = np.array([1.0, 3.0, 10.0, 40.0])
    values = 2.0 - 0.5 / lambdas + 3.0 / lambdas**2
    limit, error = extrapolate(lambdas, values)
    assert limit == pytest.approx(2.0, abs=1e-12)
    assert error > 0
    line, _ = extrapolate(lambdas[-2:], (2.0 - 0.5 / lambdas)[-2:])
    assert line == pytest.approx(2.0, abs=1e-12)


def test_folders_are_named_after_lambda(tmp_path):
    folders = write_ladder(tmp_path, frame(), (10, 2.5), constraint=4, rwigs=[1.2, 1.3])
    assert [folder.name for folder in folders] == ["lambda_2.5", "lambda_10"]
    assert value(read_incar(folders[0] / "INCAR"), "LAMBDA") == 2.5


def test_a_ladder_needs_two_rungs(tmp_path):
    with pytest.raises(InputError, match="Expected at least two different lambdas, got"):
        write_ladder(tmp_path, frame(), [10, 10], constraint=1, rwigs=[1.2, 1.3])
    with pytest.raises(InputError, match=r"Expected at least two run folders lambda_\* in .*, got 0"):
        read_ladder(tmp_path)


def test_rungs_must_differ_in_lambda_alone(tmp_path):
    run_ladder(tmp_path, 1)
    jobs = sorted(tmp_path.glob("lambda_*"))
    with pytest.raises(InputError, match="Expected a different lambda in every run"):
        read_ladder([jobs[0], jobs[0]])
    text = (jobs[0] / "POSCAR").read_text().splitlines()
    text[2] = "  4.5 0 0"
    (jobs[0] / "POSCAR").write_text("\n".join(text) + "\n")
    with pytest.raises(InputError, match="Expected the same structure, mode and targets in every run of the ladder"):
        read_ladder(tmp_path)


def test_rungs_must_be_constrained(tmp_path):
    run_ladder(tmp_path, 1)
    with pytest.raises(InputError, match=r"Expected one ionic step of a constrained run in .*, got 1 without"):
        read_ladder(tmp_path, constraint=False)


def test_a_single_rung_is_an_ordinary_run(tmp_path):
    run_ladder(tmp_path, 1)
    job = tmp_path / "lambda_40"
    back = read_vasp(job, max_angle=90, max_penalty=1)[0]
    assert back.info["lambda"] == 40
    np.testing.assert_allclose(back.arrays["target_moments"], TARGETS, atol=1e-9)
