"""Extended XYZ: the canonical columns of this package, and the column names of MACE and GPUMD.

=========  ===================  ==================  =========================================
dialect    moments              -dE/dm              energy, forces, stress
=========  ===================  ==================  =========================================
canonical  ``initial_magmoms``  ``exchange_fields``  ASE's own keys
mace       ``REF_magmom``       ``REF_magforces``   ``REF_energy``, ``REF_forces``, ``REF_stress`` (ASE's sign)
gpumd      ``spin``             ``mforce``          ``energy``, ``force``, ``virial`` = -stress x volume, eV
=========  ===================  ==================  =========================================

All dialects hold moments in mu_B and the field with the sign of a force, in eV/mu_B. Numbers have eight decimals.
"""

import io
import re

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import read_xyz, write_xyz

from ase_spinml.errors import InputError
from ase_spinml.io.canonical import (
    COLLINEAR,
    as_frames,
    contents,
    known_fields,
    make_frame,
    stress_from_virial,
    virial_from_stress,
)
from ase_spinml.io.text import Lines, whole_file
from ase_spinml.moments import FIELDS, MOMENTS, set_moments

MACE = {
    "moments": ("REF_magmom", "magmom"),
    "fields": ("REF_magforces", "magforces"),
    "energy": ("REF_energy",),
    "forces": ("REF_forces",),
    "stress": ("REF_stress",),
}
"""Names of the MACE dialect: the first is written, all are read."""

GPUMD = {
    "moments": ("spin", "spins", "moment", "moments"),
    "fields": ("mforce", "mforces", "force_mag", "forces_mag", "magnetic_force", "magnetic_forces"),
    "energy": ("energy",),
    "forces": ("force", "forces"),
    "virial": ("virial",),
}
"""Names of the spin version of GPUMD, see :data:`MACE`; upper and lower case are the same."""

DIALECTS = {"mace": MACE, "gpumd": GPUMD}
_FIELDS = {FIELDS, *MACE["fields"], *GPUMD["fields"]}
_FINITE = {"positions", "cell", MOMENTS, "energy", "free_energy", "forces", "stress", "momenta"} | {
    name for names in (MACE, GPUMD) for quantity in set(names) - {"fields"} for name in names[quantity]
}
_WHAT = "an extended XYZ file"


def read_frames(path, axis=None, damaged="refuse"):
    """Frames of an extended XYZ file in canonical form.

    Parameters
    ----------
    path : str or Path
        The file, gzip-compressed or not.
    axis : (3,), optional
        Direction of moments given as one number per atom; without one they go to ``collinear_magmoms``.
    damaged : {"refuse", "keep"}
        What to do when the file is damaged: an error, or the frames before the damage.

    Returns
    -------
    list of ase.Atoms

    Raises
    ------
    InputError
        Not extended XYZ, a frame that is cut off, rows of a wrong length, numbers that are not finite (rows of NaN in
        ``exchange_fields`` are atoms without a label).
    """
    return _collect(path, damaged, lambda atoms: _canonical(atoms, axis))


def read_dialect(path, dialect, axis=None, damaged="refuse"):
    """Frames of an extended XYZ file with the names of another program, see :data:`MACE` and :data:`GPUMD`.

    Parameters
    ----------
    path, axis, damaged
        As in :func:`read_frames`.
    dialect : {"mace", "gpumd"}

    Raises
    ------
    InputError
        As :func:`read_frames`; two names of the same quantity side by side.
    """
    names = DIALECTS[dialect]
    return _collect(path, damaged, lambda atoms: _from_dialect(atoms, names, axis))


def write_frames(path, frames):
    """Write frames as extended XYZ with moments, fields, energy, forces and stress together.

    Parameters
    ----------
    path : str or Path
        The file appears when all frames are written.
    frames : ase.Atoms or list of ase.Atoms
        In canonical form; other columns and ``info`` are kept too.
    """
    frames = as_frames(frames)
    with whole_file(path) as file:
        for atoms in frames:
            write_xyz(file, [for_writing(atoms)])


def write_dialect(path, frames, dialect):
    """Write frames with the names of another program.

    Parameters
    ----------
    path, frames
        As in :func:`write_frames`.
    dialect : {"mace", "gpumd"}

    Raises
    ------
    InputError
        A frame with moments given as one number per atom, or whose fields are unknown on some magnetic atoms.
    """
    frames, names = as_frames(frames), DIALECTS[dialect]
    with whole_file(path) as file:
        for atoms in frames:
            write_xyz(file, [_to_dialect(atoms, names, dialect)], write_results=False)


def for_writing(atoms):
    """Copy of a frame with everything where the writer looks for it."""
    frame = atoms.copy()
    if np.ndim(frame.arrays.get(MOMENTS)) == 1:  # one number per atom, as ase.build.bulk presets it
        frame.set_array(COLLINEAR, frame.arrays.pop(MOMENTS), float)
    results = getattr(atoms.calc, "results", None) or {}
    if FIELDS not in frame.arrays and FIELDS in results:
        frame.set_array(FIELDS, results[FIELDS])
    known = {name: results[name] for name in ("energy", "free_energy", "forces", "stress") if name in results}
    if known:
        frame.calc = SinglePointCalculator(frame, **known)
    contents(frame)
    return frame


