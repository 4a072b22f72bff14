"""Operating a run: trajectories, log, checkpoints, restart bit for bit, also after kill -9."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import BaseCalculator
from ase.calculators.emt import EMT
from ase.calculators.mixing import SumCalculator
from ase.io import read

from ase_spinml.calculators.analytic import Heisenberg, NonMagnetic, Zeeman
from ase_spinml.dynamics.checkpoint import read_checkpoint, write_checkpoint
from ase_spinml.dynamics.md import SpinDynamics, SpinLatticeDynamics
from ase_spinml.dynamics.trajectory import SpinTrajectory, read_trajectory
from ase_spinml.errors import InputError
from ase_spinml.moments import cone, get_moments, set_moments

FS = units.fs
BATHS = {"temperature_K": 300, "friction": 0.01 / FS, "damping": 0.1}


def copper():
    """32 copper atoms with moments, on EMT, whose neighbour list has a memory, and exchange."""
    atoms = bulk("Cu", cubic=True) * 2
    rng = np.random.default_rng(0)
    set_moments(atoms, 1.3 * cone(np.tile([0.0, 0.0, 1.0], (len(atoms), 1)), 40, rng))
    reference = atoms.copy()
    atoms.calc = SumCalculator([NonMagnetic(EMT()), Heisenberg([0.01], reference=reference), Zeeman([0, 0, 20.0])])
    atoms.set_momenta(np.sqrt(units.kB * 300 * 63.5) * rng.normal(size=(len(atoms), 3)))
    return atoms


def springs():
    """Two atoms on springs with exchange: steps that cost next to nothing."""
    atoms = Atoms("Fe2", positions=[[0, 0, 0], [2.5, 0, 0]])
    set_moments(atoms, [[2.2, 0, 0], [0, 2.2, 0]])
    atoms.calc = SumCalculator([NonMagnetic(Harmonic(atoms)), Heisenberg([0.02], reference=atoms.copy())])
    return atoms


class Harmonic(BaseCalculator):
    """Every atom on a spring of its own."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, atoms):
        super().__init__()
        self.sites = atoms.get_positions()

    def calculate(self, atoms, properties, system_changes):
        shift = atoms.positions - self.sites
        self.results = {"energy": 1.5 * np.sum(shift**2), "forces": -3.0 * shift}


def state(atoms):
    return np.concatenate([atoms.positions, atoms.get_momenta(), get_moments(atoms)])


def dynamics(folder, atoms=None, suffix=".traj", **options):
    files = {
        "trajectory": folder / f"run{suffix}",
        "logfile": folder / "run.log",
        "checkpoint": folder / "run.checkpoint",
        "checkpoint_interval": 10,
        "loginterval": 4,
        "rng": 5,
    }
    return SpinLatticeDynamics(copper() if atoms is None else atoms, FS, **(BATHS | files | options))


def run(folder, steps, **options):
    folder.mkdir(exist_ok=True)
    with dynamics(folder, **options) as dyn:
        dyn.run(steps)
    return dyn


def same_frames(one, other):
    assert len(one) == len(other)
    for first, second in zip(one, other, strict=True):
        assert np.array_equal(state(first), state(second))
        assert np.array_equal(first.arrays["exchange_fields"], second.arrays["exchange_fields"])
        assert first.get_potential_energy() == second.get_potential_energy()


@pytest.mark.parametrize("suffix", [".traj", ".xyz"])
def test_a_restarted_run_equals_the_unbroken_one_bit_for_bit(tmp_path, suffix):
    whole = run(tmp_path / "whole", 36, suffix=suffix)
    run(tmp_path / "parts", 17, suffix=suffix)
    parts = dynamics(tmp_path / "parts", suffix=suffix, rng=99, restart=True)
    assert parts.nsteps == 10
    with parts:
        parts.run(36 - parts.nsteps)
    assert np.array_equal(state(whole.atoms), state(parts.atoms))
    assert (whole.spin_heat, whole.lattice_heat) == (parts.spin_heat, parts.lattice_heat)
    frames = [read_trajectory(tmp_path / name / f"run{suffix}") for name in ("whole", "parts")]
    assert len(frames[0]) == 10
    same_frames(*frames)
    assert (tmp_path / "whole" / "run.log").read_text() == (tmp_path / "parts" / "run.log").read_text()


