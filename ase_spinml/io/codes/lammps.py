"""LAMMPS files of ``atom_style spin``: data files and text dumps, in metal units.

A data file has one row per atom: id, type, x, y, z, the unit vector of the spin, and its length in mu_B (non-magnetic
atoms: any unit vector and length zero). LAMMPS wants triangular cells, so a frame with another cell is turned, and its
moments, fields and forces with it.

Dumps name their columns. ``sp``, ``spx spy spz`` and ``fx fy fz`` are taken as they are; columns like ``c_spin[1]``
have the names that the input script gave them, which the file does not repeat. The first four are taken for ``sp spx
spy spz`` if the last three of these are unit vectors; the rest needs ``compute=``.

The magnetic force ``fm`` of LAMMPS is an angular velocity in rad/ps, -(1/hbar) dE/de: hbar fm = m H with m the length
of the moment. Learned potentials define it so, and the built-in exchange of LAMMPS 2025 keeps to it with the energy
that it prints. Pair styles are free in this, so ``fm`` becomes a field only on request, ``fm="gradient"``.
"""

import numpy as np
from ase import units
from ase.calculators.lammps import Prism
from ase.data import atomic_masses, chemical_symbols

from ase_spinml.errors import InputError
from ase_spinml.io.canonical import COLLINEAR, as_frames, contents, known_fields, make_frame
from ase_spinml.io.text import Lines, whole_file
from ase_spinml.moments import unit_rows

HBAR = units._hbar * units.J * 1e12
"""Reduced Planck constant in eV ps."""

_DATA = "a LAMMPS data file of atom_style spin"


def write_lammps_data(path, frame, species=None):
    """Write one frame as a LAMMPS data file of ``atom_style spin``.

    Parameters
    ----------
    path : str or Path
    frame : ase.Atoms
        With moments and a cell. Its labels are not written: the format has no room for them.
    species : sequence of str, optional
        Chemical symbol of type 1, 2, ...; default: as they appear.

    Raises
    ------
    InputError
        No moments, no cell with a volume, a species that is not in the list.
    """
    (frame,) = as_frames(frame)
    atoms, found, cell = _turned(frame)
    species = _species_of([atoms], species)
    lines = ["LAMMPS data file of atom_style spin, units metal", ""]
    lines += [f"{len(atoms)} atoms", f"{len(species)} atom types", ""]
    lines += [f"0 {cell[k, k]:.15g} {axis}lo {axis}hi" for k, axis in enumerate("xyz")]
    lines += [f"{cell[1, 0]:.15g} {cell[2, 0]:.15g} {cell[2, 1]:.15g} xy xz yz", "", "Masses", ""]
    lines += [f"{kind} {_mass(symbol):.15g} # {symbol}" for kind, symbol in enumerate(species, 1)]
    lines += ["", "Atoms # spin", ""]
    for number, (symbol, position, spin) in enumerate(
        zip(atoms.symbols, atoms.positions, _spin_columns(found.moments), strict=True), 1
    ):
        lines.append(f"{number} {species.index(symbol) + 1} " + " ".join(f"{v:.15g}" for v in (*position, *spin)))
    with whole_file(path) as file:
        file.write("\n".join(lines) + "\n")


def read_lammps_data(path, species=None, pbc=True):
    """The frame of a LAMMPS data file of ``atom_style spin``.

    Parameters
    ----------
    path : str or Path
    species : sequence of str, optional
        Chemical symbol of type 1, 2, ...; default: the comment behind each mass, or the element of that mass.
    pbc : bool or (3,) of bool
        Boundary conditions, which the format does not hold.

    Returns
    -------
    ase.Atoms

    Raises
    ------
    InputError
        Not such a file, rows of another atom style, a damaged or cut file, types of unknown species.
    """
    with Lines(path, _DATA) as lines:
        header, sections = _data_sections(lines)
    if not {"atoms", "types", "box"} <= set(header) or "Atoms" not in sections:
        raise InputError(f"Expected {_DATA} with atoms, atom types and a box, got {path} without.")
    if species is None:
        species = _species_of_masses(sections.get("Masses", []), header["types"], path)
    rows = sections["Atoms"]
    if len(rows) != header["atoms"]:
        raise InputError(f"Expected {header['atoms']} atoms in {path}, got {len(rows)}: the file is damaged.")
    if {len(row) for row in rows} not in ({9}, {12}):
        raise InputError(
            f"Expected rows of atom_style spin (id type x y z spx spy spz sp) in {path}, got {len(rows[0])} columns: "
            f"write the file from a run with atom_style spin."
        )
    table = _sorted(np.array(rows), path)
    if len(species) < header["types"]:
        raise InputError(f"Expected a species for each of {header['types']} types, got {list(species)}: add them.")
    cell, origin = header["box"]
    positions = table[:, 2:5] - origin
    if table.shape[1] == 12:
        positions = positions + table[:, 9:12] @ cell
    moments = _moments(table[:, 8], table[:, 5:8], path)
    return make_frame(_symbols(table[:, 1], species, path), positions, cell, pbc, moments=moments)


