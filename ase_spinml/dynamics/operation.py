"""How a run is operated, whatever it integrates: files, progress bar, checkpoints and restart.

A checkpoint holds the physical state, the random numbers' state and the lengths of the files written so far. What a
run has merely learned to go faster (neighbour lists, the solver's memory) is not in it; instead the run itself forgets
it whenever it writes one. So a run that starts from a checkpoint and the run that wrote it go on bit for bit alike.
"""

import os
from pathlib import Path

import numpy as np
from ase.md.md import MolecularDynamics
from tqdm import tqdm

from ase_spinml.dynamics.checkpoint import read_checkpoint, write_checkpoint
from ase_spinml.dynamics.logger import SpinLogger
from ase_spinml.dynamics.trajectory import SpinTrajectory
from ase_spinml.errors import InputError
from ase_spinml.moments import get_moments, set_moments


class OperatedDynamics(MolecularDynamics):
    """ASE's MolecularDynamics with spin-aware files, a progress bar, checkpoints and restart.

    A subclass gives ``state()`` -> dict of JSON values, ``set_state(dict)`` and ``forget()``, and has an ``rng``.

    Parameters
    ----------
    atoms, timestep, loginterval, **kwargs
        As in ASE.
    trajectory : str, Path or ASE trajectory, optional
        File ending in .traj, .xyz or .extxyz.
    logfile : str, Path or file, optional
        "-" is standard output.
    checkpoint : str or Path, optional
        File that holds the newest checkpoint.
    checkpoint_interval : int
        Steps between two checkpoints.
    restart : bool
        Continue from the checkpoint if the file exists: the atoms take its state, ``nsteps`` its number of steps, and
        trajectory and log are cut back to it and continued. Otherwise start from the atoms as they are.
    progress : bool
        Show a progress bar where standard error is a terminal.
    """

    def __init__(
        self,
        atoms,
        timestep,
        trajectory=None,
        logfile=None,
        loginterval=1,
        checkpoint=None,
        checkpoint_interval=1000,
        restart=False,
        progress=True,
        **kwargs,
    ):
        self._checkpoint = None if checkpoint is None else Path(checkpoint)
        if restart and checkpoint is None:
            raise InputError("Expected checkpoint=path with restart=True, got none: name the file to continue from.")
        if int(checkpoint_interval) != checkpoint_interval or checkpoint_interval < 1:
            raise InputError(f"Expected checkpoint_interval to be a number of steps >= 1, got {checkpoint_interval}.")
        self._checkpoint_interval = int(checkpoint_interval)
        self._progress = progress and logfile != "-"
        resume = restart and self._checkpoint.exists()
        ours = trajectory is not None and not hasattr(trajectory, "write")
        super().__init__(atoms, timestep, None if ours else trajectory, None, loginterval, **kwargs)
        self._files = {}
        header, arrays = read_checkpoint(self._checkpoint) if resume else ({}, {})
        if resume:
            self._resume(header, arrays)
        if ours:
            self._files["trajectory"] = self._open_trajectory(
                trajectory, header, kwargs.get("append_trajectory", False), loginterval
            )
        if logfile:
            self._open_log(logfile, header, "w" if restart else "a", loginterval)

    def run(self, steps=50):
        """Run ``steps`` time steps; returns True."""
        with tqdm(total=steps, unit="step", disable=None if self._progress else True) as bar:
            done = self.nsteps
            for _ in self.irun(steps):
                bar.update(self.nsteps - done)
                done = self.nsteps
        return True

    def call_observers(self):
        """Call the observers that are due, and write a checkpoint after them if one is due."""
        super().call_observers()
        if self._checkpoint is not None and self.nsteps % self._checkpoint_interval == 0 and self.nsteps > 0:
            self.save_checkpoint()

    def save_checkpoint(self, path=None):
        """Write a checkpoint now, to ``path`` or to the run's own file.

        The run then goes on as one that starts from it would, which differs from one that wrote none by the tolerance
        of the step.
        """
        if path is None and self._checkpoint is None:
            raise InputError("Expected a path for the checkpoint, got none: give one, or checkpoint= to the dynamics.")
        atoms = self.atoms
        arrays = {
            "numbers": atoms.numbers,
            "pbc": atoms.pbc,
            "cell": atoms.cell.array,
            "positions": atoms.positions,
            "momenta": atoms.get_momenta(),
            "moments": get_moments(atoms),
        }
        header = {
            "nsteps": self.nsteps,
            "rng": self.rng.bit_generator.state,
            "files": {name: file.state() for name, file in self._files.items()},
            "state": self.state(),
        }
        write_checkpoint(self._checkpoint if path is None else path, header, arrays)
        self.forget()

    def _resume(self, header, arrays):
        self._check_same_system(arrays)
        atoms = self.atoms
        atoms.cell[:] = arrays["cell"]
        atoms.positions[:] = arrays["positions"]
        atoms.arrays["momenta"][:] = arrays["momenta"]
        set_moments(atoms, arrays["moments"])
        self.nsteps = header["nsteps"]
        try:
            self.rng.bit_generator.state = header["rng"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"Expected the random generator {header['rng'].get('bit_generator')} of the checkpoint, got "
                f"{type(self.rng.bit_generator).__name__}: pass rng= as in the run that wrote it."
            ) from error
        self.set_state(header["state"])
        self.forget()

    def _check_same_system(self, arrays):
        atoms = self.atoms
        if not (np.array_equal(arrays["numbers"], atoms.numbers) and np.array_equal(arrays["pbc"], atoms.pbc)):
            raise InputError(
                f"Expected the atoms of the checkpoint {self._checkpoint}, {len(arrays['numbers'])} of them, got "
                f"{atoms.get_chemical_formula()}: restart with the same species, order and boundary conditions."
            )

    def _open_trajectory(self, path, header, append, loginterval):
        trajectory = SpinTrajectory(path, self.todict() | {"interval": loginterval})
        if header:
            trajectory.cut(header["files"].get("trajectory") or 0)
        elif not append:
            trajectory.path.unlink(missing_ok=True)
        self.attach(lambda: trajectory.write(self.atoms), loginterval)
        return trajectory

    def _open_log(self, logfile, header, mode, loginterval):
        state = header.get("files", {}).get("log")
        if state is not None and Path(logfile).exists():
            os.truncate(logfile, state["size"])
            mode = "a"
        log = self._files["log"] = self.closelater(SpinLogger(self, self.atoms, logfile, mode))
        if mode == "a" and state is not None:
            log.set_state(state)
        else:
            log.header()
        self.attach(log, loginterval)
