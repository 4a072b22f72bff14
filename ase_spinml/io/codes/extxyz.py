"""Extended XYZ with the canonical columns of this package: the format that keeps everything.

Columns ``initial_magmoms`` (mu_B) and ``exchange_fields`` (-dE/dm, eV/mu_B; NaN rows are unknown), energy, forces and
stress under ASE's own keys, other columns and ``info`` as they are. Numbers have eight decimals.
"""

import io
import re

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import read_xyz, write_xyz

from ase_spinml.errors import InputError
from ase_spinml.io.canonical import COLLINEAR, as_frames, contents
from ase_spinml.io.text import Lines, whole_file
from ase_spinml.moments import FIELDS, MOMENTS, set_moments

FINITE = {"positions", "cell", MOMENTS, "energy", "free_energy", "forces", "stress", "momenta"}
"""What must be known if it is there; NaN in other columns is none of this reader's business."""

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
    return collect(path, damaged, lambda atoms: _canonical(atoms, axis))


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


def collect(path, damaged, convert, finite=(), fields=(FIELDS,)):
    """Frames of a file, each passed through ``convert``.

    Parameters
    ----------
    path, damaged
        As in :func:`read_frames`.
    convert : callable
        Function of the frame as ASE reads it.
    finite : set of str
        Columns that must be finite, beside :data:`FINITE`.
    fields : set of str
        Columns that may have whole rows of NaN only.
    """
    if damaged not in ("refuse", "keep"):
        raise InputError(f"Expected damaged to be 'refuse' or 'keep', got {damaged!r}.")
    frames = []
    with Lines(path, _WHAT) as lines:
        try:
            for text in _chunks(lines):
                frames.append(_converted(convert, _parse(text, lines, FINITE.union(finite), fields), lines))
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


def _parse(text, lines, finite, fields):
    try:
        atoms = next(iter(read_xyz(io.StringIO(text), 0)))
    except Exception as error:  # the parser meets damage with whatever error comes first
        raise lines.error("a readable frame", str(error)) from None
    arrays = {**atoms.arrays, **(atoms.calc.results if atoms.calc else {}), "cell": atoms.cell.array}
    for name, values in arrays.items():
        values = np.asarray(values)
        known = values.dtype.kind != "f" or np.isfinite(values).all()
        if (name in finite and not known) or (name in fields and not known and not _whole_rows(values)):
            raise lines.error(f"finite numbers in {name}", "NaN or infinity")
    return atoms


def _whole_rows(values):
    """Whether what is not finite are whole rows of NaN."""
    missing = np.isnan(values)
    whole = values.ndim == 2 and (missing.all(axis=1) == missing.any(axis=1)).all()
    return bool(whole) and not np.isinf(values).any()


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
