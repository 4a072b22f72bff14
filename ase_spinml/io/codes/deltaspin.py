"""OSZICAR of VASP with the DeltaSpin patch; read only.

The patch prints ``MW_current`` (the constrained moments, mu_B) and, per atom, the Lagrange multiplier lambda and the
"Magnetic Force" = -lambda = -dE/dM in eV/mu_B, the full vector. The constraint adds no penalty to the energy. No log of
a real run was at hand: the layout follows the description of the format.
"""

import re
from pathlib import Path

import numpy as np
from ase.io import read

from ase_spinml.errors import InputError
from ase_spinml.io.canonical import make_frame
from ase_spinml.io.text import Lines

_WHAT = "an OSZICAR of DeltaSpin"
_NUMBER = r"([-+]?\d*\.\d+(?:[EeDd]?[-+]\d+)?)"
_STEP = re.compile(rf"^\s*(\d+)\s+F=\s*{_NUMBER}\s+E0=\s*{_NUMBER}")
_ELECTRONIC = re.compile(r"^\s*(DAV|RMM|CGA|EDI|NCG|SDA):")


def read_deltaspin(path, structure=None, damaged="refuse"):
    """Frames of a DeltaSpin run, one per ionic step.

    Parameters
    ----------
    path : str or Path
        The OSZICAR, or the folder with it.
    structure : str, Path, ase.Atoms or list of ase.Atoms, optional
        The geometry of each step, or a file that has it. Default: the OUTCAR, vasprun.xml or, for a single step, POSCAR
        in the same folder.
    damaged : {"refuse", "keep"}
        What to do when the file is damaged or the run unfinished: an error, or the complete steps before.

    Returns
    -------
    list of ase.Atoms
        ``energy`` is OSZICAR's E0, ``free_energy`` its F (eight digits); forces and stress only where the structures
        bring them.

    Raises
    ------
    InputError
        No block of DeltaSpin, a damaged file, a force that is not minus lambda, no structure for each step.
    """
    if damaged not in ("refuse", "keep"):
        raise InputError(f"Expected damaged to be 'refuse' or 'keep', got {damaged!r}.")
    path = Path(path) / "OSZICAR" if Path(path).is_dir() else Path(path)
    steps = []
    with Lines(path, _WHAT) as lines:
        try:
            _read_steps(lines, steps)
        except InputError:
            if damaged == "refuse":
                raise
    whole = [{"moments", "fields"} <= set(step) for step in steps]
    if not any(whole) or (damaged == "refuse" and not all(whole)):
        raise InputError(f"Expected {_WHAT}, got {path} with a step that lacks MW_current or Magnetic Force.")
    steps = steps[: whole.index(False)] if not all(whole) else steps
    structures = _structures(structure, path, len(steps), damaged)
    return [_frame(step, atoms, path) for step, atoms in zip(steps, structures, strict=True)]


def _read_steps(lines, steps):
    """Append one dict per ionic step; blocks come before its line F= or right behind it."""
    block, closed = {}, False
    for line in lines:
        match = _STEP.match(line)
        if match:
            if lines.cut:
                raise lines.error("a complete line", line)
            if int(match[1]) != len(steps) + 1:
                raise lines.error(f"ionic step {len(steps) + 1}", match[1])
            energies = lines.numbers([match[2], match[3]], 2, "the energies F and E0")
            steps.append({"free_energy": energies[0], "energy": energies[1], **block})
            block, closed = {}, True
        elif _ELECTRONIC.match(line):
            closed = False
        elif "MW_current" in line:
            (steps[-1] if closed else block)["moments"] = _rows(lines, 6)[:, :3]
        elif "Magnetic Force" in line:
            table = _rows(lines, 6)
            if np.abs(table[:, :3] + table[:, 3:]).max() > 1e-6 * (1 + np.abs(table).max()):
                raise lines.error("a Magnetic Force of minus lambda", "another: the file is damaged or not DeltaSpin's")
            (steps[-1] if closed else block)["fields"] = table[:, 3:]
    if block:
        raise InputError(f"Expected the line F= of the last ionic step in {lines.path}, got none: it is unfinished.")


def _rows(lines, width):
    """Rows of an index and ``width`` numbers."""
    rows = []
    while (line := lines.next_or_none()) is not None:
        words = line.split()
        if len(words) != width + 1 or not re.fullmatch(r"\d+|\*+", words[0]):
            lines.back(line)
            break
        if words[0].isdigit() and int(words[0]) != len(rows) + 1:
            raise lines.error(f"atom {len(rows) + 1}", words[0])
        rows.append(lines.numbers(words[1:], width, f"{width} numbers of an atom"))
    if not rows:
        raise lines.error(f"an index and {width} numbers", line or "the end of the file")
    return np.array(rows)


def _structures(structure, path, n_steps, damaged):
    if structure is None:
        found = [path.parent / name for name in ("OUTCAR", "vasprun.xml", "POSCAR") if (path.parent / name).exists()]
        if not found:
            raise InputError(f"Expected OUTCAR, vasprun.xml or POSCAR beside {path}, got none: give structure=.")
        structure = found[0]
    if isinstance(structure, (str, Path)):
        try:
            structure = read(structure, ":")
        except Exception as error:  # ASE's readers meet damage with whatever error comes first
            raise InputError(f"Expected a structure in {structure}, got an unreadable file: {error}.") from None
    structures = structure if isinstance(structure, list) else [structure]
    if damaged == "keep" and len(structures) > n_steps:
        structures = structures[:n_steps]
    if len(structures) != n_steps:
        raise InputError(
            f"Expected a structure for each of {n_steps} steps of {path}, got {len(structures)}: give structure= with "
            f"one per step, such as the OUTCAR."
        )
    return structures


def _frame(step, atoms, path):
    if len(atoms) != len(step["moments"]) or len(atoms) != len(step["fields"]):
        raise InputError(f"Expected {len(atoms)} atoms as in the structure in {path}, got {len(step['moments'])}.")
    results = getattr(atoms.calc, "results", None) or {}
    labels = {name: results[name] for name in ("forces", "stress") if name in results}
    return make_frame(atoms.numbers, atoms.positions, atoms.cell, atoms.pbc, **step, **labels)
