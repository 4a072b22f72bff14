"""Tables of ABACUS logs, and the files beside them: ``STRU`` and ``MD_dump``."""

import numpy as np
from ase import units

from ase_spinml.errors import InputError
from ase_spinml.io.text import Lines


def vector_block(lines, count, width, what, ruled=True, named=True):
    """A table of ``count`` rows, each a name and ``width`` numbers (None: as many as there are).

    Parameters
    ----------
    lines : Lines
        Behind the title.
    ruled : bool
        The table stands between two lines of dashes.
    named : bool
        Rows begin with a name.

    Returns
    -------
    names : list of str
    table : (count, width) array
    """
    if count is None or count < 1:
        raise lines.error("the number of atoms before a table", what)
    if ruled:
        _rule(lines, what)
    names, rows = [], []
    for _ in range(count):
        words = lines.next(f"{count} rows of {what}").split()
        if named and words:
            names.append(words.pop(0))
        rows.append(lines.numbers(words, width, f"a row of {what}"))
    if len({len(row) for row in rows}) != 1 or not len(rows[0]):
        raise lines.error(f"rows of equal length in {what}", "others")
    if ruled:
        _rule(lines, what)
    return names, np.array(rows)


def magnetic_block(lines, count, what):
    """A table of moments or magnetic forces: names, and (count, 3), or (count,) of a collinear run."""
    names, table = vector_block(lines, count, None, what)
    if table.shape[1] not in (1, 3):
        raise lines.error(f"one or three columns of {what}", str(table.shape[1]))
    return names, table if table.shape[1] == 3 else table[:, 0]


def _rule(lines, what):
    line = lines.next(f"a line of dashes around {what}").strip()
    if len(line) < 10 or set(line) != {"-"}:
        raise lines.error(f"a line of dashes around {what}", line)


def find_stru(log):
    """The file STRU beside a log or beside its folder, or None."""
    for folder in (log.parent, log.parent.parent):
        if (folder / "STRU").is_file():
            return folder / "STRU"
    return None


def cell_of_stru(path):
    """Cell (3, 3) in Angstrom of a file STRU."""
    constant, vectors = None, None
    with Lines(path, "a file STRU of ABACUS") as lines:
        for line in lines:
            if line.strip() == "LATTICE_CONSTANT":
                constant = lines.numbers(lines.next("a constant").split()[:1], 1, "a lattice constant")[0] * units.Bohr
            elif line.strip() == "LATTICE_VECTORS":
                vectors = [lines.numbers(lines.next("a vector").split()[:3], 3, "a lattice vector") for _ in range(3)]
    if constant is None or vectors is None:
        raise InputError(f"Expected LATTICE_CONSTANT and LATTICE_VECTORS in {path}, got a file without.")
    return constant * np.array(vectors)


class MDDump:
    """The file ``MD_dump`` of a molecular-dynamics run: geometry and forces by step."""

    def __init__(self, path):
        if not path.exists():
            raise InputError(f"Expected the positions of molecular dynamics in {path}, got no such file: put it there.")
        self.path, self._steps = path, {}
        with Lines(path, "MD_dump of ABACUS") as lines:
            for line in lines:
                if line.startswith("MDSTEP:"):
                    number = lines.integer(line.split(":")[1].strip(), "the number of a step")
                    self._steps[number] = self._read(lines)
                elif line.strip():
                    raise lines.error("MDSTEP:", line)

    def _read(self, lines):
        words = lines.next("LATTICE_CONSTANT:").split()
        if words[:1] != ["LATTICE_CONSTANT:"] or words[2:] != ["Angstrom"]:
            raise lines.error("LATTICE_CONSTANT: in Angstrom", " ".join(words))
        constant = lines.numbers(words[1:2], 1, "a lattice constant")[0]
        self._keyword(lines, "LATTICE_VECTORS")
        cell = constant * np.array([lines.floats(3, "a lattice vector") for _ in range(3)])
        titles = self._keyword(lines, "INDEX")
        if "POSITION (Angstrom)" not in titles or "FORCE (eV/Angstrom)" not in titles:
            raise lines.error("positions in Angstrom and forces in eV/Angstrom", titles)
        symbols, rows = [], []
        for line in lines:
            words = line.split()
            if not words:
                break
            symbols.append(words[1] if len(words) > 1 else "")
            rows.append(lines.numbers(words[:1] + words[2:], None, "a row of an atom"))
        if len({len(row) for row in rows}) != 1 or len(rows[0]) < 7:
            raise lines.error("index, positions and forces in every row", "others")
        table = np.array(rows)
        if not np.array_equal(table[:, 0], np.arange(len(table))):
            raise lines.error("atoms numbered from 0", "others")
        return cell, symbols, table[:, 1:4], table[:, 4:7]

    @staticmethod
    def _keyword(lines, name):
        line = lines.next(name)
        if not line.startswith(name):
            raise lines.error(name, line)
        return line

    def frame(self, number, symbols):
        """Cell, positions and forces of step ``number``."""
        if number not in self._steps:
            raise InputError(f"Expected step {number} in {self.path}, got none: write MD_dump at every step.")
        cell, names, positions, forces = self._steps[number]
        if names != symbols:
            raise InputError(f"Expected the atoms of the log in {self.path}, got others: it belongs to another run.")
        return cell, positions, forces
