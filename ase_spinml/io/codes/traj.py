"""ASE's ``.traj`` with exchange fields, which it has no column for: they travel in ``info``."""

from pathlib import Path

import numpy as np
from ase.io import write

from ase_spinml.dynamics.trajectory import read_trajectory
from ase_spinml.errors import InputError
from ase_spinml.io.canonical import as_frames, contents
from ase_spinml.io.codes.extxyz import for_writing
from ase_spinml.moments import FIELDS


def read_traj(path):
    """Frames of a ``.traj`` in canonical form; an InputError if ASE cannot read it."""
    if not Path(path).is_file():
        raise InputError(f"Expected a trajectory of ASE, got {path}, which is no file.")
    try:
        frames = read_trajectory(path)
    except Exception as error:  # damaged containers raise whatever comes first
        raise InputError(f"Expected a trajectory of ASE in {path}, got an unreadable file: {error}.") from None
    for frame in frames:
        if np.ndim(frame.arrays.get("initial_magmoms")) != 1:
            contents(frame)
    return frames


def write_traj(path, frames):
    """Write frames as ``.traj``: moments, fields, energy, forces and stress; other columns are lost."""
    prepared = []
    for atoms in as_frames(frames):
        frame = for_writing(atoms)
        if FIELDS in frame.arrays:
            frame.info[FIELDS] = frame.arrays.pop(FIELDS)
        prepared.append(frame)
    write(path, prepared, format="traj")
