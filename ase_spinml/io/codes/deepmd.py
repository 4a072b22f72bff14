"""Systems of DeePMD-kit with spin, as NumPy arrays (``npy``) or text (``raw``).

A system is a folder: ``type.raw`` and ``type_map.raw`` name the atoms; ``set.000``, ``set.001``, ... (npy) or the
folder itself (raw) hold one row per frame in ``coord``, ``box`` (Angstrom), ``energy`` (eV), ``force`` (eV/A),
``virial`` (eV, -stress x volume), ``spin`` (moments, mu_B, zero on non-magnetic atoms) and ``force_mag`` (-dE/dm,
eV/mu_B). A label whose file is missing is unknown. ``nopbc`` marks clusters.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.io.canonical import (
    as_frames,
    contents,
    known_fields,
    make_frame,
    stress_from_virial,
    virial_from_stress,
)
from ase_spinml.io.text import Lines

LABELS = ("energy", "force", "virial", "spin", "force_mag")
_WHAT = "a DeePMD system"


def read_deepmd(path, species=None):
    """Frames of a DeePMD system, or of all systems below a folder, in canonical form.

    Parameters
    ----------
    path : str or Path
        Folder with ``type.raw``, or a folder of such folders, taken in alphabetical order.
    species : sequence of str, optional
        Chemical symbol of each type, where ``type_map.raw`` is missing.

    Returns
    -------
    list of ase.Atoms

    Raises
    ------
    InputError
        No system, types without names, files that are damaged or do not fit each other.
    """
    path = Path(path)
    systems = [path] if (path / "type.raw").exists() else sorted(file.parent for file in path.glob("**/type.raw"))
    if not systems:
        raise InputError(f"Expected {_WHAT}, a folder with type.raw, got {path}: name the folder of the system.")
    return [frame for system in systems for frame in _read_system(system, species)]


def write_deepmd(path, frames, form="npy"):
    """Write frames as DeePMD systems.

    Frames of the same atoms in the same order and with the same labels share a system. Where all frames do, the system
    is the folder ``path``; otherwise there is one folder per system in it, named by number and formula.

    Parameters
    ----------
    path : str or Path
        Folder to make; it must not exist yet, or be empty.
    frames : ase.Atoms or list of ase.Atoms
        In canonical form.
    form : {"npy", "raw"}
        Arrays in double precision, or text with 17 digits.

    Raises
    ------
    InputError
        The folder is taken; a frame has no moments, is periodic along some directions only, or has fields unknown on
        some magnetic atoms.
    """
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"Expected a new or empty folder for {_WHAT}, got {path}: remove it or name another.")
    if not path.parent.is_dir():
        raise InputError(f"Expected a folder to write {path.name} to, got {path.parent}, which does not exist.")
    if form not in ("npy", "raw"):
        raise InputError(f"Expected form to be 'npy' or 'raw', got {form!r}.")
    groups = {}
    for atoms in as_frames(frames):
        rows = _rows(atoms)
        groups.setdefault((tuple(atoms.symbols), bool(atoms.pbc.all()), tuple(rows)), []).append(rows)
    type_map = list(dict.fromkeys(symbol for symbols, _, _ in groups for symbol in symbols))
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        for number, ((symbols, periodic, _), rows) in enumerate(groups.items()):
            folder = temporary if len(groups) == 1 else temporary / f"{number:03d}-{_formula(symbols)}"
            folder.mkdir(exist_ok=True)
            _write_system(folder, symbols, type_map, periodic, rows, form)
        temporary.chmod(0o755)
        temporary.replace(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_raw(path, frames):
    """Write frames as DeePMD systems in text form, see :func:`write_deepmd`."""
    write_deepmd(path, frames, form="raw")


def _rows(atoms):
    """One frame as flat rows by file name."""
    found = contents(atoms)
    if found.moments is None:
        raise InputError(
            f"Expected moments on every frame, got {atoms.get_chemical_formula()} without: set them with set_moments, "
            f"zero rows for non-magnetic atoms."
        )
    if atoms.pbc.any() and not atoms.pbc.all():
        raise InputError(
            "Expected frames periodic along all directions or none, as DeePMD knows no other, got a mixture: set pbc."
        )
    fields = known_fields(found, "DeePMD")
    rows = {"coord": atoms.positions, "spin": found.moments}
    if atoms.pbc.all() or atoms.cell.any():
        rows["box"] = atoms.cell.array
    if found.energy is not None:
        rows["energy"] = [found.energy]
    if found.forces is not None:
        rows["force"] = found.forces
    if found.stress is not None:
        rows["virial"] = virial_from_stress(found.stress, atoms)
    if fields is not None:
        rows["force_mag"] = fields
    return {name: np.ravel(values) for name, values in rows.items()}


def _write_system(folder, symbols, type_map, periodic, rows, form):
    (folder / "type.raw").write_text("".join(f"{type_map.index(symbol)}\n" for symbol in symbols))
    (folder / "type_map.raw").write_text("".join(f"{symbol}\n" for symbol in type_map))
    if not periodic:
        (folder / "nopbc").touch()
    arrays = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    if form == "raw":
        for name, values in arrays.items():
            np.savetxt(folder / f"{name}.raw", values)
        return
    (folder / "set.000").mkdir()
    for name, values in arrays.items():
        np.save(folder / "set.000" / f"{name}.npy", values[:, 0] if name == "energy" else values)


def _formula(symbols):
    return "".join(f"{symbol}{symbols.count(symbol)}" for symbol in dict.fromkeys(symbols))


def _read_system(folder, species):
    symbols = _symbols(folder, species)
    sets = sorted(item for item in folder.glob("set.*") if item.is_dir())
    if any((item / "real_atom_types.npy").exists() for item in sets):
        raise InputError(f"Expected one sequence of atoms in {folder}, got mixed types: split the system first.")
    parts = [(item, ".npy", _load_npy) for item in sets] or [(folder, ".raw", _load_raw)]
    periodic = not (folder / "nopbc").exists()
    return [frame for part in parts for frame in _read_set(*part, symbols, periodic)]


def _symbols(folder, species):
    with Lines(folder / "type.raw", "a list of atom types") as lines:
        types = [lines.integer(word, "a list of atom types") for line in lines for word in line.split()]
    if species is None:
        if not (folder / "type_map.raw").exists():
            raise InputError(f"Expected the symbols of the types, got {folder} without type_map.raw: give species=.")
        with Lines(folder / "type_map.raw", "a list of chemical symbols") as lines:
            species = []
            for line in lines:
                lines.whole("a list of chemical symbols")
                species += line.split()
    if not types or min(types) < 0 or max(types) >= len(species):
        raise InputError(f"Expected types below {len(species)}, one per symbol, got others in {folder}/type.raw.")
    return [species[kind] for kind in types]


def _read_set(folder, suffix, load, symbols, periodic):
    n = len(symbols)
    widths = {"coord": 3 * n, "box": 9, "energy": 1, "force": 3 * n, "virial": 9, "spin": 3 * n, "force_mag": 3 * n}
    arrays = {}
    for name, width in widths.items():
        file = folder / f"{name}{suffix}"
        if file.exists():
            values = load(file)
            if values.size % width or (values.ndim > 1 and values.shape[-1] != width and values.size != width):
                raise InputError(f"Expected rows of {width} numbers in {file}, got shape {values.shape}.")
            arrays[name] = values.reshape(-1, width)
    if "coord" not in arrays or (periodic and "box" not in arrays):
        raise InputError(f"Expected coord{suffix} and box{suffix} in {folder}, got a folder without: it is incomplete.")
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise InputError(f"Expected the same number of frames in every file of {folder}, got {lengths}.")
    for frame in range(lengths["coord"]):
        yield _frame(symbols, periodic, {name: values[frame] for name, values in arrays.items()})


def _frame(symbols, periodic, row):
    cell = row["box"].reshape(3, 3) if "box" in row else None
    vectors = {name: row[name].reshape(-1, 3) for name in ("coord", "force", "spin", "force_mag") if name in row}
    try:
        return make_frame(
            symbols,
            vectors["coord"],
            cell,
            periodic,
            moments=vectors.get("spin"),
            fields=vectors.get("force_mag"),
            energy=float(row["energy"][0]) if "energy" in row else None,
            forces=vectors.get("force"),
            stress=stress_from_virial(row["virial"], cell) if "virial" in row and cell is not None else None,
        )
    except KeyError as error:
        raise InputError(f"Expected chemical symbols in type_map.raw, got {error}: give species=.") from None


def _load_raw(file):
    with Lines(file, "rows of numbers") as lines:
        rows = [lines.numbers(line.split(), None, "a row of numbers") for line in lines if line.strip()]
    if not rows or len({len(row) for row in rows}) != 1:
        raise InputError(f"Expected rows of equal length in {file}, got others: the file is damaged.")
    return np.array(rows)


def _load_npy(file):
    """Array of a file whose header announces exactly what follows; pickles are refused."""
    try:
        with open(file, "rb") as stream:
            version = np.lib.format.read_magic(stream)
            header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, fortran, dtype = header[version](stream)
            size = file.stat().st_size - stream.tell()
            if dtype.str not in ("<f8", "<f4") or fortran or np.prod(shape, dtype=object) * dtype.itemsize != size:
                raise ValueError(f"{shape} numbers of type {dtype.str} announced in {size} bytes")
            values = np.fromfile(stream, dtype).reshape(shape).astype(float)
    except Exception as error:  # damaged headers raise whatever comes first
        raise InputError(f"Expected an array of floats in {file}, got a damaged file: {error}.") from None
    if not np.isfinite(values).all():
        raise InputError(f"Expected finite numbers in {file}, got NaN or infinity.")
    return values
