"""``exchange.out`` of TB2J: E = -sum over both orders of a pair of e_i.[J_iso + J_ani] e_j + D.(e_i x e_j), in meV.

A tensor of this package is therefore twice TB2J's. Files made from collinear calculations know the isotropic part only;
the other blocks that some versions print for them are not meant and left out. A file from one noncollinear calculation
lacks the components along its spins: TB2J says so in its head, and merged files have them all.
"""

import re
import warnings

import numpy as np
from ase.data import chemical_symbols

from ase_spinml.errors import InputError
from ase_spinml.io.canonical import COLLINEAR, make_frame
from ase_spinml.io.exchange.table import check_table, parts, tensors
from ase_spinml.io.text import Lines, whole_file
from ase_spinml.moments import MOMENTS

_WHAT = "exchange.out of TB2J"
_MEV = 1e-3
_PAIR = re.compile(r"^\s*(\S+)\s+(\S+)\s+\(\s*(-?\d+),\s*(-?\d+),\s*(-?\d+)\)\s+(\S+)\s+\(([^()]*)\)\s+(\S+)\s*$")


def read_tb2j(path, anisotropic=None):
    """Crystal and exchange table of an ``exchange.out`` (or ``.gz``).

    Parameters
    ----------
    path : str or Path
    anisotropic : bool, optional
        Take the DMI and the anisotropic exchange too. Default: unless the file says that it is from a collinear
        calculation.

    Returns
    -------
    atoms : ase.Atoms
        With the moments that TB2J lists, mu_B; those of collinear calculations in ``collinear_magmoms``.
    table : ExchangeTable
        Tensors in eV, twice TB2J's.

    Raises
    ------
    InputError
        Not such a file; damaged: numbers that the file gives twice differ, vectors do not fit the cell, pairs are
        missing.

    Warns
    -----
    UserWarning
        Components along the spins are missing, as the file is from one noncollinear calculation.
    """
    with Lines(path, _WHAT) as lines:
        head = _head(lines)
        if anisotropic is None:
            anisotropic = "Input from collinear" not in head
        if anisotropic and "The DMI component parallel" in head and "Merged" not in head:
            warnings.warn(f"{path} lacks components of DMI and anisotropy along the spins.", stacklevel=2)
        cell = _cell(lines)
        names, positions, moments = _atoms(lines)
        rows = _pairs(lines, names, positions, cell, anisotropic)
    i, j, S, J = (np.array(part) for part in zip(*rows, strict=True))
    atoms = make_frame([re.sub(r"\d+$", "", name) for name in names], positions, cell, moments=moments)
    return atoms, check_table((i, j, S, 2 * _MEV * J), len(atoms), source=str(path))


def write_tb2j(path, atoms, table):
    """Write an ``exchange.out`` with J_iso, DMI and J_ani of every pair.

    Parameters
    ----------
    path : str or Path
    atoms : ase.Atoms
        The crystal; its moments are listed if it has any.
    table : ExchangeTable or (i, j, S, J)
        In the convention of :mod:`ase_spinml.io.exchange.table`.
    """
    table = check_table(table, len(atoms))
    names = [f"{symbol}{1 + list(atoms.symbols[:k]).count(symbol)}" for k, symbol in enumerate(atoms.symbols)]
    with whole_file(path) as file:
        file.write("\n".join([*_head_lines(atoms, names), *_pair_lines(atoms, names, table)]) + "\n")


def _title(lines, title):
    """Lines up to the one that begins with ``title`` (or one of several), which is the last returned."""
    found = []
    for line in lines:
        found.append(line)
        if line.startswith(title):
            return found
        if len(found) > 10_000:
            break
    raise InputError(f"Expected {_WHAT} with a section {title!r}, got {lines.path} without.")


def _head(lines):
    return "\n".join(_title(lines, "Cell (Angstrom)"))


def _cell(lines):
    cell = np.array([lines.floats(3, "a lattice vector") for _ in range(3)])
    if not abs(np.linalg.det(cell)) > 0:
        raise lines.error("three independent lattice vectors", str(cell.tolist()))
    return cell


def _atoms(lines):
    titles = _title(lines, ("Atom_number", "Atom number"))[-1]
    collinear = "w_magmom" in titles
    names, rows = [], []
    for line in lines:
        words = line.split()
        if words and words[0] == "Total":
            break
        if not words or re.sub(r"\d+$", "", words[0]) not in chemical_symbols[1:]:
            raise lines.error("an atom such as Fe1, or Total", line)
        names.append(words[0])
        rows.append(lines.numbers(words[1:], 5 if collinear else 7, "position, charge and moment of an atom"))
    if not rows or len(set(names)) != len(names):
        raise InputError(f"Expected atoms with different names in {lines.path}, got others or none.")
    table = np.array(rows)
    return names, table[:, :3], table[:, 4] if collinear else table[:, 4:]


