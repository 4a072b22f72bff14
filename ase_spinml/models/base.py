"""What a model is to the rest of the package, and the file it lives in.

A model file is a safetensors file: named float64 and int64 arrays, and one metadata entry ``ase_spinml`` holding a
JSON header. The header starts with the format name, the format version and a checksum, in this order, in every format
version; then come the package version, the class (by registry name), the units and whatever the class itself needs.
The checksum is the SHA-256 of the whole file with its own 64 digits set to ``0``, so one changed byte anywhere is
noticed. Nothing in the file is executable: reading is JSON, arrays and a look-up in a fixed table of class names.
"""

import hashlib
import importlib
import json
import os
import re
import struct
import uuid
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as arrays_from_bytes
from safetensors.numpy import save as arrays_to_bytes

import ase_spinml
from ase_spinml.errors import InputError, ModelFileError

FORMAT = "ase_spinml model"
FORMAT_VERSION = 1
UNITS = {"energy": "eV", "length": "Angstrom", "moment": "mu_B"}

_KEY = "ase_spinml"
_NO_CHECKSUM = "0" * 64
_MAGIC = b'{"__metadata__":{"ase_spinml":"{\\"format\\":\\"ase_spinml model\\",\\"format_version\\":'
_CHECKSUM = re.compile(rb'\\"sha256\\":\\"([0-9a-f]{64})\\"')

_MODULES = {"SpinGAP": "ase_spinml.models.gap", "SpinNN": "ase_spinml.models.nn"}
_CLASSES = {}


def register(name):
    """Class decorator: make a model class known to model files under ``name``."""

    def decorate(cls):
        cls.registry_name = name
        _CLASSES[name] = cls
        return cls

    return decorate


class Model:
    """Base class of everything that can be saved: :meth:`save` here, the content from the subclass.

    A subclass is registered with :func:`register` and has ``to_file_content() -> (arrays, header)`` and the class
    method ``from_file_content(arrays, header)``, which are inverse to each other.
    """

    def save(self, path):
        """Write the model to ``path``; an existing file is replaced only once the new one is complete."""
        arrays, header = self.to_file_content()
        write_model(path, arrays, {"class": self.registry_name, **header})


def load_model(path):
    """Open a saved model, whatever its class.

    Raises ModelFileError when the file is missing, foreign, truncated, damaged, of a newer format or of an unknown
    class. No code from the file is ever run.

    Examples
    --------
    >>> from ase_spinml import SOSO, SpinGAP, load_model
    >>> from ase_spinml.demo import load_frames
    >>> frames = load_frames()[:6]                             # of the shipped set of iron
    >>> descriptor = SOSO(["Fe"], n_max=4, spin_l_max=1, body_order=2)
    >>> SpinGAP(descriptor, zeta=1, optimize=None).fit(frames).save("fe.model")
    >>> load_model("fe.model").descriptor.cutoff
    5.0
    """
    arrays, header = read_model(path)
    name = header.get("class")
    known = sorted({*_MODULES, *_CLASSES})
    if name not in known:
        raise ModelFileError(
            f"{path} holds a model of the unknown class {name!r}, this package knows {', '.join(known)}: "
            "update ase_spinml or register the class first"
        )
    if name not in _CLASSES:
        importlib.import_module(_MODULES[name])
    try:
        return _CLASSES[name].from_file_content(arrays, header)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"{path} does not hold what a {name} needs ({type(error).__name__}: {error}): save the model again"
        ) from error


def write_model(path, arrays, header):
    """Write arrays and header to a model file, atomically: a temporary file beside it, then a rename.

    arrays: dict of name -> real array of any shape (stored as float64, or int64 for integers and booleans).
    header: dict of plain JSON values with at least ``class``; the keys format, format_version, sha256,
    package_version and units are filled in here.
    Raises InputError for arrays or header values that a model file cannot hold; then nothing is written.
    """
    path = Path(path)
    content = _to_bytes(arrays, header)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_model(path):
    """Read a model file and return (arrays, header), dicts as given to :func:`write_model`.

    Raises ModelFileError when the file is missing, foreign, truncated, damaged or of a newer format.
    """
    content = _read_ours(Path(path))
    checksum = _CHECKSUM.search(content)
    if checksum is None or checksum[1].decode() != _digest(content, checksum.start(1)):
        raise ModelFileError(_diagnosis(path, content))
    try:
        header = json.loads(json.loads(content[8 : 8 + _header_length(content)])["__metadata__"][_KEY])
        version = int(header["format_version"])
        arrays = {} if version > FORMAT_VERSION else arrays_from_bytes(content)
    except (ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise ModelFileError(_damaged(path)) from error
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"{path} has format version {version}, this package reads up to {FORMAT_VERSION}: update ase_spinml"
        )
    return arrays, header


def _to_bytes(arrays, header):
    own = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "sha256": _NO_CHECKSUM,
        "package_version": ase_spinml.__version__,
        "class": header["class"],
        "units": UNITS,
    }
    try:
        text = json.dumps({**own, **header, **own}, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the header of a model file takes plain JSON values (finite numbers, text, lists, dicts), {error}: "
            "convert the value or store it among the arrays"
        ) from error
    content = arrays_to_bytes({name: _storable(name, array) for name, array in arrays.items()}, {_KEY: text})
    start = _CHECKSUM.search(content).start(1)
    return content[:start] + _digest(content, start).encode() + content[start + 64 :]


def _storable(name, array):
    array = np.asarray(array)
    if array.dtype.kind not in "fiub":
        raise InputError(
            f"a model file stores real numbers, array {name!r} has type {array.dtype}: convert it to float64 or int64"
        )
    return np.array(array, dtype=np.float64 if array.dtype.kind == "f" else np.int64, order="C")


def _read_ours(path):
    """Bytes of the file if it is one of ours (perhaps damaged); of a foreign file only the beginning is read."""
    if not path.is_file():
        raise ModelFileError(f"there is no model file {path}: check the path")
    with open(path, "rb") as file:
        start = file.read(8 + len(_MAGIC))
        if not start:
            raise ModelFileError(f"{path} is empty: save the model again")
        if not _MAGIC.startswith(start[8:]):
            raise ModelFileError(
                f"{path} is not a model file of ase_spinml (or its first bytes are damaged): "
                "give a file written by model.save()"
            )
        return start + file.read()


def _header_length(content):
    return struct.unpack("<Q", content[:8])[0]


def _digest(content, start):
    zeroed = content[:start] + _NO_CHECKSUM.encode() + content[start + 64 :]
    return hashlib.sha256(zeroed).hexdigest()


def _diagnosis(path, content):
    """Why the checksum fails: bytes missing at the end, or bytes changed."""
    expected = len(content) + 1 if len(content) < 8 else 8 + _header_length(content)
    if len(content) >= expected:
        try:
            tensors = json.loads(content[8:expected])
            ends = [entry["data_offsets"][1] for name, entry in tensors.items() if name != "__metadata__"]
            expected += max(ends, default=0)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            return _damaged(path)
    if len(content) < expected:
        return (
            f"{path} is truncated: only its first {len(content)} bytes are there; copy it again or save the model again"
        )
    return _damaged(path)


def _damaged(path):
    return f"{path} is damaged (its content does not match its checksum): copy it again or save the model again"
