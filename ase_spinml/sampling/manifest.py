"""Samples in a folder: the frames in extended XYZ, and a manifest from which they can be made again."""

import json
import os
from pathlib import Path

import ase.io
from ase import Atoms

import ase_spinml
from ase_spinml.errors import InputError
from ase_spinml.moments import get_moments, set_moments
from ase_spinml.sampling.frames import make_frame

FORMAT = "ase_spinml samples"
VERSION = 1
FRAMES, MANIFEST = "samples.extxyz", "manifest.json"


def write_samples(folder, frames, reference):
    """Write ``samples.extxyz`` and ``manifest.json``; files of the same names are replaced.

    Parameters
    ----------
    folder : str or Path
        Made when absent.
    frames : list of ase.Atoms
        From :func:`ase_spinml.sampling.sample` with this reference, all or some, in any order.
    reference : ase.Atoms

    Returns
    -------
    Path
        The manifest. It holds the reference to full precision and, for every frame in order, ``config_type``, recipes
        and seed.

    Raises
    ------
    InputError
        No frames; frames that do not say how they were made.
    """
    frames = [frames] if isinstance(frames, Atoms) else list(frames)
    if not frames:
        raise InputError("Expected frames to write, got an empty list.")
    for k, frame in enumerate(frames):
        if "sample" not in frame.info:
            raise InputError(f"Expected frames made by sample(), got frame {k} without info['sample'].")
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "made_by": f"ase_spinml {ase_spinml.__version__}",
        "frames_file": FRAMES,
        "reference": {
            "numbers": reference.numbers.tolist(),
            "positions": reference.positions.tolist(),
            "cell": reference.cell.array.tolist(),
            "pbc": reference.pbc.tolist(),
            "moments": get_moments(reference).tolist(),
        },
        "frames": [
            {"index": k, "config_type": frame.info["config_type"], **frame.info["sample"]}
            for k, frame in enumerate(frames)
        ],
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    plain = [frame.copy() for frame in frames]
    for k, frame in enumerate(plain):
        frame.info = {"config_type": frame.info["config_type"], "index": k, "seed": frame.info["sample"]["seed"]}
    _replace(folder / FRAMES, lambda path: ase.io.write(path, plain, format="extxyz"))
    _replace(folder / MANIFEST, lambda path: path.write_text(_lines(manifest)))
    return folder / MANIFEST


def read_manifest(path):
    """The reference (ase.Atoms) and the entries (list of dict) of a manifest, given as the file or its folder.

    Raises
    ------
    InputError
        The file is not a manifest, or of a newer version.
    """
    path = Path(path)
    path = path / MANIFEST if path.is_dir() else path
    try:
        manifest = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise InputError(
            f"Expected {path} to be a manifest of samples, got a file that cannot be read: {error}."
        ) from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"Expected {path} to be a manifest of samples, got another JSON file.")
    missing = [name for name in ("version", "reference", "frames") if name not in manifest]
    if missing:
        raise InputError(f"Expected {path} to be a whole manifest of samples, got one without {', '.join(missing)}.")
    if manifest["version"] > VERSION:
        raise InputError(
            f"Expected a manifest of version {VERSION} at most, got {manifest['version']}: use a newer ase_spinml."
        )
    stored = manifest["reference"]
    reference = Atoms(stored["numbers"], stored["positions"], cell=stored["cell"], pbc=stored["pbc"])
    set_moments(reference, stored["moments"])
    names = ("spins", "displacement", "strain", "seed")
    return reference, [{name: entry[name] for name in names} for entry in manifest["frames"]]


def regenerate(path):
    """The frames of a manifest, made anew: the same as were written, to full precision.

    The streams of NumPy's generator are part of what makes them so.
    """
    reference, entries = read_manifest(path)
    return [make_frame(reference, entry) for entry in entries]


def _lines(manifest):
    """JSON with one line per frame, to be read and compared by eye."""
    head = json.dumps({name: value for name, value in manifest.items() if name != "frames"}, indent=1)
    frames = ",\n  ".join(json.dumps(entry) for entry in manifest["frames"])
    return head.removesuffix("\n}") + f',\n "frames": [\n  {frames}\n ]\n}}\n'


def _replace(path, write):
    """Write to a temporary file beside ``path``, then rename: nothing half-written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
