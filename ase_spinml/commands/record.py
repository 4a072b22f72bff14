"""The file a command writes beside its results: settings, versions, SHA-256 of what it read; enough to do it again."""

import hashlib
import os
from importlib.metadata import version
from pathlib import Path

import ase_spinml
from ase_spinml.errors import InputError

PROGRAMS = ("ase", "numpy", "scipy", "scikit-learn", "torch")


def sha256(file):
    """SHA-256 of the content of a file, hexadecimal; of a folder, of its files with their names."""
    digest = hashlib.sha256()
    file = Path(file)
    if file.is_dir():
        for item in sorted(item for item in file.rglob("*") if item.is_file()):
            digest.update(f"{item.relative_to(file)}\0{sha256(item)}\0".encode())
        return digest.hexdigest()
    with open(file, "rb") as stream:
        for part in iter(lambda: stream.read(1 << 20), b""):
            digest.update(part)
    return digest.hexdigest()


def check_unchanged(inputs, recorded):
    """Refuse input files that are not those of a record; returns their SHA-256 by path.

    inputs: paths of files that will be read.
    recorded: dict of Path to SHA-256, as :func:`resolve` returns it.
    """
    digests = {file: sha256(file) for file in inputs}
    before = {os.path.realpath(file): digest for file, digest in recorded.items()}
    for file, digest in digests.items():
        if before.get(os.path.realpath(file), digest) != digest:
            raise InputError(
                f"Expected {file} as it was when the settings were written, got another content: "
                f"remove its line under sha256 to use it all the same."
            )
    return digests


def record(command, values, digests, folder):
    """What a file of settings says: everything that is needed to do the same again, as plain values.

    folder: where the file will be; paths are written relative to it.
    """
    programs = {"ase_spinml": ase_spinml.__version__, **{name: version(name) for name in PROGRAMS}}
    plain = {name: _plain(value, folder) for name, value in values.items()}
    return {
        "command": command,
        "versions": programs,
        "sha256": {_plain(Path(file), folder): digest for file, digest in digests.items()},
        **{name: value for name, value in plain.items() if value is not None},
    }


def _plain(value, folder):
    if isinstance(value, Path):
        return os.path.relpath(value, folder)
    if isinstance(value, (list, tuple)):
        return [_plain(item, folder) for item in value]
    return value


def write_record(file, content):
    """Write a record as YAML; the file appears when it is complete."""
    import yaml

    from ase_spinml.io.text import whole_file

    with whole_file(file) as stream:
        stream.write(f"# ase-spinml {content['command']} {Path(file).name} does the same again.\n")
        yaml.safe_dump(content, stream, sort_keys=False, allow_unicode=True)


def same_record(file, content, leave_out=()):
    """Whether a file holds the same settings as a record, but for the versions and the keys to leave out."""
    skipped = {"versions", *leave_out}
    held, wanted = ({key: one[key] for key in one if key not in skipped} for one in (_held(file), content))
    return held == wanted


def _held(file):
    """What a YAML file holds; an empty dict if it is none."""
    import yaml

    try:
        held = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return {}
    return held if isinstance(held, dict) else {}


def check_outputs(outputs, inputs):
    """Refuse outputs that are inputs, and folders that are not there, before any work; both are lists of paths."""
    read = {os.path.realpath(file) for file in inputs}
    for output in outputs:
        if os.path.realpath(output) in read:
            raise InputError(f"Expected an output other than the input, got {output} for both: choose another.")
        if not Path(output).parent.is_dir():
            raise InputError(
                f"Expected a folder for {output}, got {Path(output).parent}, which does not exist: make it."
            )


def check_replaceable(results, file, content, force):
    """Refuse to replace results that other settings have made, and a file where the record goes that is no record.

    results: paths of what will be written; file: the record beside them; content: the record to be.
    """
    if Path(file).exists() and "versions" not in _held(file):
        raise InputError(
            f"Expected {file} to be free for the record of the results, got a file that no command wrote: rename it, "
            f"or choose another output."
        )
    there = [result for result in results if Path(result).exists()]
    if there and not force and not same_record(file, content):
        raise InputError(
            f"Expected a new output, got {there[0]}, made with other settings: choose another, or --force replaces it."
        )
