"""Input of UppASD: E = -sum over both orders of a pair of J e_i.e_j + D.(e_i x e_j) + e_i . A e_j, in mRy.

A tensor of this package is twice UppASD's. The parts are in three files: ``exchange`` (J), ``dm`` (D) and ``pd`` (the
symmetric tensor A: xx yy zz xy xz yz). ``inpsd.dat`` names them and holds the cell; sites and moments are in
``posfile`` and ``momfile``. UppASD knows no elements.
"""

from pathlib import Path

import numpy as np
from ase import units

from ase_spinml.errors import InputError
from ase_spinml.io.canonical import make_frame
from ase_spinml.io.exchange.table import ExchangeTable, check_table, directions, magnetic_sites, parts, tensors
from ase_spinml.io.exchange.uppasd_symmetry import operations
from ase_spinml.io.text import Lines, whole_file

MILLIRYDBERG = 1e-3 * units.Ry
"""One mRy in eV."""

_FILES = {"exchange": 1, "dm": 3, "pd": 6}
_CLOSE = 2e-3


def read_uppasd(path, lattice_constant=None, species=None, **settings):
    """Crystal and exchange table of an UppASD input.

    Parameters
    ----------
    path : str or Path
        ``inpsd.dat``, or the folder with it.
    lattice_constant : float, optional
        Length in Angstrom that the cell is given in; default: the keyword ``alat`` (metres).
    species : sequence of str, optional
        Chemical symbol of each site; default: ``X``.
    **settings
        Keywords of ``inpsd.dat`` to replace, such as ``exchange="jASD1", maptype=1``.

    Returns
    -------
    atoms : ase.Atoms
    table : ExchangeTable
        Tensors in eV, twice UppASD's.

    Raises
    ------
    InputError
        A missing keyword or file, couplings that lead to no site, a tensor file in another format, no lattice constant.
    """
    path = Path(path) / "inpsd.dat" if Path(path).is_dir() else Path(path)
    keys = _keywords(path)
    keys.update({name: [str(value)] for name, value in settings.items()})
    missing = {"cell", "posfile", "exchange"} - set(keys)
    if missing or any(float(keys.get(name, [0])[0]) for name in ("do_ralloy", "do_jtensor")):
        raise InputError(
            f"Expected cell, posfile and exchange in {path}, without do_ralloy and do_jtensor, got another input: only "
            f"ordered crystals with scalar exchange files are read."
        )
    if lattice_constant is None and "alat" not in keys:
        raise InputError(f"Expected alat in {path}, got none: give lattice_constant= in Angstrom.")
    scale = lattice_constant if lattice_constant is not None else float(keys["alat"][0]) * 1e10
    cell = np.array(keys["cell"])
    positions, kinds = _sites(path.parent / keys["posfile"][0])
    if keys.get("posfiletype", ["C"])[0].upper() == "D":
        positions = positions @ cell
    moments = _moments(path.parent / keys["momfile"][0], len(positions)) if "momfile" in keys else None
    sites = (cell, positions, kinds)
    table = _table(path, keys, sites)
    symbols = ["X"] * len(positions) if species is None else list(species)
    if len(symbols) != len(positions):
        raise InputError(f"Expected a species for each of {len(positions)} sites, got {len(symbols)}.")
    atoms = make_frame(symbols, scale * positions, scale * cell, moments=moments)
    return atoms, check_table(table, len(atoms), source=str(path))


def read_uppasd_couplings(path, width=1):
    """Rows of a file of couplings.

    Parameters
    ----------
    path : str or Path
    width : int
        Numbers per coupling: 1 for exchange, 3 for dm, 6 for pd. A distance may follow.

    Returns
    -------
    i, j : (P,) int
        Atom types (maptype 1) or sites (maptype 2), from 1.
    vectors : (P, 3) array
        As in the file.
    values : (P, width) array
        mRy, as in the file.
    """
    rows = []
    with Lines(path, "a file of couplings of UppASD") as lines:
        for line in lines:
            if line.strip():
                row = lines.numbers(line.split(), None, "a coupling")
                if len(row) not in (5 + width, 6 + width) or (row[:2] != np.round(row[:2])).any() or row[:2].min() < 1:
                    raise lines.error(f"i j x y z and {width} numbers", line)
                rows.append(row[: 5 + width])
    if not rows:
        raise InputError(f"Expected couplings in {path}, got none.")
    table = np.array(rows)
    return table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2:5], table[:, 5:]


