"""Model files: round trip, damage of every kind, foreign and hostile files, atomic writing."""

import hashlib
import json
import os
import pickle
import re
import struct

import numpy as np
import pytest
from safetensors.numpy import save_file

import ase_spinml
from ase_spinml.errors import InputError, ModelFileError
from ase_spinml.models import base
from ase_spinml.models.base import Model, load_model, read_model, register, write_model

HEADER = {"class": "Toy", "elements": ["Fe"], "descriptor": {"cutoff": 5.0}, "note": 'a "quoted" \u00e4 word'}
ARRAYS = {"weights": np.array([[1.5, -2.0], [np.pi, 0.0]]), "species": np.array([26, 32])}


@pytest.fixture(autouse=True)
def toy_class(monkeypatch):
    monkeypatch.setattr(base, "_CLASSES", dict(base._CLASSES))

    @register("Toy")
    class Toy(Model):
        def __init__(self, weights):
            self.weights = weights

        def to_file_content(self):
            return {"weights": self.weights}, {"elements": ["Fe"]}

        @classmethod
        def from_file_content(cls, arrays, header):
            return cls(arrays["weights"])

    return Toy


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "toy.model"
    write_model(path, ARRAYS, HEADER)
    return path


def resealed(content):
    """The same bytes with a checksum that fits: what a careful forger, or a newer version, would write."""
    start = re.search(rb'\\"sha256\\":\\"', content).end()
    zeroed = content[:start] + b"0" * 64 + content[start + 64 :]
    return content[:start] + hashlib.sha256(zeroed).hexdigest().encode() + content[start + 64 :]


def error_of(path, content=None, read=read_model):
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        read(path)
    return str(caught.value).replace(str(path), "FILE")


DAMAGED = "FILE is damaged (its content does not match its checksum): copy it again or save the model again"
FOREIGN = "FILE is not a model file of ase_spinml (or its first bytes are damaged): give a file written by model.save()"


def test_round_trip(path):
    arrays, header = read_model(path)
    assert {name: array.dtype for name, array in arrays.items()} == {"weights": np.float64, "species": np.int64}
    for name in ARRAYS:
        np.testing.assert_array_equal(arrays[name], ARRAYS[name])
    assert {key: header[key] for key in HEADER} == HEADER
    assert header["format"] == "ase_spinml model"
    assert header["format_version"] == 1
    assert header["package_version"] == ase_spinml.__version__
    assert header["units"] == {"energy": "eV", "length": "Angstrom", "moment": "mu_B"}


def test_same_content_gives_same_bytes(path, tmp_path):
    arrays, header = read_model(path)
    write_model(tmp_path / "again.model", arrays, header)
    assert (tmp_path / "again.model").read_bytes() == path.read_bytes()


def test_any_real_array_is_stored(tmp_path):
    arrays = {
        "single": np.float32([1.5]),
        "flags": np.array([True, False]),
        "strided": np.arange(12.0).reshape(3, 4)[:, ::2],
        "scalar": np.float64(3.0),
        "empty": np.zeros((0, 3)),
    }
    write_model(tmp_path / "m", arrays, HEADER)
    back = read_model(tmp_path / "m")[0]
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].shape == np.shape(array)


def test_save_and_load_by_class(toy_class, tmp_path):
    toy_class(ARRAYS["weights"]).save(tmp_path / "toy.model")
    model = load_model(tmp_path / "toy.model")
    assert type(model) is toy_class
    np.testing.assert_array_equal(model.weights, ARRAYS["weights"])


def test_every_flipped_bit_is_detected(path):
    content = path.read_bytes()
    for index in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[index] ^= 1 << bit
            error_of(path, bytes(changed))
    assert error_of(path, content[:-1] + b"\xff") == DAMAGED
    assert error_of(path, content + b"\x00") == DAMAGED
    start = content.index(b"sha256") + 11
    assert error_of(path, content[:start] + content[start : start + 64].upper() + content[start + 64 :]) == DAMAGED