def _data_sections(lines):
    """Header of a data file and the rows of its sections as lists of numbers."""
    header, sections, section = {}, {}, None
    extents, tilt = {}, np.zeros(3)
    lines.next(_DATA)
    for line in lines:
        words, comment = line.split("#")[0].split(), line.partition("#")[2].strip()
        if not words:
            continue
        if words[0][0].isalpha():
            section = sections.setdefault(" ".join(words), [])
        elif section is not None:
            row = list(lines.numbers(words, None, "a row of numbers"))
            section.append([*row, comment] if sections.get("Masses") is section else row)
        elif words[-1] == "atoms" and len(words) == 2:
            header["atoms"] = lines.integer(words[0], "a number of atoms")
        elif words[-2:] == ["atom", "types"] and len(words) == 3:
            header["types"] = lines.integer(words[0], "a number of atom types")
        elif words[-1] in ("xhi", "yhi", "zhi") and len(words) == 4:
            extents[words[-1][0]] = lines.numbers(words[:2], 2, "extents of the box")
        elif words[3:] == ["xy", "xz", "yz"]:
            tilt = lines.numbers(words[:3], 3, "tilts of the box")
        elif words[-1] in ("avec", "bvec", "cvec", "origin"):
            raise lines.error("a box given by xlo xhi", line)
    if len(extents) == 3:
        low, high = np.array([extents[axis] for axis in "xyz"]).T
        header["box"] = _triangular(high - low, tilt), low
    return header, sections


def _triangular(lengths, tilt):
    xy, xz, yz = tilt
    return np.array([[lengths[0], 0, 0], [xy, lengths[1], 0], [xz, yz, lengths[2]]])


def _species_of_masses(rows, n_types, path):
    symbols = {}
    for kind, mass, comment in (row for row in rows if len(row) == 3):
        named = comment.split()[0] if comment else None
        closest = int(np.nanargmin(np.abs(atomic_masses - mass)))
        if named in chemical_symbols[1:]:
            symbols[int(kind)] = named
        elif closest > 0 and abs(atomic_masses[closest] - mass) < 0.05:
            symbols[int(kind)] = chemical_symbols[closest]
    if set(symbols) != set(range(1, n_types + 1)):
        raise InputError(
            f"Expected the species of {n_types} types in the section Masses of {path}, got {len(symbols)}: give "
            f"species=['Fe', ...]."
        )
    return [symbols[kind] for kind in sorted(symbols)]


def _symbols(types, species, path):
    if (types != np.round(types)).any() or types.min() < 1 or types.max() > len(species):
        raise InputError(
            f"Expected types from 1 to {len(species)} in {path}, got others: give species=['Fe', ...] for all types."
        )
    unknown = set(species) - set(chemical_symbols)
    if unknown:
        raise InputError(f"Expected chemical symbols as species, got {sorted(unknown)}: correct them.")
    return [species[int(kind) - 1] for kind in types]


def _sorted(table, path):
    """Rows by their id, which must be 1 to N."""
    order = np.argsort(table[:, 0])
    if not np.array_equal(table[order, 0], np.arange(1, len(table) + 1)):
        raise InputError(f"Expected atoms numbered 1 to {len(table)} in {path}, got other numbers.")
    return table[order]


def _moments(lengths, directions, path):
    """Moments (N, 3); directions have to be unit vectors and lengths not negative."""
    off = np.abs(np.linalg.norm(directions, axis=1) - 1)
    if (lengths < 0).any() or (off[lengths > 0] > 1e-3).any():
        raise InputError(
            f"Expected the length of each moment and a unit vector in {path}, got others: check the order of columns."
        )
    return lengths[:, None] * unit_rows(directions)


def _spin_columns(moments):
    """spx, spy, spz, sp of every atom; a zero moment points along z, as LAMMPS divides by the length of the vector."""
    lengths = np.linalg.norm(moments, axis=1, keepdims=True)
    return np.hstack([np.where(lengths > 0, unit_rows(moments), [0.0, 0.0, 1.0]), lengths])


def _turned(frame):
    """Copy of a frame in the triangular cell of LAMMPS, its contents turned likewise, and that cell."""
    if COLLINEAR in frame.arrays or frame.cell.rank < 3:
        raise InputError("Expected a frame with moment vectors and a cell with a volume, got one without.")
    found = contents(frame)
    if found.moments is None:
        raise InputError("Expected a frame with moments for atom_style spin, got one without: use set_moments.")
    cell = frame.cell.array
    if np.array_equal(cell, np.tril(cell)) and (np.diag(cell) > 0).all():
        return frame, found, cell
    prism = Prism(cell)
    rotation, cell = prism.rot_mat, prism.cell  # rows: v -> v @ rotation
    axial = np.sign(np.linalg.det(rotation)) * rotation
    atoms = frame.copy()
    atoms.set_constraint()
    atoms.set_cell(cell)
    atoms.positions = frame.positions @ rotation
    found.moments = found.moments @ axial
    found.fields = None if found.fields is None else found.fields @ axial
    found.forces = None if found.forces is None else found.forces @ rotation
    return atoms, found, cell


def _species_of(frames, species):
    present = list(dict.fromkeys(symbol for atoms in frames for symbol in atoms.symbols))
    species = present if species is None else list(species)
    if set(present) - set(species):
        raise InputError(f"Expected species among {species}, got {sorted(set(present) - set(species))}: add them.")
    return species


def _mass(symbol):
    return atomic_masses[chemical_symbols.index(symbol)]


def dump_frames(frames):
    """Frames for a dump: (atoms, contents, fields or None, triangular cell) of each."""
    for frame in as_frames(frames):
        atoms, found, cell = _turned(frame)
        yield atoms, found, known_fields(found, "a LAMMPS dump"), cell