def write_uppasd(path, atoms, table):
    """Write an UppASD input: inpsd.dat, posfile, momfile, jfile, and dmfile and pdfile where they are not zero.

    Every coupling is listed, by sites and cell (``maptype 2``, ``Sym 0``); the run's own settings have to be added.

    Parameters
    ----------
    path : str or Path
        Folder, made if it does not exist.
    atoms : ase.Atoms
        The crystal, with moments; atoms without a moment are left out.
    table : ExchangeTable or (i, j, S, J)
        In the convention of :mod:`ase_spinml.io.exchange.table`.
    """
    path = Path(path)
    sites, table, moments = magnetic_sites(atoms, table)
    path.mkdir(exist_ok=True)
    scale = np.linalg.norm(atoms.cell.array[0])
    if not scale > 0:
        raise InputError("Expected a crystal with a cell, got none: set atoms.cell.")
    isotropic, dmi, symmetric = (part / (2 * MILLIRYDBERG) for part in parts(table.J))
    blocks = {"exchange": isotropic[:, None], "dm": dmi, "pd": _voigt(symmetric)}
    blocks = {name: values for name, values in blocks.items() if name == "exchange" or np.abs(values).max() > 1e-12}
    names = {"exchange": "jfile", "dm": "dmfile", "pd": "pdfile"}
    for name, values in blocks.items():
        with whole_file(path / names[name]) as file:
            for i, j, S, value in zip(table.i, table.j, table.S, values, strict=True):
                file.write(f"{i + 1} {j + 1} {S[0]} {S[1]} {S[2]} " + " ".join(f"{v:.14g}" for v in value) + "\n")
    with whole_file(path / "posfile") as file:
        for k, position in enumerate(sites.positions / scale, 1):
            file.write(f"{k} {k} " + " ".join(f"{value:.14f}" for value in position) + "\n")
    with whole_file(path / "momfile") as file:
        for k, (moment, axis) in enumerate(zip(moments, directions(moments), strict=True), 1):
            file.write(f"{k} 1 " + " ".join(f"{value:.14f}" for value in (np.linalg.norm(moment), *axis)) + "\n")
    with whole_file(path / "inpsd.dat") as file:
        file.write("simid spinml\nncell 10 10 10\nBC P P P\n")
        for name, vector in zip(("cell", "", ""), atoms.cell.array / scale, strict=True):
            file.write(f"{name:6}" + " ".join(f"{value:.14f}" for value in vector) + "\n")
        file.write("Sym 0\nmaptype 2\nposfiletype C\nposfile ./posfile\nmomfile ./momfile\n")
        file.writelines(f"{name} ./{names[name]}\n" for name in blocks)
        file.write(f"alat {scale * 1e-10:.14e}\n")


def _keywords(path):
    """Words behind each keyword of inpsd.dat; the cell as three rows of numbers."""
    keys = {}
    with Lines(path, "inpsd.dat of UppASD") as lines:
        for line in lines:
            words = line.split()
            if not words or words[0][0] in "#!%*" or len(words) < 2:
                continue
            lines.whole("a keyword")
            name = words[0].lower()
            if name == "cell":
                rows = [lines.numbers(words[1:4], 3, "a lattice vector")]
                for _ in range(2):
                    rows.append(lines.numbers(lines.next("a lattice vector").split()[:3], 3, "a lattice vector"))
                keys["cell"] = rows
            elif name in ("alat", "do_ralloy", "do_jtensor"):
                keys[name] = lines.numbers(words[1:2], 1, f"a number behind {name}")
            else:
                keys[name] = words[1:]
    return keys