def test_restart_without_a_checkpoint_starts(tmp_path):
    first = run(tmp_path, 9, restart=True)
    again = run(tmp_path, 9, restart=True)
    assert np.array_equal(state(first.atoms), state(again.atoms))
    assert len(read_trajectory(tmp_path / "run.traj")) == 3
    assert len((tmp_path / "run.log").read_text().splitlines()) == 4


SCRIPT = """
    import os, random, signal, sys, time
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from test_operation import dynamics, springs
    from ase_spinml.dynamics.checkpoint import read_checkpoint
    from ase_spinml.dynamics.trajectory import read_trajectory

    steps, chance = {steps}, random.Random(1)

    def written():  # steps that the log tells of
        return 4 * (len(Path("run.log").read_text().splitlines()) - 2) if Path("run.log").exists() else 0

    for kills in range(11):
        child = os.fork()
        if child == 0:
            with dynamics(Path("."), springs(), restart=True) as dyn:
                dyn.run(steps - dyn.nsteps)
            os._exit(0)
        goal = (kills + chance.random()) / 10 * steps  # a bit further every time; the last child is left alone
        while kills < 10 and written() < goal:
            time.sleep(0.01 * chance.random())
        if kills < 10:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert status == (signal.SIGKILL if kills < 10 else 0)
        if Path("run.traj").exists():
            read_trajectory("run.traj")
        if Path("run.checkpoint").exists():
            read_checkpoint("run.checkpoint")
"""


def test_killed_ten_times_a_run_goes_on_and_equals_the_unbroken_one(tmp_path):
    """kill -9 at random moments; trajectory and checkpoint are readable after each."""
    steps = 300
    whole = run(tmp_path / "whole", steps, atoms=springs())
    broken = tmp_path / "broken"
    broken.mkdir()
    script = textwrap.dedent(SCRIPT.format(tests=os.path.dirname(__file__), steps=steps))
    done = subprocess.run([sys.executable, "-c", script], cwd=broken, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    frames = [read_trajectory(folder / "run.traj") for folder in (tmp_path / "whole", broken)]
    same_frames(*frames)
    assert np.array_equal(state(frames[1][-1]), state(whole.atoms))
    assert (tmp_path / "whole" / "run.log").read_text() == (broken / "run.log").read_text()


def test_extended_xyz_carries_moments_fields_and_forces(tmp_path):
    dyn = run(tmp_path, 4, suffix=".xyz")
    frame = read(tmp_path / "run.xyz", -1, format="extxyz")
    atoms = dyn.atoms
    assert np.allclose(frame.arrays["initial_magmoms"], get_moments(atoms), rtol=0, atol=1e-8)
    fields = atoms.calc.get_property("exchange_fields", atoms)
    assert np.allclose(frame.arrays["exchange_fields"], fields, rtol=0, atol=1e-8)
    assert np.allclose(frame.get_forces(), atoms.get_forces(), rtol=0, atol=1e-8)
    assert frame.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-8)


def test_a_trajectory_is_appended_to_on_request(tmp_path):
    atoms = copper()
    with SpinDynamics(atoms, FS, trajectory=tmp_path / "a.traj") as dyn:
        dyn.run(2)
    with SpinDynamics(atoms, FS, trajectory=tmp_path / "a.traj", append_trajectory=True) as dyn:
        dyn.run(2)
    assert len(read_trajectory(tmp_path / "a.traj")) == 6
    with SpinDynamics(atoms, FS, trajectory=tmp_path / "a.traj") as dyn:
        dyn.run(2)
    assert len(read_trajectory(tmp_path / "a.traj")) == 3
    assert read_trajectory(tmp_path / "a.traj", -1).arrays["exchange_fields"].shape == (32, 3)


