"""Configurations of magnetic moment tensor potentials (``.cfg`` of MLIP).

Columns of ``AtomData``: ``cartes_x`` ..., ``fx`` ..., ``magmom_x/y/z`` in mu_B and ``en_der_mx/my/mz``, which is
**+dE/dm** in eV/mu_B: the sign is turned on the way in and out. ``Energy`` is in eV; ``PlusStress`` is extensive, in
eV, minus ASE's stress times the volume, in the order xx yy zz yz xz xy. Types are numbers from zero.
"""

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.io.canonical import as_frames, contents, known_fields, make_frame, stress_from_virial
from ase_spinml.io.text import Lines, whole_file

_WHAT = "configurations of MLIP"
_POSITIONS = ["cartes_x", "cartes_y", "cartes_z"]
_FORCES = ["fx", "fy", "fz"]
_MOMENTS = ["magmom_x", "magmom_y", "magmom_z"]
_DERIVATIVES = ["en_der_mx", "en_der_my", "en_der_mz"]
_VOIGT = ["xx", "yy", "zz", "yz", "xz", "xy"]


def read_mtp(path, species=None, damaged="refuse"):
    """Frames of a ``.cfg`` file in canonical form.

    Parameters
    ----------
    path : str or Path
    species : sequence of str, optional
        Chemical symbol of type 0, 1, ...; files written here carry them as the feature ``species``.
    damaged : {"refuse", "keep"}
        What to do when the file is damaged: an error, or the frames before the damage.

    Returns
    -------
    list of ase.Atoms

    Raises
    ------
    InputError
        Not such a file, a configuration that is cut off or damaged, no species known.
    """
    if damaged not in ("refuse", "keep"):
        raise InputError(f"Expected damaged to be 'refuse' or 'keep', got {damaged!r}.")
    frames = []
    with Lines(path, _WHAT) as lines:
        try:
            for line in lines:
                if line.strip() == "BEGIN_CFG":
                    frames.append(_frame(_blocks(lines), species, lines))
                elif line.strip():
                    raise lines.error("BEGIN_CFG", line)
        except InputError:
            if damaged == "refuse":
                raise
    if not frames:
        raise InputError(f"Expected {_WHAT}, got no complete one in {path}.")
    return frames


def write_mtp(path, frames, species=None):
    """Write frames as a ``.cfg`` file.

    Parameters
    ----------
    path : str or Path
    frames : ase.Atoms or list of ase.Atoms
        In canonical form.
    species : sequence of str, optional
        Chemical symbol of type 0, 1, ...; default: as they appear.

    Raises
    ------
    InputError
        A species is not in the list; fields are unknown on some magnetic atoms.
    """
    frames = as_frames(frames)
    if species is None:
        species = list(dict.fromkeys(symbol for atoms in frames for symbol in atoms.symbols))
    with whole_file(path) as file:
        for atoms in frames:
            file.write("\n".join(_lines(atoms, list(species))) + "\n\n")


def _lines(atoms, species):
    found = contents(atoms)
    columns = [(_POSITIONS, atoms.positions), (_FORCES, found.forces), (_MOMENTS, found.moments)]
    fields = known_fields(found, "MLIP")
    columns.append((_DERIVATIVES, None if fields is None else -fields))
    columns = [(names, values) for names, values in columns if values is not None]
    strangers = set(atoms.symbols) - set(species)
    if strangers:
        raise InputError(f"Expected species among {species}, got {sorted(strangers)}: add them to species.")
    yield "BEGIN_CFG"
    yield from (" Size", f" {len(atoms)}")
    if atoms.cell.any():
        yield " Supercell"
        yield from (" " + _numbers(vector) for vector in atoms.cell.array[atoms.cell.any(axis=1)])
    yield " AtomData: id type " + " ".join(name for names, _ in columns for name in names)
    table = np.hstack([values for _, values in columns])
    for number, (symbol, row) in enumerate(zip(atoms.symbols, table, strict=True), 1):
        yield f" {number} {species.index(symbol)} {_numbers(row)}"
    if found.energy is not None:
        yield from (" Energy", f" {found.energy:.15g}")
    if found.stress is not None:
        yield " PlusStress: " + " ".join(_VOIGT)
        yield " " + _numbers(-found.stress * atoms.get_volume())
    yield " Feature species " + ",".join(species)
    yield "END_CFG"