def _sites(path):
    positions, kinds = [], []
    with Lines(path, "a posfile of UppASD") as lines:
        for line in lines:
            if line.strip():
                row = lines.numbers(line.split(), 5, "site, type and position")
                if row[0] != len(positions) + 1:
                    raise lines.error(f"site {len(positions) + 1}", line)
                positions.append(row[2:])
                kinds.append(int(row[1]))
    if not positions:
        raise InputError(f"Expected sites in {path}, got none.")
    return np.array(positions), np.array(kinds)


def _moments(path, count):
    with Lines(path, "a momfile of UppASD") as lines:
        rows = [lines.numbers(line.split(), None, "a moment of momfile") for line in lines if line.strip()]
    if {len(row) for row in rows} - {6, 7} or [row[0] for row in rows] != list(range(1, count + 1)):
        raise InputError(f"Expected one moment for each of {count} sites in {path}, got others.")
    table = np.array([row[:6] for row in rows])  # a seventh column is the g-factor
    return table[:, 2:3] * directions(table[:, 3:])


def _table(path, keys, sites):
    """Tensors of all files together."""
    total = {}
    for name, width in _FILES.items():
        if name not in keys:
            continue
        couplings = read_uppasd_couplings(path.parent / keys[name][0], width)
        symmetry = keys.get("sym", ["0"])[0] if name != "dm" else "0"
        seen = set()
        for i, j, S, value in _expanded(couplings, sites, keys.get("maptype", ["1"])[0], keys, symmetry, name):
            key = (i, j, *S)
            if key in seen:
                raise InputError(f"Expected every coupling once in {keys[name][0]}, got one several times: check Sym.")
            seen.add(key)
            total[key] = total.get(key, 0.0) + 2 * MILLIRYDBERG * value
    rows = np.array(list(total))
    return ExchangeTable(rows[:, 0], rows[:, 1], rows[:, 2:], np.array(list(total.values())))


def _expanded(couplings, sites, maptype, keys, symmetry, name):
    """Every coupling as (i, j, S, tensor in mRy), symmetry applied."""
    kinds_i, kinds_j, vectors, values = couplings
    cell, positions, kinds = sites
    J = _tensors(name, values)
    if maptype == "2":
        if max(kinds_i.max(), kinds_j.max()) > len(positions) or (vectors != np.round(vectors)).any():
            raise InputError("Expected sites of posfile and whole cells in couplings of maptype 2, got others.")
        yield from zip(kinds_i - 1, kinds_j - 1, vectors.astype(int).tolist(), J, strict=True)
        return
    direct = keys.get("posfiletype", ["C"])[0].upper() == "D"
    for kind_i, kind_j, vector, tensor in zip(kinds_i, kinds_j, vectors @ cell if direct else vectors, J, strict=True):
        found = 0
        for rotation in operations(symmetry, vector):
            for i in np.flatnonzero(kinds == kind_i):
                for j in np.flatnonzero(kinds == kind_j):
                    shift = np.linalg.solve(cell.T, rotation @ vector + positions[i] - positions[j])
                    if np.abs(shift - np.round(shift)).max() < _CLOSE:
                        found += 1
                        yield i, j, np.round(shift).astype(int).tolist(), rotation @ tensor @ rotation.T
        if not found:
            raise InputError(f"Expected sites at the end of coupling {vector.tolist()}, got none: check maptype.")


def _tensors(name, values):
    if name == "exchange":
        return tensors(values[:, 0])
    return tensors(np.zeros(len(values)), values) if name == "dm" else _matrix(values)


def _voigt(symmetric):
    return np.stack([symmetric[:, a, b] for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))], axis=1)


def _matrix(values):
    xx, yy, zz, xy, xz, yz = values.T
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]).transpose(2, 0, 1)