def _collect(path, damaged, convert):
    if damaged not in ("refuse", "keep"):
        raise InputError(f"Expected damaged to be 'refuse' or 'keep', got {damaged!r}.")
    frames = []
    with Lines(path, _WHAT) as lines:
        try:
            for text in _chunks(lines):
                frames.append(_converted(convert, _parse(text, lines), lines))
        except InputError:
            if damaged == "refuse":
                raise
    if not frames:
        raise InputError(f"Expected {_WHAT}, got no complete frame in {path}.")
    return frames


def _converted(convert, atoms, lines):
    try:
        return convert(atoms)
    except InputError:
        raise
    except (ValueError, TypeError) as error:  # text or lists where numbers should be
        raise lines.error("numbers as labels", str(error)) from None


def _chunks(lines):
    """Text of one frame after another, every row checked for its number of words."""
    for line in lines:
        if not line.strip():
            if lines.next_or_none() is None:
                return
            raise lines.error("a number of atoms", line)
        count = lines.integer(line.strip(), "a number of atoms")
        if count < 1:
            raise lines.error("a number of atoms", line)
        comment = re.sub(r"(?i)\b(lattice|properties)=", _capital, lines.next("the comment line of a frame"))
        width = _width(comment, lines)
        rows = []
        for _ in range(count):
            row = lines.next(f"{count} atoms")
            if lines.cut or len(row.split()) != width:
                raise lines.error(f"{width} columns and a line end", row)
            rows.append(row)
        yield "\n".join([str(count), comment, *rows, ""])


def _capital(match):
    return match[1].capitalize() + "="


def _width(comment, lines):
    """Number of columns that the comment line announces."""
    match = re.search(r"Properties=[\"']?([^\s\"']+)", comment)
    if match is None:
        return 4
    words = match[1].split(":")
    if len(words) % 3 or not all(count.isdigit() for count in words[2::3]):
        raise lines.error("Properties=name:type:columns:...", match[1])
    return sum(int(count) for count in words[2::3])


def _parse(text, lines):
    try:
        atoms = next(iter(read_xyz(io.StringIO(text), 0)))
    except Exception as error:  # the parser meets damage with whatever error comes first
        raise lines.error("a readable frame", str(error)) from None
    arrays = {**atoms.arrays, **(atoms.calc.results if atoms.calc else {}), "cell": atoms.cell.array}
    for name, values in arrays.items():
        values = np.asarray(values)
        if values.dtype.kind == "f" and not np.isfinite(values).all() and not _may_be_unknown(name, values):
            raise lines.error(f"finite numbers in {name}", "NaN or infinity")
    return atoms


def _may_be_unknown(name, values):
    """Whether what is not finite is a sign for unknown: whole rows of NaN in a column of fields, or another column."""
    if name not in (*_FIELDS, *_FINITE):
        return True
    if name in _FINITE or values.ndim != 2:
        return False
    missing = np.isnan(values)
    return not np.isinf(values).any() and (missing.all(axis=1) == missing.any(axis=1)).all()


def _canonical(atoms, axis):
    moments = atoms.arrays.pop(MOMENTS, None)
    if moments is not None and moments.ndim == 1:
        if axis is None:
            atoms.set_array(COLLINEAR, moments, float)
        else:
            set_moments(atoms, moments, axis=axis)
    elif moments is not None:
        set_moments(atoms, moments)
    contents(atoms)
    return atoms


def _from_dialect(atoms, names, axis):
    found = {**atoms.info, **atoms.arrays, **(atoms.calc.results if atoms.calc else {})}
    taken, values = [], {}
    for quantity, aliases in names.items():
        present = [key for key in found if key in aliases or key.lower() in aliases]
        if len(present) > 1:
            raise InputError(f"Expected one column of {quantity}, got {' and '.join(present)}: remove all but one.")
        if present:
            taken.append(present[0])
            values[quantity] = np.asarray(found[present[0]], dtype=float)
            if quantity != "fields" and not np.isfinite(values[quantity]).all():
                raise InputError(f"Expected finite numbers in {present[0]}, got NaN or infinity.")
    if "energy" in values:
        values["energy"] = float(values["energy"])
    if "virial" in values:
        values["stress"] = stress_from_virial(np.reshape(values.pop("virial"), 9), atoms.cell.array)
    if "stress" in values:
        stress = values["stress"]
        values["stress"] = stress.reshape(3, 3) if stress.size == 9 else stress
    info = {key: value for key, value in atoms.info.items() if key not in taken}
    return make_frame(atoms.numbers, atoms.positions, atoms.cell, atoms.pbc, info=info, axis=axis, **values)


def _to_dialect(atoms, names, dialect):
    found = contents(atoms)
    frame = make_frame(atoms.numbers, atoms.positions, atoms.cell, atoms.pbc, info=atoms.info)
    fields = known_fields(found, f"the {dialect} format")
    for quantity, values in (("forces", found.forces), ("moments", found.moments), ("fields", fields)):
        if values is not None:
            frame.set_array(names[quantity][0], values)
    if found.energy is not None:
        frame.info[names["energy"][0]] = found.energy
    if found.stress is not None:
        if "virial" in names:
            frame.info[names["virial"][0]] = virial_from_stress(found.stress, atoms)
        else:
            frame.info[names["stress"][0]] = found.stress
    return frame