def _numbers(values):
    return " ".join(f"{value:.15g}" for value in values)


def _blocks(lines):
    """What stands between BEGIN_CFG and END_CFG."""
    blocks = {"features": {}}
    while True:
        line = lines.next("END_CFG")
        words = line.split()
        key = words[0].rstrip(":").lower() if words else ""
        if key == "end_cfg" and len(words) == 1:
            return blocks
        if key in blocks:
            raise lines.error(f"one {words[0]} per configuration", line)
        if key == "size":
            blocks["size"] = lines.integer(lines.next("a number of atoms").strip(), "a number of atoms")
        elif key == "supercell":
            blocks["supercell"] = _supercell(lines)
        elif key == "atomdata":
            blocks["atomdata"] = _table(words[1:], blocks.get("size"), lines)
        elif key == "energy":
            blocks["energy"] = lines.floats(1, "an energy")[0]
        elif key == "plusstress":
            if words[1:] != _VOIGT:
                raise lines.error(f"PlusStress: {' '.join(_VOIGT)}", line)
            blocks["plusstress"] = lines.floats(6, "six components of PlusStress")
        elif key == "feature" and len(words) >= 2:
            blocks["features"][words[1]] = " ".join(words[2:])
        elif words:
            raise lines.error("Size, Supercell, AtomData, Energy, PlusStress, Feature or END_CFG", line)


def _supercell(lines):
    rows = []
    while True:
        line = lines.next("lattice vectors")
        if len(rows) == 3 or len(line.split()) != 3 or line.split()[0][0].isalpha():
            lines.back(line)
            break
        rows.append(lines.numbers(line.split(), 3, "a lattice vector"))
    if len(rows) not in (1, 2, 3):
        raise lines.error("one to three lattice vectors", line)
    return np.array(rows)


def _table(names, size, lines):
    if size is None or size < 1:
        raise lines.error("Size above zero before AtomData", " ".join(names))
    for group in (_POSITIONS, _FORCES, _MOMENTS, _DERIVATIVES):
        if 0 < sum(name in names for name in group) < 3:
            raise lines.error(f"the columns {' '.join(group)} together", " ".join(names))
    if len(set(names)) != len(names) or not {"id", "type", *_POSITIONS} <= set(names):
        raise lines.error("columns id, type and cartes_x, cartes_y, cartes_z", " ".join(names))
    rows = []
    for _ in range(size):
        rows.append(lines.floats(len(names), f"a row of {len(names)} numbers"))
    table = dict(zip(names, np.array(rows).T, strict=True))
    if not np.array_equal(table["id"], np.arange(1, size + 1)):
        raise lines.error("atoms numbered from 1", "others")
    return table


def _frame(blocks, species, lines):
    if "atomdata" not in blocks:
        raise lines.error("AtomData", "END_CFG")
    table, features = blocks["atomdata"], blocks["features"]
    written = features.pop("species", None)
    species = species if species is not None else written and written.split(",")
    if not species:
        raise InputError(f"Expected the symbols of the types in {lines.path}, got numbers: give species=['Fe', ...].")
    types = table["type"].astype(int)
    if (types != table["type"]).any() or types.min() < 0 or types.max() >= len(species):
        raise lines.error(f"types below {len(species)}, one per species", str(sorted(set(table["type"].tolist()))))
    vectors = [
        np.stack([table[name] for name in group], axis=1) if group[0] in table else None
        for group in (_POSITIONS, _FORCES, _MOMENTS, _DERIVATIVES)
    ]
    cell = blocks.get("supercell")
    full = None if cell is None else np.vstack([cell, np.zeros((3 - len(cell), 3))])
    stress = None
    if "plusstress" in blocks and full is not None:
        xx, yy, zz, yz, xz, xy = blocks["plusstress"]
        stress = stress_from_virial([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]], full)
    try:
        return make_frame(
            [species[kind] for kind in types],
            vectors[0],
            full,
            None if cell is None else np.arange(3) < len(cell),
            forces=vectors[1],
            moments=vectors[2],
            fields=None if vectors[3] is None else -vectors[3],
            energy=blocks.get("energy"),
            stress=stress,
            info=features,
        )
    except KeyError as error:
        raise InputError(f"Expected chemical symbols for the types, got {error}: give species=['Fe', ...].") from None
