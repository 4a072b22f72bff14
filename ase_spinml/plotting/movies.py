"""Trajectories as moving pictures."""

import os
from pathlib import Path

import numpy as np
from ase import Atoms

from ase_spinml.errors import InputError
from ase_spinml.moments import magnetic_mask
from ase_spinml.plotting.spins import spin_texture, spin_texture_3d

WRITERS = {".gif": "pillow", ".mp4": "ffmpeg"}


def animate(frames, path, *, times=None, in_space=False, frames_per_second=10, dpi=100):
    """Write spins, one frame after another, as a GIF or an MP4 film; the file appears when it is complete.

    Parameters
    ----------
    frames : list of ase.Atoms, str or Path
        With moments; or the path of a trajectory as the dynamics classes write it.
    path : str or Path
        Ends in .gif, or in .mp4, which needs the program ffmpeg.
    times : (n,) array, optional
        In ps, written above the frames; their numbers by default.
    in_space : bool
        Draw :func:`~ase_spinml.plotting.spins.spin_texture_3d` instead of the view from above.
    frames_per_second : float
    dpi : int
        Dots per inch, of 6.4 x 4.8 inches.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        No frames, times of another length, another ending, an MP4 without ffmpeg, a frame without moments.
    """
    from matplotlib import animation
    from matplotlib.figure import Figure

    path, frames = Path(path), _frames(frames)
    name = WRITERS.get(path.suffix.lower())
    if name is None:
        raise InputError(f"Expected a film ending in {' or '.join(WRITERS)}, got {path.name!r}.")
    if not animation.writers.is_available(name):
        raise InputError(f"Expected the program {name} to write {path.name}, found none: install it, or write a .gif.")
    if not frames or (times is not None and len(times) != len(frames)):
        raise InputError(f"Expected frames, and a time for each or none, got {len(frames)} frames.")
    figure = Figure(layout="constrained")
    draw = spin_texture_3d if in_space else spin_texture
    ax = figure.add_subplot(projection="3d" if in_space else None)
    limits = dict(zip(("xlim", "ylim", "zlim")[: 3 if in_space else 2], _limits(frames), strict=False))
    writer = animation.writers[name](fps=frames_per_second)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        with writer.saving(figure, part, dpi):
            for k, frame in enumerate(frames):
                ax.clear()
                draw(frame, ax=ax, colorbar=k == 0)
                ax.set(**limits)
                ax.set_title(f"frame {k}" if times is None else f"{times[k]:.3f} ps", fontsize="medium")
                writer.grab_frame()
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _frames(frames):
    if isinstance(frames, (str, Path)):
        from ase_spinml.dynamics.trajectory import read_trajectory

        return read_trajectory(frames)
    return [frames] if isinstance(frames, Atoms) else list(frames)


def _limits(frames):
    """Limits in x, y and z that hold the magnetic atoms of all frames with a margin, (3, 2) in Angstrom."""
    places = np.concatenate([frame.positions[magnetic_mask(frame)] for frame in frames])
    margin = 0.05 * np.ptp(places, axis=0).max() + 1.0
    return np.stack([places.min(axis=0) - margin, places.max(axis=0) + margin], axis=1)
