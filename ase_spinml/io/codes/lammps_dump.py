"""Text dumps of LAMMPS with spins, see :mod:`ase_spinml.io.codes.lammps` for columns and units."""

import re

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.io.canonical import make_frame
from ase_spinml.io.codes.lammps import HBAR, _moments, _sorted, _spin_columns, _symbols, _triangular, dump_frames
from ase_spinml.io.text import Lines, whole_file

SPIN = ("sp", "spx", "spy", "spz")
FM = ("fmx", "fmy", "fmz")
FORCE = ("fx", "fy", "fz")
_WHAT = "a LAMMPS text dump"


def write_lammps_dump(path, frames):
    """Write frames as a LAMMPS text dump with the columns id type element x y z sp spx spy spz.

    Forces follow as ``fx fy fz`` and fields as ``fmx fmy fmz`` = m H / hbar in rad/ps, where a frame has
    them. Energies and stress have no place in a dump.

    Parameters
    ----------
    path : str or Path
    frames : ase.Atoms or list of ase.Atoms
        With moments and a cell; turned into LAMMPS's triangular cell where needed.
    """
    frames = list(dump_frames(frames))
    species = list(dict.fromkeys(symbol for atoms, *_ in frames for symbol in atoms.symbols))
    with whole_file(path) as file:
        for step, frame in enumerate(frames):
            file.write("\n".join(_frame_lines(step, species, *frame)) + "\n")


def read_lammps_dump(path, species=None, compute=None, fm=None, damaged="refuse"):
    """Frames of a LAMMPS text dump.

    Parameters
    ----------
    path : str or Path
    species : sequence of str, optional
        Chemical symbol of type 1, 2, ...; not needed where the dump has a column ``element``.
    compute : sequence of str, optional
        Names of the columns ``c_...[1]``, ``c_...[2]``, ... in the order of the input script's ``compute
        property/atom``, such as ``["sp", "spx", "spy", "spz", "fmx", "fmy", "fmz", "fx", "fy", "fz"]``. Default: the
        first four are ``sp spx spy spz``, which is checked, and the rest is left out.
    fm : "gradient", optional
        Read ``fmx fmy fmz`` as m H / hbar in rad/ps. Default: no fields.
    damaged : {"refuse", "keep"}
        What to do when the file is damaged: an error, or the frames before the damage.

    Returns
    -------
    list of ase.Atoms
        Frames without spin columns have no moments; ``info["timestep"]`` is LAMMPS's.

    Raises
    ------
    InputError
        Not a dump, a frame that is damaged or cut off, species unknown, columns that are not what they should be.
    """
    if fm not in (None, "gradient") or damaged not in ("refuse", "keep"):
        raise InputError(f"Expected fm 'gradient' or None and damaged 'refuse' or 'keep', got {fm!r} and {damaged!r}.")
    frames = []
    with Lines(path, _WHAT) as lines:
        try:
            for line in lines:
                if line.strip() != "ITEM: TIMESTEP":
                    raise lines.error("ITEM: TIMESTEP", line)
                frames.append(_read_frame(lines, species, compute, fm))
        except InputError:
            if damaged == "refuse":
                raise
    if not frames:
        raise InputError(f"Expected {_WHAT}, got no complete frame in {path}.")
    return frames


def _frame_lines(step, species, atoms, found, fields, cell):
    table = [atoms.positions, np.roll(_spin_columns(found.moments), 1, axis=1)]
    names = ["x", "y", "z", *SPIN]
    if found.forces is not None:
        table, names = [*table, found.forces], [*names, *FORCE]
    if fields is not None:
        lengths = np.linalg.norm(found.moments, axis=1, keepdims=True)
        table, names = [*table, lengths * fields / HBAR], [*names, *FM]
    yield from ("ITEM: TIMESTEP", str(step), "ITEM: NUMBER OF ATOMS", str(len(atoms)))
    yield "ITEM: BOX BOUNDS xy xz yz " + " ".join("pp" if periodic else "ff" for periodic in atoms.pbc)
    xy, xz, yz = tilt = cell[1, 0], cell[2, 0], cell[2, 1]
    low = np.array([min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0])
    high = np.array([max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0])
    for row in zip(low, np.diag(cell) + high, tilt, strict=True):
        yield " ".join(f"{value:.17g}" for value in row)
    yield "ITEM: ATOMS id type element " + " ".join(names)
    for number, (symbol, row) in enumerate(zip(atoms.symbols, np.hstack(table), strict=True), 1):
        yield f"{number} {species.index(symbol) + 1} {symbol} " + " ".join(f"{value:.17g}" for value in row)


