"""Which files a VASP run has, and the order of its atoms."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase.io import read as ase_read

from ase_spinml.errors import InputError
from ase_spinml.io.vasp.incar import read_incar
from ase_spinml.io.vasp.lines import Damaged, open_bytes

KINDS = {
    "vasprun": re.compile(r"vasprun", re.IGNORECASE),
    "vaspout": re.compile(r"vaspout", re.IGNORECASE),
    "outcar": re.compile(r"OUTCAR", re.IGNORECASE),
    "oszicar": re.compile(r"OSZICAR", re.IGNORECASE),
}
NAMES = {"vasprun": "vasprun.xml", "vaspout": "vaspout.h5", "outcar": "OUTCAR", "oszicar": "OSZICAR"}
SORT_FILE = "ase-sort.dat"
"""ASE's own record of how atoms were sorted for POSCAR."""


@dataclass
class RunFiles:
    """Files of one run.

    Attributes
    ----------
    folder : Path
    found : dict of str -> Path
        By kind: vasprun, vaspout, outcar, oszicar.
    incar, poscar : Path or None
    """

    folder: Path
    found: dict = field(default_factory=dict)
    incar: Path | None = None
    poscar: Path | None = None


def find_files(path):
    """Files of the run at ``path``: a folder, or one output file, beside which INCAR and POSCAR count.

    Raises
    ------
    InputError
        Nothing there, a name that tells no kind, or a file twice, plain and packed.
    """
    path = Path(path)
    if path.is_dir():
        found = {kind: _one(path, name) for kind, name in NAMES.items()}
        files = RunFiles(path, {kind: file for kind, file in found.items() if file is not None})
        if not files.found:
            raise InputError(
                f"Expected OUTCAR, vasprun.xml, vaspout.h5 or OSZICAR in {path}, got none of them: check the path."
            )
    elif path.is_file():
        kind = next((kind for kind, pattern in KINDS.items() if pattern.search(path.name)), None)
        if kind is None:
            raise InputError(
                f"Expected a name with OUTCAR, OSZICAR, vasprun or vaspout in it, got {path.name}: rename the file."
            )
        files = RunFiles(path.parent, {kind: path})
    else:
        raise InputError(f"Expected a run folder or a file of VASP, got {path}, which does not exist: check the path.")
    files.incar = _one(files.folder, "INCAR")
    files.poscar = _one(files.folder, "POSCAR")
    return files


def _one(folder, name):
    present = [file for file in (folder / name, folder / f"{name}.gz") if file.is_file()]
    if len(present) > 1:
        raise InputError(f"Expected {name} or {name}.gz in {folder}, got both: remove one of them.")
    return present[0] if present else None


def tags_of(files):
    """Tags of the run's INCAR, an empty dict without one."""
    return read_incar(files.incar) if files.incar is not None else {}


def read_poscar(path):
    """Structure of a POSCAR, as ASE reads it; positions are not wrapped.

    Raises
    ------
    Damaged
        ASE cannot read it.
    """
    with open_bytes(path) as file:
        if b"\0" in file.read(1 << 16):
            raise Damaged(f"Expected {path.name} to be text, got zero bytes: take an undamaged copy.", keepable=False)
    try:
        atoms = ase_read(path, format="vasp")
    except Exception as error:
        raise Damaged(
            f"Expected {path.name} to be a POSCAR that ASE reads, got '{error}': take an undamaged copy.",
            keepable=False,
        ) from None
    if not np.isfinite(atoms.positions).all() or not atoms.cell.volume > 0:
        raise Damaged(f"Expected {path.name} to have finite positions and a volume, got others.", keepable=False)
    return atoms


def read_order(folder, n_atoms):
    """Index of the sorted atom for every original one, (N,), from ``ase-sort.dat``; None without that file.

    Raises
    ------
    InputError
        It is not a permutation of this many atoms and its inverse.
    """
    path = folder / SORT_FILE
    if not path.is_file():
        return None
    try:
        table = np.loadtxt(path, dtype=int, ndmin=2)
        sort, resort = table.T
        everyone = np.arange(n_atoms)
        whole = len(sort) == n_atoms and (np.sort(sort) == everyone).all() and (sort[resort] == everyone).all()
    except (ValueError, IndexError):
        whole = False
    if not whole:
        raise InputError(
            f"Expected {SORT_FILE} in {folder} to be an order of {n_atoms} atoms and its inverse, got something else: "
            f"remove it, or read with original_order=False."
        )
    return resort


def find_order(atoms):
    """Index of the original atom for every one of POSCAR, (N,): species together, in order of first appearance."""
    symbols = atoms.get_chemical_symbols()
    rank = {symbol: k for k, symbol in enumerate(dict.fromkeys(symbols))}
    return np.argsort([rank[symbol] for symbol in symbols], kind="stable")


def order_text(sort):
    """Text of ``ase-sort.dat`` where POSCAR's atom k is the original atom ``sort[k]``, as ASE writes it."""
    resort = np.argsort(sort)
    return "".join(f"{a:5d} {b:5d} \n" for a, b in zip(sort, resort, strict=True))
