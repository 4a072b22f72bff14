"""Unit-cell (``.ucf``) and material (``.mat``) files of Vampire: E = -sum over pairs of e_i . J e_j.

Constants are in joules per link, and every pair is listed from both its ends. A tensor of this package equals Vampire's
but for the unit. Vampire's cells are orthogonal. Moments and elements are in the material file.
"""

import re
from pathlib import Path

import numpy as np
from ase import units
from ase.data import chemical_symbols

from ase_spinml.errors import InputError
from ase_spinml.io.canonical import make_frame
from ase_spinml.io.exchange.table import check_table, directions, magnetic_sites
from ase_spinml.io.text import Lines, whole_file

JOULE = units.J
"""One joule in eV."""

_MATERIAL = re.compile(r"material(?:\[(\d+)\])?:([\w-]+)(?:\[(\d+)\])?\s*(?:=\s*([^!]*?))?\s*(?:!\s*(\S+))?")
_WHAT = "a unit-cell file of Vampire"
_KINDS = {"0": 1, "isotropic": 1, "1": 3, "vectorial": 3, "2": 9, "tensorial": 9}
_NORMALISED = {"normalised-isotropic": 1, "normalised-vectorial": 3, "normalised-tensorial": 9}


def read_vampire(path, materials=None):
    """Crystal and exchange table of a ``.ucf`` file.

    Parameters
    ----------
    path : str or Path
    materials : str or Path, optional
        The ``.mat`` file with elements, moments and their directions. Default: the one of the same name, if there is
        one; without, the species are ``X`` and there are no moments.

    Returns
    -------
    atoms : ase.Atoms
    table : ExchangeTable
        Tensors in eV.

    Raises
    ------
    InputError
        Not such a file, a damaged one, an oblique cell, a material that the ``.mat`` file lacks.
    """
    path = Path(path)
    if materials is None and path.with_suffix(".mat").exists():
        materials = path.with_suffix(".mat")
    materials = None if materials is None else read_vampire_materials(materials)
    with Lines(path, _WHAT) as lines:
        size = lines.numbers(_row(lines, "the size of the cell"), 3, "the size of the cell")
        shape = np.array([lines.numbers(_row(lines, "a lattice vector"), 3, "a lattice vector") for _ in range(3)])
        if np.abs(shape - np.diag(np.diag(shape))).max() > 1e-9 or not (np.diag(shape) * size > 0).all():
            raise lines.error("an orthogonal cell", str(shape.tolist()))
        scaled, kinds = _sites(lines)
        rows = _interactions(lines, len(scaled), kinds, materials)
    cell = shape * size[:, None]
    symbols, moments = _from_materials(kinds, materials, path)
    atoms = make_frame(symbols, scaled @ cell, cell, moments=moments)
    return atoms, check_table((*rows[:3], rows[3] * JOULE), len(atoms), source=str(path))


def write_vampire(path, atoms, table):
    """Write a ``.ucf`` file with full tensors, and a ``.mat`` file of the same name with elements and moments.

    Parameters
    ----------
    path : str or Path
    atoms : ase.Atoms
        The crystal, with an orthogonal cell along x, y, z and moments; atoms without a moment are left out.
    table : ExchangeTable or (i, j, S, J)
        In the convention of :mod:`ase_spinml.io.exchange.table`. Isotropic tables are written as such.

    Raises
    ------
    InputError
        An oblique cell, no moments, a table that is not one.
    """
    path = Path(path)
    if path.suffix == ".mat":
        raise InputError(f"Expected a name for the unit-cell file, got {path.name}: end it in .ucf.")
    cell = atoms.cell.array
    if np.abs(cell - np.diag(np.diag(cell))).max() > 1e-9 or not (np.diag(cell) > 0).all():
        raise InputError("Expected an orthogonal cell along x, y, z, as Vampire has no other, got an oblique one.")
    sites, table, moments = magnetic_sites(atoms, table)
    lengths, axes = np.linalg.norm(moments, axis=1), directions(moments)
    rounded = np.round(np.column_stack([lengths, axes]), 10)
    keys = [(symbol, *row) for symbol, row in zip(sites.symbols, rounded.tolist(), strict=True)]
    kinds = list(dict.fromkeys(keys))
    isotropic = np.abs(table.J - table.J[:, :1, :1] * np.eye(3)).max() < 1e-15
    values = table.J[:, 0, :1] if isotropic else table.J.reshape(-1, 9)
    with whole_file(path) as file:
        file.write("# Unit cell size:\n" + " ".join(f"{value:.12f}" for value in np.diag(cell)) + "\n")
        file.write("# Unit cell vectors:\n1 0 0\n0 1 0\n0 0 1\n")
        file.write(f"# Atoms num materials, id cx cy cz mat lc hc\n{len(sites)} {len(kinds)}\n")
        for number, (key, position) in enumerate(zip(keys, sites.get_scaled_positions(wrap=False), strict=True)):
            file.write(f"{number} " + " ".join(f"{value:.12f}" for value in position) + f" {kinds.index(key)} 0 0\n")
        file.write("# Interactions n exctype, id i j dx dy dz Jij\n")
        file.write(f"{len(table.i)} {'isotropic' if isotropic else 'tensorial'}\n")
        for number, (i, j, S, J) in enumerate(zip(table.i, table.j, table.S, values, strict=True)):
            tensor = " ".join(f"{value / JOULE:.15e}" for value in J)
            file.write(f"{number} {i} {j} {S[0]} {S[1]} {S[2]} {tensor}\n")
    with whole_file(path.with_suffix(".mat")) as file:
        file.write("\n".join(_material_lines(kinds)) + "\n")