def test_truncation_at_every_length_is_detected(path):
    content = path.read_bytes()
    for length in range(1, len(content)):
        assert error_of(path, content[:length]) == (
            f"FILE is truncated: only its first {length} bytes are there; copy it again or save the model again"
        )
    assert error_of(path, b"") == "FILE is empty: save the model again"


def test_missing_file(tmp_path):
    message = "there is no model file FILE: check the path"
    assert error_of(tmp_path / "absent.model") == message
    assert error_of(tmp_path) == message


def test_foreign_files(tmp_path):
    path = tmp_path / "foreign"
    assert error_of(path, b"A text file, long enough to have a header of some kind, but it has none at all.") == FOREIGN
    save_file({"weights": np.zeros(3)}, path, {"format": "np"})
    assert error_of(path) == FOREIGN
    save_file({"weights": np.zeros(3)}, path)
    assert error_of(path) == FOREIGN


def test_hostile_files_run_nothing(path, tmp_path):
    class Payload:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    content = path.read_bytes()
    assert error_of(tmp_path / "pickle", pickle.dumps(Payload()), load_model) == FOREIGN
    absurd = struct.pack("<Q", 2**63) + content[8:]
    assert "is truncated" in error_of(path, absurd, load_model)
    assert error_of(path, resealed(absurd), load_model) == DAMAGED
    offsets = content.replace(b'"data_offsets":[0,', b'"data_offsets":[9,')
    assert error_of(path, resealed(offsets), load_model) == DAMAGED
    deep = base._MAGIC + b'1,\\"sha256\\":\\"' + b"0" * 64
    deep += b'\\"}"},"x":' + b"[" * 100_000
    assert error_of(path, resealed(struct.pack("<Q", len(deep)) + deep), load_model) == DAMAGED
    assert not (tmp_path / "ran").exists()


def test_newer_format_version(path):
    newer = path.read_bytes().replace(b'format_version\\":1', b'format_version\\":2')
    message = "FILE has format version 2, this package reads up to 1: update ase_spinml"
    assert error_of(path, resealed(newer)) == message
    assert error_of(path, newer) == DAMAGED


@pytest.mark.parametrize("name", ["Nobody", "os.system", None, ["SpinGAP"], 3])
def test_unknown_class(path, name):
    write_model(path, ARRAYS, {"class": name})
    assert error_of(path, read=load_model) == (
        f"FILE holds a model of the unknown class {name!r}, this package knows SpinGAP, SpinNN, Toy: "
        "update ase_spinml or register the class first"
    )


def test_content_that_the_class_cannot_use(path):
    write_model(path, {"wrong": np.zeros(1)}, {"class": "Toy"})
    assert error_of(path, read=load_model) == (
        "FILE does not hold what a Toy needs (KeyError: 'weights'): save the model again"
    )


def test_nothing_half_written(path, monkeypatch):
    before = path.read_bytes()

    def fail(*arguments):
        raise OSError("disk full")

    for function in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, function, fail)
            with pytest.raises(OSError, match="disk full"):
                write_model(path, {"weights": np.zeros(5)}, HEADER)
        assert path.read_bytes() == before
        assert list(path.parent.iterdir()) == [path]


def test_what_a_model_file_cannot_hold(path):
    before = path.read_bytes()
    with pytest.raises(InputError) as caught:
        write_model(path, {"weights": np.array([1j])}, HEADER)
    assert str(caught.value) == (
        "a model file stores real numbers, array 'weights' has type complex128: convert it to float64 or int64"
    )
    with pytest.raises(InputError) as caught:
        write_model(path, {}, {"class": "Toy", "sigma": np.nan})
    assert str(caught.value).startswith(
        "the header of a model file takes plain JSON values (finite numbers, text, lists, dicts), Out of range float"
    )
    with pytest.raises(InputError, match="Object of type ndarray is not JSON serializable: convert the value"):
        write_model(path, {}, {"class": "Toy", "sigma": np.zeros(2)})
    assert path.read_bytes() == before


def test_header_is_plain_json_in_a_plain_safetensors_file(path):
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    assert json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["ase_spinml"])["elements"] == ["Fe"]
