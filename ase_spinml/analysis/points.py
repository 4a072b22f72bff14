"""Points of a long calculation in one file, which an interrupted run takes up again."""

import json
import os
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ase_spinml.errors import InputError

SETTINGS = "settings"
TOLERANCE = 1e-6
"""Relative difference of numbers that counts as rounding: energies of a calculator, on another machine perhaps."""


def write_points(path, settings, points):
    """Replace the file ``path`` (.npz) by settings and points, completely or not at all.

    Parameters
    ----------
    path : str or Path
    settings : dict
        JSON values.
    points : dict of str -> array
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        np.savez(file, **{SETTINGS: np.array(json.dumps(settings))}, **points)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_points(path, settings):
    """Points of a file that was written with the same settings.

    Parameters
    ----------
    path : str or Path
    settings : dict
        JSON values.

    Returns
    -------
    dict of str -> array
        Empty where there is no file.

    Raises
    ------
    InputError
        A file of other settings, or of another kind.
    """
    path = Path(path)
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as file:
            stored = json.loads(str(file[SETTINGS]))
            points = {key: file[key] for key in file.files if key != SETTINGS}
    except (ValueError, KeyError, EOFError, BadZipFile):
        raise InputError(f"Expected {path} to be a file of points, got another kind: give another path.") from None
    for name in sorted({*settings, *stored}):
        if name not in settings or name not in stored or not _same(settings[name], stored[name]):
            raise InputError(
                f"Expected {path} to hold points of this calculation, got some with another {name}: give another "
                f"path, or the settings of then."
            )
    return points


def _same(first, second):
    """Whether two JSON values agree, numbers to rounding."""
    if first == second:
        return True
    try:
        first, second = np.array(first, dtype=float), np.array(second, dtype=float)
    except (ValueError, TypeError):
        return False
    return first.shape == second.shape and np.allclose(first, second, rtol=TOLERANCE, atol=1e-9)
