"""Labelled frames made in parallel and appended to one file, which an interrupted run takes up again."""

import copy
import io
import os
import re
from pathlib import Path

import ase.io
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from joblib import Parallel, delayed
from tqdm import tqdm

from ase_spinml.errors import InputError
from ase_spinml.moments import FIELDS, get_moments, set_moments
from ase_spinml.terms import forget, potential_energy

TOLERANCE = 1e-5
"""Largest difference of a field that the calculator gives again for a stored frame, relative to the largest field."""
KEY = re.compile(r"(?:^|\s)task=(\S+)")


def generate(path, tasks, calc, *, n_jobs=None, progress=True):
    """Make and label frames, and append them to a file of extended XYZ.

    Frames of a task are written together, when it is done. A file that is there already is taken up: what a run that
    was stopped has left half-written at the end is cut off, and tasks that are in it are not done again.

    Parameters
    ----------
    path : str or Path
        Ends in .xyz or .extxyz.
    tasks : list of Task
        Of :func:`ase_spinml.sampling.spin_quenches` and :func:`ase_spinml.sampling.perturbed_states`, added with +.
    calc : ASE calculator
        Labels the frames: ``exchange_fields``, and the energy if it has one. Every process has a copy.
    n_jobs : int, optional
        Processes, as in joblib; by default what ``joblib.parallel_config`` says, or one. A cluster is a backend of
        joblib: ``with joblib.parallel_config(backend="dask"): generate(...)``.
    progress : bool
        Show a progress bar where standard error is a terminal.

    Returns
    -------
    int
        Frames written by this call. Each has ``initial_magmoms`` and ``exchange_fields`` as columns, the energy, and in
        its ``info`` ``config_type``, ``task``, ``seed`` and the ``time`` or ``angle``.

    Raises
    ------
    InputError
        Tasks twice in the list; a file with frames of other tasks, or with fields that ``calc`` does not give.
    """
    path, calc = Path(path), copy.deepcopy(calc)
    if path.suffix not in (".xyz", ".extxyz"):
        raise InputError(f"Expected a path that ends in .xyz or .extxyz, got {path}.")
    by_key = {task.key: task for task in tasks}
    if len(by_key) < len(tasks):
        raise InputError(f"Expected tasks that are all different, got {len(tasks) - len(by_key)} twice: change a seed.")
    forget(calc)
    done = _take_up(path, by_key, calc) if path.exists() else set()
    left = [task for key, task in by_key.items() if key not in done]
    written = 0
    jobs = Parallel(n_jobs=n_jobs, return_as="generator_unordered")(delayed(_labelled)(task, calc) for task in left)
    with tqdm(total=len(tasks), initial=len(done), unit="task", disable=None if progress else True) as bar:
        for frames in jobs:
            _append(path, frames)
            written += len(frames)
            bar.update()
    return written


def _labelled(task, calc):
    """Frames of a task with labels, as they are written."""
    frames, calc = [], copy.deepcopy(calc)  # threads share the one they are given
    for atoms in task.frames(calc):
        frame = atoms.copy()
        frame.info = {"config_type": task.kind, "task": task.key, "seed": task.seed, **atoms.info}
        fields = calc.get_property("exchange_fields", atoms)
        frame.set_array(FIELDS, None)
        frame.set_array(FIELDS, fields, float, (3,))
        if not frame.get_momenta().any():
            frame.set_array("momenta", None)
        energy = potential_energy(atoms)
        if np.isfinite(energy):
            frame.calc = SinglePointCalculator(frame, energy=energy)
        frames.append(frame)
    return frames


def _append(path, frames):
    """Add frames at the end of the file, in one go."""
    text = io.StringIO()
    ase.io.write(text, frames, format="extxyz")
    with path.open("a") as file:
        file.write(text.getvalue())
        file.flush()
        os.fsync(file.fileno())


def _take_up(path, tasks, calc):
    """Keys of the tasks that are in the file, after cutting off what is not whole."""
    done, open_key, count, kept = set(), None, 0, 0
    for key, end in _frames_of(path):
        if key not in tasks:
            raise InputError(f"Expected {path} to hold frames of these tasks, got {key!r}: give another path.")
        if key in done or (open_key is not None and key != open_key):
            raise InputError(f"Expected the frames of a task in {path} one after the other, got {key!r} in two places.")
        open_key, count = key, count + 1
        if count == tasks[key].n_frames:
            done.add(key)
            open_key, count, kept = None, 0, end
    os.truncate(path, kept)
    if done:
        _check_labels(path, copy.deepcopy(calc))
    return done


def _frames_of(path):
    """Key of the task and offset of the end of every whole frame, up to the first that is not."""
    offset = 0
    with path.open("rb") as file:
        for first in file:
            if not first.endswith(b"\n") or not first.strip().isdigit():
                return
            lines = [file.readline() for _ in range(int(first) + 1)]
            if not lines[-1].endswith(b"\n"):
                return
            found = KEY.search(lines[0].decode(errors="replace"))
            offset += len(first) + sum(map(len, lines))
            yield found.group(1) if found else None, offset


def _check_labels(path, calc):
    """Refuse a calculator that gives other fields for the first frame than the file has."""
    frame = ase.io.read(path, index=0)
    stored = frame.arrays[FIELDS]
    fresh = frame.copy()
    set_moments(fresh, get_moments(frame))
    error = np.abs(calc.get_property("exchange_fields", fresh) - stored).max()
    if error > TOLERANCE * max(np.abs(stored).max(), 1e-3):
        raise InputError(
            f"Expected the calculator that wrote {path}, got one whose fields differ by {error:.2g}: give another "
            "path, or the calculator with the parameters of then."
        )