def _read_frame(lines, species, compute, fm):
    step = lines.integer(lines.next("a timestep").strip(), "a timestep")
    _item(lines, "ITEM: NUMBER OF ATOMS")
    count = lines.integer(lines.next("a number of atoms").strip(), "a number of atoms")
    cell, origin, pbc = _box(lines)
    names = _item(lines, "ITEM: ATOMS").split()
    if len(set(names)) != len(names) or not {"id", "type"} <= set(names):
        raise lines.error("columns with different names, id and type among them", " ".join(names))
    if count < 1:
        raise lines.error("a number of atoms above zero", str(count))
    elements, rows = [], []
    for _ in range(count):
        words = lines.next(f"{count} atoms").split()
        if len(words) != len(names):
            raise lines.error(f"{len(names)} columns", " ".join(words))
        if "element" in names:
            elements.append(words.pop(names.index("element")))
        rows.append(lines.numbers(words, len(words), "a row of numbers"))
    names = [name for name in names if name != "element"]
    table = np.array(rows)
    order = np.argsort(table[:, names.index("id")])
    table = _sorted(np.roll(table, -names.index("id"), axis=1), lines.path)
    names = names[names.index("id") :] + names[: names.index("id")]
    columns = dict(zip(_renamed(names, compute, lines), table.T, strict=True))
    symbols = [elements[k] for k in order] if elements else None
    if symbols is None:
        if species is None:
            raise InputError(f"Expected the species of the types in {lines.path}, got none: give species=['Fe', ...].")
        symbols = _symbols(columns["type"], species, lines.path)
    return _to_frame(symbols, columns, cell, origin, pbc, fm, step, lines)


def _to_frame(symbols, columns, cell, origin, pbc, fm, step, lines):
    moments, fields = None, None
    if set(SPIN) <= set(columns):
        moments = _moments(columns["sp"], _vectors(columns, SPIN[1:]), lines.path)
        if fm is not None and set(FM) <= set(columns):
            lengths = columns["sp"][:, None]
            fields = np.where(lengths > 0, HBAR * _vectors(columns, FM) / np.where(lengths > 0, lengths, 1.0), 0.0)
    try:
        return make_frame(
            symbols,
            _positions(columns, cell, origin, lines),
            cell,
            pbc,
            moments=moments,
            fields=fields,
            forces=_vectors(columns, FORCE) if set(FORCE) <= set(columns) else None,
            info={"timestep": step},
        )
    except KeyError as error:
        raise lines.error("chemical symbols as elements", str(error)) from None


def _item(lines, name):
    line = lines.next(name)
    if not line.startswith(name):
        raise lines.error(name, line)
    return line[len(name) :]


def _box(lines):
    """Cell (3, 3), origin (3,) and boundary conditions."""
    words = _item(lines, "ITEM: BOX BOUNDS").split()
    tilted = words[:3] == ["xy", "xz", "yz"]
    if words and words[0] == "abc":
        raise lines.error("a box given by bounds", " ".join(words))
    flags = words[3:] if tilted else words
    bounds = np.array([lines.floats(3 if tilted else 2, "bounds of the box") for _ in range(3)])
    xy, xz, yz = tilt = bounds[:, 2] if tilted else np.zeros(3)
    low = bounds[:, 0] - [min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0]
    high = bounds[:, 1] - [max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0]
    if not (high > low).all():
        raise lines.error("upper bounds above lower ones", str(bounds.tolist()))
    return _triangular(high - low, tilt), low, [flag == "pp" for flag in flags] if len(flags) == 3 else True


def _renamed(names, compute, lines):
    """Column names with those of computes replaced by what they hold."""
    found = [name for name in names if re.fullmatch(r"c_\w+\[\d+\]", name)]
    if not found:
        return names
    stems = {name.partition("[")[0] for name in found}
    if len(stems) > 1 and any(name not in names for name in SPIN):
        raise lines.error("one compute in the dump", ", ".join(sorted(stems)))
    meaning = dict(enumerate(compute if compute is not None else SPIN, 1))
    renamed = {name: meaning.get(int(name.partition("[")[2][:-1]), name) for name in found}
    new = [renamed.get(name, name) for name in names]
    if len(set(new)) != len(new):
        raise lines.error("different names for different columns", ", ".join(new))
    return new


def _positions(columns, cell, origin, lines):
    for names in (("x", "y", "z"), ("xu", "yu", "zu")):
        if set(names) <= set(columns):
            return _vectors(columns, names) - origin
    for names in (("xs", "ys", "zs"), ("xsu", "ysu", "zsu")):
        if set(names) <= set(columns):
            return _vectors(columns, names) @ cell
    raise lines.error("columns x y z, xu yu zu, xs ys zs or xsu ysu zsu", ", ".join(columns))


def _vectors(columns, names):
    return np.stack([columns[name] for name in names], axis=1)