def _pairs(lines, names, positions, cell, anisotropic):
    _title(lines, "Exchange:")
    number = {name: k for k, name in enumerate(names)}
    rows, seen, more = [], None, True
    for line in lines:
        match = _PAIR.match(line)
        if not match:
            if line.strip() and not set(line.strip()) <= {"-"} and line.split()[0] != "i":
                raise lines.error("a pair of atoms", line)
            continue
        if match[1] not in number or match[2] not in number:
            raise lines.error("atoms of the list above", line)
        i, j, S = number[match[1]], number[match[2]], np.array([int(match[k]) for k in (3, 4, 5)])
        value, distance = lines.numbers([match[6], match[8]], 2, "J and distance of a pair")
        vector = lines.numbers(match[7].split(","), 3, "the vector of a pair")
        expected = positions[j] + S @ cell - positions[i]
        slack = 2e-3 * (1 + np.abs(S).sum())  # the cell may be rounded to three decimals
        if np.abs(vector - expected).max() > slack or abs(np.linalg.norm(vector) - distance) > 4e-3:
            raise lines.error("a vector and distance that fit cell and positions", line)
        entries, tensor, more = _block(lines, value)
        if seen not in (None, entries):
            raise lines.error("the same entries for every pair", ", ".join(sorted(entries)))
        seen = entries
        rows.append((i, j, S, tensor if anisotropic else value * np.eye(3)))
    if more or lines.cut:
        raise InputError(f"Expected pairs up to the end of {lines.path}, got none behind a line: the file is cut off.")
    return rows


def _block(lines, value):
    """What follows a pair: names of its entries, the tensor in meV, and whether another pair is announced."""
    entries, dmi, symmetric, more = set(), np.zeros(3), np.zeros((3, 3)), False
    for line in lines:
        if line.startswith("-----"):
            more = True
            break
        name = re.sub(r"^\[\w+!\]\s*", "", line)  # marked as experimental or to be tested
        if name.startswith("J_iso:"):
            entries.add("J_iso")
            if lines.numbers(name.split()[1:], 1, "J_iso")[0] != value:
                raise lines.error(f"J_iso of {value}, as in the line of the pair", line)
        elif name.startswith("DMI:"):
            entries.add("DMI")
            dmi = lines.numbers(re.sub(r"DMI:|[(),]", " ", name).split(), 3, "a DMI vector")
        elif name.startswith("J_ani:"):
            entries.add("J_ani")
            rows = [re.sub(r"[\[\]]", " ", lines.next("rows of J_ani")).split() for _ in range(3)]
            symmetric = np.array([lines.numbers(row, 3, "a row of J_ani") for row in rows])
        elif _PAIR.match(line):
            lines.back(line)
            break
    if "J_iso" not in entries:
        raise lines.error("J_iso behind every pair", "none")
    return entries, tensors([value], [dmi], [symmetric])[0], more


def _head_lines(atoms, names):
    yield from ("=" * 90, "Information: ", "Exchange parameters written by ase_spinml")
    yield from ("Input from non-collinear tensors, all components meant.", "", "=" * 90, "Cell (Angstrom):")
    yield from (" ".join(f"{value:.12f}" for value in vector) for vector in atoms.cell.array)
    yield from ("", "=" * 90, "Atoms:  ", "(Note: charges are not known and listed as zero.)")
    scalars = atoms.arrays.get(COLLINEAR) if MOMENTS not in atoms.arrays else None
    moments = atoms.arrays.get(MOMENTS, np.zeros((len(atoms), 3)))
    if moments.ndim == 1:
        scalars = moments
    if scalars is not None:
        moments = scalars[:, None]
    yield "Atom number  x  y  z  w_charge  " + ("w_magmom" if scalars is not None else "M(x)  M(y)  M(z)")
    for name, position, moment in zip(names, atoms.positions, moments, strict=True):
        yield f"{name}  " + "  ".join(f"{value:.12f}" for value in (*position, 0.0, *moment))
    yield "Total  " + "  ".join(f"{value:.12f}" for value in (0.0, *moments.sum(axis=0)))
    yield from ("", "=" * 90, "Exchange: ")
    yield "    i      j          R        J_iso(meV)          vector          distance(A)"


def _pair_lines(atoms, names, table):
    i, j, S, J = table
    isotropic, dmi, symmetric = (part / (2 * _MEV) for part in parts(J))
    vectors = atoms.positions[j] + S @ atoms.cell.array - atoms.positions[i]
    for k in np.argsort(np.linalg.norm(vectors, axis=1).round(6), kind="stable"):
        yield "-" * 88
        shift = ", ".join(f"{value:3d}" for value in S[k])
        vector = ", ".join(f"{value:.9f}" for value in vectors[k])
        length = np.linalg.norm(vectors[k])
        yield f"   {names[i[k]]}   {names[j[k]]}   ({shift}) {isotropic[k]:.12f}   ({vector})  {length:.9f}"
        yield f"J_iso: {isotropic[k]:.12f} "
        yield "[Testing!] DMI: (" + " ".join(f"{value:.12f}" for value in dmi[k]) + ")"
        yield "[Testing!]J_ani:"
        rows = [" ".join(f"{value:.12f}" for value in row) for row in symmetric[k]]
        yield from (f"[[{rows[0]}]", f" [{rows[1]}]", f" [{rows[2]}]]")
