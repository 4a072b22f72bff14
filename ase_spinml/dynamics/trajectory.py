"""Trajectories with moments and fields, in ASE's ``.traj`` and in extended XYZ, that survive a killed run.

Every frame carries positions, momenta, moments, energy, forces where they are known, and the exchange fields: a column
in extended XYZ; in ``.traj``, which has no room for other columns, an entry of ``info`` that :func:`read_trajectory`
turns back into the column.
"""

import io
import os
import struct
from pathlib import Path

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.io.trajectory import Trajectory

from ase_spinml.errors import InputError
from ase_spinml.moments import FIELDS

EXTENDED_XYZ = (".xyz", ".extxyz")


class SpinTrajectory:
    """Appends frames to a trajectory; a frame is in the file completely or not at all.

    Parameters
    ----------
    path : str or Path
        Ends in ``.traj``, ``.xyz`` or ``.extxyz``. Nothing is written before the first frame.
    description : dict
        About the run, kept by ``.traj``.
    """

    def __init__(self, path, description=None):
        self.path = Path(path)
        self._description = description or {}
        if self.path.suffix not in (".traj", *EXTENDED_XYZ):
            raise InputError(f"Expected a trajectory ending in .traj, .xyz or .extxyz, got {self.path.name!r}.")

    def write(self, atoms):
        """Append one frame of ``atoms``, whose calculator is asked for energy and fields."""
        frame = labelled(atoms)
        if self.path.suffix in EXTENDED_XYZ:
            text = io.StringIO()
            write(text, frame, format="extxyz")
            append(self.path, text.getvalue().encode())
            return
        frame.info[FIELDS] = frame.arrays.pop(FIELDS)
        with Trajectory(self.path, mode="a") as trajectory:
            trajectory.set_description(self._description)
            trajectory.write(frame)

    def state(self):
        """What :meth:`cut` needs to come back to the present end: frames of ``.traj``, bytes of extended XYZ."""
        if not self.path.exists():
            return 0
        if self.path.suffix in EXTENDED_XYZ:
            return self.path.stat().st_size
        with Trajectory(self.path) as trajectory:
            return len(trajectory)

    def cut(self, size):
        """Drop everything after ``size``, whole or not."""
        if not self.path.exists():
            raise InputError(f"Expected the trajectory {self.path} that the checkpoint continues, found none.")
        if self.state() < size:
            raise InputError(
                f"Expected the trajectory {self.path} as the checkpoint left it or longer, got a shorter one: it "
                f"belongs to another run."
            )
        if size == 0:
            self.path.unlink()
        elif self.path.suffix in EXTENDED_XYZ:
            os.truncate(self.path, size)
        else:  # ASE's ULM files hold the number of frames at byte 32; what is not counted is not there
            with open(self.path, "r+b") as file:
                file.seek(32)
                file.write(struct.pack("<q", size))


def append(path, data):
    """Append bytes in one system call, so that a killed process leaves all or nothing of them."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        size = os.fstat(handle).st_size
        if os.write(handle, data) < len(data):
            os.ftruncate(handle, size)
            raise OSError(f"Expected room for {len(data)} bytes in {path}, got less: free disk space.")
    finally:
        os.close(handle)


def labelled(atoms):
    """Copy of ``atoms`` with what its calculator knows: energy, forces if computed, and the exchange fields column."""
    frame = atoms.copy()
    results = {}
    if "energy" in atoms.calc.implemented_properties:
        results["energy"] = atoms.calc.get_property("energy", atoms)
    for name in ("forces", "stress"):
        if name in atoms.calc.implemented_properties:
            value = atoms.calc.get_property(name, atoms, allow_calculation=False)
            if value is not None:
                results[name] = value
    frame.calc = SinglePointCalculator(frame, **results)
    frame.arrays[FIELDS] = np.asarray(atoms.calc.get_property("exchange_fields", atoms))
    return frame


def read_trajectory(path, index=":"):
    """Frames of a trajectory of this package, exchange fields in their column.

    Parameters
    ----------
    path : str or Path
        As written by the dynamics classes.
    index : int, slice or str
        As in :func:`ase.io.read`.

    Returns
    -------
    list of ase.Atoms, or one for a single index

    Examples
    --------
    >>> from ase import Atoms, units
    >>> from ase_spinml import SpinDynamics, Zeeman, read_trajectory
    >>> atoms = Atoms("Fe", magmoms=[[2.2, 0, 0]])
    >>> atoms.calc = Zeeman((0, 0, 100.0))
    >>> SpinDynamics(atoms, 1.0 * units.fs, trajectory="run.traj", loginterval=10).run(20)
    True
    >>> frames = read_trajectory("run.traj")
    >>> len(frames), frames[-1].arrays["exchange_fields"].shape
    (3, (1, 3))
    """
    if Path(path).suffix in EXTENDED_XYZ:
        return read(path, index, format="extxyz")
    frames = read(path, index)
    for frame in [frames] if hasattr(frames, "positions") else frames:
        if FIELDS in frame.info:
            frame.arrays[FIELDS] = np.asarray(frame.info.pop(FIELDS))
    return frames
