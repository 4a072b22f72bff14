"""Every format by its name: readers, writers, and which one a file has."""

import importlib
import inspect
import re
from dataclasses import dataclass, field
from pathlib import Path

from ase import Atoms

from ase_spinml.errors import InputError
from ase_spinml.io.text import Lines


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes
    ----------
    kind : {"frames", "exchange"}
        What a file holds: configurations with labels, or the exchange parameters of a crystal.
    read, write : str
        Function as "module.name" below :mod:`ase_spinml.io`; empty where there is none.
    description : str
    options : dict
        Fixed arguments of both functions.
    names : str
        Regular expression of file names that are surely meant when writing.
    """

    kind: str
    read: str
    write: str
    description: str
    options: dict = field(default_factory=dict)
    names: str = "(?!)"


FORMATS = {
    "extxyz": Format(
        "frames",
        "codes.extxyz.read_frames",
        "codes.extxyz.write_frames",
        "extended XYZ, canonical",
        names=r".*\.(ext)?xyz",
    ),
    "traj": Format("frames", "codes.traj.read_traj", "codes.traj.write_traj", "trajectory of ASE", names=r".*\.traj"),
    "mace": Format(
        "frames", "codes.dialects.read_dialect", "codes.dialects.write_dialect", "XYZ of MACE", {"dialect": "mace"}
    ),
    "gpumd": Format(
        "frames", "codes.dialects.read_dialect", "codes.dialects.write_dialect", "XYZ of GPUMD", {"dialect": "gpumd"}
    ),
    "deepmd": Format("frames", "codes.deepmd.read_deepmd", "codes.deepmd.write_deepmd", "DeePMD folder, npy"),
    "deepmd-raw": Format("frames", "codes.deepmd.read_deepmd", "codes.deepmd.write_raw", "DeePMD folder, text"),
    "mtp": Format("frames", "codes.mtp.read_mtp", "codes.mtp.write_mtp", "MLIP configurations", names=r".*\.cfg"),
    "abacus": Format("frames", "codes.abacus.read_abacus", "", "log of ABACUS"),
    "deltaspin": Format("frames", "codes.deltaspin.read_deltaspin", "", "OSZICAR of DeltaSpin"),
    "lammps-data": Format(
        "frames",
        "codes.lammps.read_lammps_data",
        "codes.lammps.write_lammps_data",
        "LAMMPS data, atom_style spin",
        names=r".*\.(lmp|lammps|data)",
    ),
    "lammps-dump": Format(
        "frames",
        "codes.lammps_dump.read_lammps_dump",
        "codes.lammps_dump.write_lammps_dump",
        "LAMMPS text dump",
        names=r".*\.(dump|lammpstrj)",
    ),
    "ovito": Format("frames", "", "codes.ovito.write_ovito", "XYZ with arrows for OVITO"),
    "vasp": Format("frames", "vasp.reader.iread_vasp", "", "run or output file of VASP"),
    "tb2j": Format(
        "exchange",
        "exchange.tb2j.read_tb2j",
        "exchange.tb2j.write_tb2j",
        "exchange.out of TB2J",
        names=r"exchange\.out",
    ),
    "uppasd": Format(
        "exchange", "exchange.uppasd.read_uppasd", "exchange.uppasd.write_uppasd", "input folder of UppASD"
    ),
    "vampire": Format(
        "exchange",
        "exchange.vampire.read_vampire",
        "exchange.vampire.write_vampire",
        "unit-cell file of Vampire",
        names=r".*\.ucf",
    ),
    "spirit": Format(
        "exchange", "exchange.spirit.read_spirit", "exchange.spirit.write_spirit", "input of Spirit", names=r".*\.cfg"
    ),
}
"""Formats by name."""

_VASP = re.compile(r"(OUTCAR|OSZICAR|vasprun|vaspout)", re.IGNORECASE)


def read_any(path, name=None, **options):
    """Contents of a file of any format.

    Parameters
    ----------
    path : str or Path
    name : str, optional
        One of :data:`FORMATS`; default: :func:`guess_format`.
    **options
        For the reader.

    Returns
    -------
    list of ase.Atoms, or (atoms, table) where the format holds exchange parameters

    Raises
    ------
    InputError
        An unknown or ambiguous format, options that the reader does not have, and what the reader itself refuses.
    """
    name = guess_format(path) if name is None else name
    form = _named(name)
    if not form.read:
        raise InputError(f"Expected a format that can be read, got {name}: choose one of {_readable()}.")
    found = _call(form.read, "read", form, name, path, options)
    if form.kind == "exchange":
        return found
    return [found] if isinstance(found, Atoms) else list(found)


def write_any(path, data, name=None, **options):
    """Write frames, or a crystal with its exchange table, in any format.

    Parameters
    ----------
    path : str or Path
    data : list of ase.Atoms, or (atoms, table)
    name : str, optional
        One of :data:`FORMATS`; default: by the name of the file.
    **options
        For the writer.

    Raises
    ------
    InputError
        An unknown or ambiguous format, one that holds something else or cannot be written, options that the writer does
        not have, and what the writer itself refuses.
    """
    kind = "frames" if isinstance(data, list) else "exchange"
    if name is None:
        name = _guess_to_write(path, kind)
    form = _named(name)
    if form.kind != kind:
        raise InputError(f"Expected a format for {kind}, got {name} for {form.kind}: choose one of {_names(kind)}.")
    if not form.write:
        raise InputError(f"Expected a format that can be written, got {name}: choose one of {_names(kind, True)}.")
    if name == "lammps-data" and len(data) != 1:
        raise InputError(f"Expected one frame for a LAMMPS data file, got {len(data)}: choose one, or use lammps-dump.")
    arguments = (path, data) if kind == "frames" else (path, *data)
    _call(form.write, "write", form, name, *arguments, options)


def guess_format(path):
    """Name of the format of an existing file or folder, from its name and first lines.

    Raises
    ------
    InputError
        Nothing fits for sure.
    """
    path = Path(path)
    name = (_of_folder if path.is_dir() else _of_file)(path)
    if name is None:
        raise InputError(
            f"Expected a file whose format shows, got {path}: name the format, one of {_readable()} "
            f"(--from on the command line)."
        )
    return name


def _of_folder(path):
    if (path / "inpsd.dat").exists():
        return "uppasd"
    if any(path.glob("running_*.log")):
        return "abacus"
    if any(_VASP.match(item.name) for item in path.iterdir()):
        return "deltaspin" if (path / "OSZICAR").exists() and _mentions(path / "OSZICAR", "MW_current") else "vasp"
    return "deepmd" if next(path.glob("**/type.raw"), None) else None


def _of_file(path):
    name = path.name.removesuffix(".gz")
    if name == "inpsd.dat":
        return "uppasd"
    if name.endswith(".ucf"):
        return "vampire"
    if _VASP.match(name):
        return "deltaspin" if name.startswith("OSZICAR") and _mentions(path, "MW_current") else "vasp"
    if name.endswith(".traj"):
        return "traj"
    with Lines(path, "a text file") as lines:
        start = [line for line, _ in zip(lines, range(60), strict=False)]
    text = "\n".join(start)
    if "ABACUS v" in text:
        return "abacus"
    if "generated by TB2J" in text or "Exchange parameters written by ase_spinml" in text:
        return "tb2j"
    if text.startswith("ITEM: TIMESTEP"):
        return "lammps-dump"
    if re.match(r"\s*BEGIN_CFG", text):
        return "mtp"
    if re.search(r"(?m)^\s*\d+\s+atoms\s*$", text) and "xlo xhi" in text:
        return "lammps-data"
    if len(start) > 1 and start[0].strip().isdigit() and "roperties=" in start[1]:
        return _dialect(start[1])
    return "spirit" if re.search(r"(?m)^(hamiltonian|bravais_lattice|bravais_vectors)\s", text) else None


def _dialect(comment):
    columns = re.search(r"(?i)properties=(\S+)", comment)[1].split(":")[::3]
    if any(column.startswith("REF_mag") for column in columns) or "REF_energy" in comment:
        return "mace"
    spins = {"spin", "spins", "mforce", "mforces", "force_mag"} & {column.lower() for column in columns}
    return "gpumd" if spins and "initial_magmoms" not in columns else "extxyz"


def _mentions(path, word):
    with Lines(path, "a text file") as lines:
        return any(word in line for line, _ in zip(lines, range(5000), strict=False))


def _guess_to_write(path, kind):
    fitting = [
        name
        for name, form in FORMATS.items()
        if form.kind == kind and form.write and re.fullmatch(form.names, Path(path).name)
    ]
    if len(fitting) != 1:
        raise InputError(
            f"Expected a file name that tells the format, got {Path(path).name!r}: name the format, one of "
            f"{_names(kind, True)} (--to on the command line)."
        )
    return fitting[0]


def _names(kind, writable=False):
    return ", ".join(name for name, form in FORMATS.items() if form.kind == kind and (form.write or not writable))


def _readable():
    return ", ".join(name for name, form in FORMATS.items() if form.read)


def _named(name):
    if name not in FORMATS:
        raise InputError(f"Expected a format among {', '.join(FORMATS)}, got {name!r}.")
    return FORMATS[name]


def _call(function, verb, form, name, *arguments):
    """Call "module.function" with what it takes; the last argument holds the options."""
    *arguments, options = arguments
    module, _, function = function.rpartition(".")
    function = getattr(importlib.import_module(f"ase_spinml.io.{module}"), function)
    known = inspect.signature(function).parameters
    strangers = [key for key in options if key not in known and "settings" not in known]
    if strangers:
        raise InputError(f"Expected no option {', '.join(strangers)} to {verb} {name}, got some: leave them out.")
    return function(*arguments, **form.options, **options)
