"""Checkpoint files: arrays and a JSON header in one ``.npz``, replaced as a whole, holding no code."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np

from ase_spinml.errors import InputError

FORMAT = 1


def write_checkpoint(path, header, arrays):
    """Write to a temporary file beside ``path`` and rename it, so that a complete file stands there at any moment.

    Parameters
    ----------
    path : str or Path
    header : dict
        Anything JSON can hold.
    arrays : dict of str to numpy.ndarray
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    text = np.array(json.dumps({"format": FORMAT, **header}))
    with open(temporary, "wb") as file:
        np.savez(file, header=text, **arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_checkpoint(path):
    """Header and arrays of a checkpoint.

    Raises
    ------
    InputError
        The file is no checkpoint, or one of another version.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(str(arrays.pop("header")))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"Expected a checkpoint in {path}, got a file that is none: {error}.") from error
    if header.get("format") != FORMAT:
        raise InputError(
            f"Expected a checkpoint of format {FORMAT} in {path}, got {header.get('format')}: continue with the "
            f"version of ase_spinml that wrote it."
        )
    return header, arrays