def read_vampire_materials(path):
    """Materials of a ``.mat`` file: list of dict with the keys name, element, moment (mu_B), direction, exchange.

    ``exchange`` is a dict {number of the other material: eV per link}; keys that the file lacks are absent.
    """
    found, count = {}, None
    with Lines(path, "a material file of Vampire") as lines:
        for line in lines:
            text = line.split("#")[0].strip()
            if not text:
                continue
            lines.whole("material[1]:key=value")
            match = _MATERIAL.fullmatch(text)
            if match is None:
                raise lines.error("material[1]:key=value", line)
            number, key, other, value, unit = match.groups()
            if key == "num-materials":
                count = lines.integer(value or "", "a number of materials")
            elif number is not None:
                _set(found.setdefault(int(number), {}), key, other, value or "", unit, lines)
    if count is None or not set(found) <= set(range(1, count + 1)):
        raise InputError(f"Expected material:num-materials and as many materials in {path}, got others.")
    return [found.get(number, {}) for number in range(1, count + 1)]


def _set(material, key, other, value, unit, lines):
    if key == "material-name":
        material["name"] = value.strip('"')
    elif key == "material-element":
        material["element"] = value.strip('"').strip()
    elif key == "atomic-spin-moment":
        scale = {None: 1.0, "muB": 1.0, "mu_B": 1.0, "J/T": 2 * units._me / (units._e * units._hbar)}.get(unit)
        if scale is None:
            raise lines.error("a moment in !muB or !J/T", str(unit))
        material["moment"] = scale * lines.numbers([value], 1, "a moment")[0]
    elif key == "initial-spin-direction" and value != "random":
        material["direction"] = lines.numbers(value.split(","), 3, "a direction")
    elif key.startswith("exchange-matrix"):
        exchange = lines.numbers([value.split(",")[0]], 1, "an exchange constant")[0]
        material.setdefault("exchange", {})[int(other or 1)] = exchange * JOULE


def _row(lines, expected):
    """Words of the next line that is no comment."""
    while True:
        words = lines.next(expected).split("#")[0].split()
        if words:
            return words


def _sites(lines):
    count = lines.integer(_row(lines, "a number of atoms")[0], "a number of atoms")
    scaled, kinds = [], []
    for number in range(count):
        values = lines.numbers(_row(lines, f"{count} atoms"), None, "an atom")
        if len(values) not in (4, 5, 6, 7) or values[0] != number:
            raise lines.error(f"id cx cy cz mat lc hc of atom {number}", str(values.tolist()))
        scaled.append(values[1:4])
        kinds.append(int(values[4]) if len(values) > 4 else 0)
    if not scaled:
        raise lines.error("a number of atoms above zero", str(count))
    return np.array(scaled), kinds


def _interactions(lines, n_atoms, kinds, materials):
    words = _row(lines, "a number of interactions")
    count, kind = lines.integer(words[0], "a number of interactions"), words[1] if len(words) > 1 else "isotropic"
    width = {**_KINDS, **_NORMALISED}.get(kind)
    if width is None or count < 1:
        raise lines.error("interactions of type isotropic, vectorial or tensorial", " ".join(words))
    rows = []
    for number in range(count):
        row = lines.numbers(_row(lines, f"{count} interactions"), 6 + width, f"{6 + width} numbers of an interaction")
        if row[0] != number or (row[:6] != np.round(row[:6])).any() or row[1:3].min() < 0 or row[1:3].max() >= n_atoms:
            raise lines.error(f"id i j dx dy dz of interaction {number}", str(row.tolist()))
        rows.append(row)
    for line in lines:
        if line.split("#")[0].strip():
            raise lines.error("the end of the file", line)
    table = np.array(rows)
    i, j, S = table[:, 1].astype(int), table[:, 2].astype(int), table[:, 3:6].astype(int)
    values = table[:, 6:]
    tensors = values.reshape(-1, 3, 3) if width == 9 else values[:, :, None] * np.eye(3)
    if kind in _NORMALISED:
        tensors = tensors * _exchange_matrix(i, j, kinds, materials, lines)[:, None, None]
    return i, j, S, tensors


def _exchange_matrix(i, j, kinds, materials, lines):
    """Exchange constants (P,), joules, by which normalised interactions are multiplied."""
    try:
        return np.array([materials[kinds[a]]["exchange"][kinds[b] + 1] / JOULE for a, b in zip(i, j, strict=True)])
    except (TypeError, KeyError, IndexError):
        raise InputError(
            f"Expected exchange-matrix constants for the normalised interactions of {lines.path}, got none: give "
            f"materials= with the .mat file."
        ) from None


def _from_materials(kinds, materials, path):
    if materials is None:
        return ["X"] * len(kinds), None
    if min(kinds) < 0 or max(kinds) >= len(materials):
        raise InputError(f"Expected materials 0 to {len(materials) - 1} in {path}, got others: take the right .mat.")
    chosen = [materials[kind] for kind in kinds]
    symbols = [m.get("element") if m.get("element") in chemical_symbols else "X" for m in chosen]
    if not all("moment" in m for m in chosen):
        return symbols, None
    vectors = directions(np.array([m.get("direction", (0.0, 0.0, 1.0)) for m in chosen]))
    return symbols, np.array([m["moment"] for m in chosen])[:, None] * vectors


def _material_lines(kinds):
    yield f"material:num-materials={len(kinds)}"
    for number, (symbol, length, *axis) in enumerate(kinds, 1):
        yield f"material[{number}]:material-name={symbol}{number}"
        yield f"material[{number}]:material-element={symbol}"
        yield f"material[{number}]:damping-constant=1.0"
        yield f"material[{number}]:atomic-spin-moment={length:.12f} !muB"
        yield f"material[{number}]:initial-spin-direction=" + ",".join(f"{value:.12f}" for value in axis)
