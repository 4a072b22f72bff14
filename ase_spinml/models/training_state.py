"""The file from which an interrupted training goes on: everything that was computed, and for what.

It is a file like those of models (:mod:`ase_spinml.models.base`): arrays and a JSON header, written beside the old one
and renamed, so that a complete file is there at any moment. It tells for which descriptor, parameters and frames it is
good; anything else is refused.
"""

import hashlib
import inspect
import json
import math
import time
from pathlib import Path

import numpy as np

from ase_spinml.errors import InputError, ModelFileError
from ase_spinml.models.base import read_model, write_model
from ase_spinml.models.baseline import baseline_results
from ase_spinml.models.labels import read_labels

INTERVAL = 20.0
"""Seconds between two writings of the file within a member."""

CLASS = "SpinNN training"
FREE = ("descriptor", "baseline", "progress", "device")
"""Arguments of a model that are compared otherwise, or may change."""


def identity(model, frames):
    """What a training is of, as plain values: parameters, descriptor, baseline, and one number for each frame.

    model : SpinNN; frames : list of ase.Atoms
    """
    numbers = getattr(model.descriptor, "parameters", ())
    names = [name for name in inspect.signature(type(model)).parameters if name not in FREE]
    return {
        "parameters": _plain({name: getattr(model, name) for name in names}),
        "descriptor": {"class": type(model.descriptor).__name__, **_plain(model.descriptor.get_params())},
        "baseline": model.baseline_name,
        "baseline_energy": baseline_results(model.baseline, frames[0])["energy"] if model.baseline and frames else 0.0,
        "frames": [_digest(frame, f"frame {k}", numbers) for k, frame in enumerate(frames)],
    }


def _plain(values):
    """The values as they come out of JSON."""
    return json.loads(json.dumps(values, default=lambda value: value.item()))


def _digest(frame, where, numbers):
    """A number that tells a frame with its labels, and the numbers of those names in its info, from others."""
    labels = read_labels(frame, where)
    own = [frame.numbers, frame.positions, frame.cell.array, frame.pbc]
    values = [*own, *(getattr(labels, name) for name in ("moments", "energy", "forces", "stress", "fields"))]
    parts = [None if value is None else np.asarray(value).tobytes().hex() for value in values]
    text = json.dumps([*parts, labels.sigmas, [str(frame.info.get(name)) for name in numbers]], sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])


def difference(found, wanted):
    """The first difference between two identities in words, None if there is none."""
    for part, where in (("parameters", ""), ("descriptor", " in the descriptor")):
        for name, value in wanted[part].items():
            if found[part].get(name) != value:
                return f"{name}={found[part].get(name)!r} instead of {value!r}{where}"
    if found["baseline"] != wanted["baseline"]:
        return f"the baseline {found['baseline']} instead of {wanted['baseline']}"
    energies = [side["baseline_energy"] for side in (found, wanted)]
    if not np.allclose(*energies, rtol=1e-6, atol=1e-6):
        return f"a baseline of {energies[0]:.6f} eV for frame 0 instead of {energies[1]:.6f} eV"
    counts = [len(side["frames"]) for side in (found, wanted)]
    if counts[0] != counts[1]:
        return f"{counts[0]} frames instead of {counts[1]}"
    changed = [k for k, pair in enumerate(zip(found["frames"], wanted["frames"], strict=True)) if pair[0] != pair[1]]
    return f"another frame {changed[0]}" if changed else None


class TrainingState:
    """What a training has computed so far, in named sections, and the file that keeps it if there is to be one.

    Parameters
    ----------
    path : str, Path or None
    model : SpinNN
    frames : list of ase.Atoms
    workers : Workers
        The first one reads and writes the file.

    Raises
    ------
    InputError
        For a folder that is not there, a file that is damaged or of something else, and workers that differ.
    """

    def __init__(self, path, model, frames, workers):
        self._path, self._writes, self._written = path and Path(path), workers.first, -math.inf
        self._arrays, self._sections = {}, {}
        if path is None and workers.size == 1:
            return
        self._identity = identity(model, frames)
        other = difference(workers.share(lambda: self._identity), self._identity)
        odd = workers.first_where(other is not None)
        if odd is not None:
            raise InputError(f"Expected the same parameters and frames on all workers, got other ones on worker {odd}.")
        if path is not None:
            self._arrays, self._sections = workers.share(self._read)

    def get(self, name):
        """Arrays and header of a section, None if it is not there."""
        if name not in self._sections:
            return None
        own = {key.removeprefix(f"{name}."): value for key, value in self._arrays.items() if key.startswith(f"{name}.")}
        return own, self._sections[name]

    def put(self, name, arrays, header, now=False):
        """Keep arrays and header of a section; the file is written ``now``, or if it is older than INTERVAL."""
        if self._path is None or not self._writes:
            return
        self._arrays |= {f"{name}.{key}": value for key, value in arrays.items()}
        self._sections[name] = header
        if now or time.monotonic() > self._written + INTERVAL:
            write_model(
                self._path, self._arrays, {"class": CLASS, "identity": self._identity, "sections": self._sections}
            )
            self._written = time.monotonic()

    def _read(self):
        """Arrays and sections of the file, empty if there is no file."""
        if not self._path.parent.is_dir() or self._path.is_dir():
            raise InputError(f"Expected checkpoint to be a file in a folder that is there, got {self._path}.")
        if not self._path.exists():
            return {}, {}
        try:
            arrays, header = read_model(self._path)
        except ModelFileError as error:
            raise InputError(
                f"Expected the checkpoint of a training, got a file that is none ({error}): give another path, or "
                "remove the file to train from the start."
            ) from error
        if header["class"] != CLASS:
            raise InputError(
                f"Expected the checkpoint of a training, got a {header['class']} in {self._path}: give another path."
            )
        other = difference(header["identity"], self._identity)
        if other:
            raise InputError(
                f"Expected the checkpoint of this training in {self._path}, got one with {other}: give the same again, "
                "or another path."
            )
        return arrays, header["sections"]