def test_a_checkpoint_is_replaced_as_a_whole(tmp_path, monkeypatch):
    path = tmp_path / "a.checkpoint"
    write_checkpoint(path, {"nsteps": 1}, {"positions": np.ones(3)})

    def broken(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", broken)
    with pytest.raises(OSError, match="disk full"):
        write_checkpoint(path, {"nsteps": 2}, {"positions": np.ones(3)})
    assert read_checkpoint(path)[0]["nsteps"] == 1


def test_a_checkpoint_on_request_goes_to_its_own_path(tmp_path):
    dyn = dynamics(tmp_path)
    dyn.run(3)
    dyn.save_checkpoint(tmp_path / "mine")
    assert read_checkpoint(tmp_path / "mine")[0]["nsteps"] == 3
    assert not (tmp_path / "run.checkpoint").exists()
    dyn.close()


def test_a_progress_bar_shows_on_a_terminal_only(capsys):
    SpinDynamics(copper(), FS).run(2)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "")


def test_refused(tmp_path):
    def message(call):
        with pytest.raises(InputError) as error:
            call()
        return str(error.value)

    atoms = copper()
    assert message(lambda: SpinDynamics(atoms, FS, restart=True)) == (
        "Expected checkpoint=path with restart=True, got none: name the file to continue from."
    )
    assert message(lambda: SpinDynamics(atoms, FS, checkpoint=tmp_path / "c", checkpoint_interval=0)) == (
        "Expected checkpoint_interval to be a number of steps >= 1, got 0."
    )
    assert message(lambda: SpinDynamics(atoms, FS).save_checkpoint()) == (
        "Expected a path for the checkpoint, got none: give one, or checkpoint= to the dynamics."
    )
    assert message(lambda: SpinTrajectory("run.dump")) == (
        "Expected a trajectory ending in .traj, .xyz or .extxyz, got 'run.dump'."
    )
    (tmp_path / "bad").write_text("not a checkpoint")
    assert message(lambda: read_checkpoint(tmp_path / "bad")).startswith(
        f"Expected a checkpoint in {tmp_path / 'bad'}, got a file that is none: "
    )
    write_checkpoint(tmp_path / "old", {"format": 0}, {})
    assert message(lambda: read_checkpoint(tmp_path / "old")) == (
        f"Expected a checkpoint of format 1 in {tmp_path / 'old'}, got 0: continue with the version of ase_spinml that "
        "wrote it."
    )
    run(tmp_path, 12)
    other = copper()
    other.numbers[0] = 28
    path = tmp_path / "run.checkpoint"
    assert message(lambda: dynamics(tmp_path, other, restart=True)) == (
        f"Expected the atoms of the checkpoint {path}, 32 of them, got Cu31Ni: restart with the same species, order "
        "and boundary conditions."
    )
    generator = np.random.Generator(np.random.MT19937(1))
    assert message(lambda: dynamics(tmp_path, rng=generator, restart=True)) == (
        "Expected the random generator PCG64 of the checkpoint, got MT19937: pass rng= as in the run that wrote it."
    )
    SpinDynamics(atoms, FS, trajectory=tmp_path / "run.traj").run(1)
    assert message(lambda: dynamics(tmp_path, restart=True)) == (
        f"Expected the trajectory {tmp_path / 'run.traj'} as the checkpoint left it or longer, got a shorter one: it "
        "belongs to another run."
    )
    (tmp_path / "run.traj").unlink()
    assert message(lambda: dynamics(tmp_path, restart=True)) == (
        f"Expected the trajectory {tmp_path / 'run.traj'} that the checkpoint continues, found none."
    )
