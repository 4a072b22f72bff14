"""vasprun.xml, streamed: structure, energies, forces and stress of every ionic step. It has no moments of atoms.

The file goes through an event parser in pieces, so memory does not grow with densities of states and projections.
Doubly printed things are compared: basis and reciprocal basis and volume, the three energies with each other and with
the last electronic step.
"""

import zlib
from pathlib import Path
from xml.parsers import expat

import numpy as np
from ase.data import chemical_symbols

from ase_spinml.io.vasp.lines import ADVICE, Damaged, number, open_bytes, unreadable
from ase_spinml.io.vasp.steps import Run, Step, ase_stress, energies_agree, lattice_agrees

_PIECE = 1 << 16
_LONGEST = 1 << 22
_SKIPPED = {"dos", "eigenvalues", "projected", "kpoints", "primitive_cell", "dynmat", "dielectricfunction"}
_PARAMETERS = {"ISPIN", "LNONCOLLINEAR", "LSORBIT", "SAXIS", "NELM", "ISMEAR", "I_CONSTRAINED_M"}
_ODD_SYMBOLS = {"X": "Xe", "r": "Zr"}  # VASP cuts these two short


def read_vasprun(path):
    """Ionic steps of a vasprun.xml: a generator of :class:`~ase_spinml.io.vasp.steps.Step`, in bounded memory.

    ``LAMBDA`` is taken from the user's tags only: VASP lists an unrelated one of 1.0 among the parameters.

    Raises
    ------
    Damaged
        The first error of form or contradiction; the steps given before are complete.
    """
    path = Path(path)
    reader = _Vasprun(path.name)
    with open_bytes(path) as file:
        while not reader.finished:
            try:
                piece = file.read(_PIECE)
            except EOFError:
                raise reader.damage("the whole compressed file") from None
            except (OSError, zlib.error) as error:
                raise unreadable(path, error) from None
            error = reader.feed(piece)
            yield from reader.take()
            if error is not None:
                raise error
    if reader.count == 0:
        raise reader.damage("at least one ionic step")


class _Vasprun:
    def __init__(self, name):
        self.name, self.run = name, Run(file=name)
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.buffer_text = True
        self.path, self.text, self.skip, self.length = [], [], 0, 0
        self.parameters, self.symbols, self.atoms = {}, [], None
        self.ready, self.count, self.finished = [], 0, False
        self._fresh()

    def _fresh(self):
        self.arrays, self.energies, self.last_scf, self.scf = {}, {}, {}, 0

    def feed(self, piece):
        """Parse one piece; returns an exception in place of raising it, so that complete steps can be taken first."""
        try:
            self.parser.Parse(piece, not piece)
        except Damaged as error:
            return error
        except expat.ExpatError as error:
            return self.damage("well-formed XML", expat.ErrorString(error.code))
        except (LookupError, ValueError) as error:  # an unknown encoding, a number out of range
            return self.damage("text and numbers that make sense", error)
        self.finished = not piece
        return None

    def take(self):
        ready, self.ready = self.ready, []
        return ready

    def damage(self, expected, got=None):
        line = self.parser.CurrentLineNumber
        got = "the end of the file" if got is None else str(got)[:100]
        return Damaged(f"Expected {expected} in {self.name}, line {line}, got {got}: {ADVICE}.")

    # --- events ---

    def _doctype(self, *_):
        raise self.damage("no document type declaration", "one")

    def _start(self, tag, attributes):
        if self.skip or tag in _SKIPPED:
            self.skip += 1
            return
        if not self.path and tag != "modeling":
            raise self.damage("<modeling>", f"<{tag}>")
        if len(self.path) > 50:
            raise self.damage("at most 50 nested elements", "more")
        self.path.append((tag, attributes.get("name")))
        self.text, self.length = [], 0
        if tag == "calculation":
            self._check_header()
            self._fresh()
        elif tag == "scstep":
            self.last_scf = {}

    def _text(self, data):
        if not self.skip:
            self.text.append(data)
            self.length += len(data)
            if self.length > _LONGEST:
                raise self.damage("short texts between marks", f"{self.length} characters")

    def _end(self, tag):
        if self.skip:
            self.skip -= 1
            return
        text, self.text = "".join(self.text), []
        name = self.path[-1][1]
        tags = [t for t, _ in self.path]
        self.path.pop()
        if tag in ("i", "v"):
            self._value(tag, name, text, tags)
        elif tag == "c" and tags[-4:] == ["array", "set", "rc", "c"]:
            self._cell(text)
        elif tag == "rc":
            self.row = 0
        elif tag == "atoms" and tags[-2:] == ["atominfo", "atoms"]:
            self.atoms = self._integer(text, "number of atoms")
        elif tag == "scstep":
            self.scf += 1
        elif tag == "calculation":
            self._finish()

    row = 0

    def _cell(self, text):
        """First column of the table of atoms: the element."""
        if self.path[-3][1] == "atoms" and self.row == 0:
            symbol = _ODD_SYMBOLS.get(text.strip(), text.strip())
            if symbol not in chemical_symbols:
                raise self.damage("the symbol of an element", repr(text))
            self.symbols.append(symbol)
        self.row += 1

    def _value(self, tag, name, text, tags):
        above = tags[1] if len(tags) > 2 else ""
        if above == "generator" and name == "version":
            self.run.version = text.strip()
        elif above == "incar" and name:
            self.run.settings[name.upper()] = text.strip()
        elif above == "parameters":
            if name in _PARAMETERS:
                self.parameters.setdefault(name, text.split())
        elif above != "calculation":
            return
        elif tag == "v" and tags[-2] == "varray":
            self.arrays.setdefault(self._array_name(tags), []).append(self._numbers(text))
        elif tag == "i" and tags[2:] == ["structure", "crystal", "i"] and name == "volume":
            self.arrays["volume"] = self._numbers(text, 1)[0]
        elif tag == "i" and tags[2:] == ["energy", "i"]:
            self.energies[name] = self._numbers(text, 1)[0]
        elif tag == "i" and tags[2:] == ["scstep", "energy", "i"]:
            self.last_scf[name] = self._numbers(text, 1)[0]

    def _array_name(self, tags):
        inside = "structure/" if "structure" in tags else ""
        return inside + str(self.path[-1][1])

    def _numbers(self, text, count=3):
        try:
            found = [number(word) for word in text.split()]
        except ValueError:
            raise self.damage("numbers", repr(text)) from None
        if len(found) != count or not np.isfinite(found).all() or "_" in text:
            raise self.damage(f"{count} finite numbers", repr(text))
        return found

    def _integer(self, text, what):
        if not text.strip().isdecimal():
            raise self.damage(what, repr(text))
        return int(text)

    # --- what holds for the whole run ---

    def _check_header(self):
        if self.run.spin is not None:
            return
        if self.atoms is None or len(self.symbols) != self.atoms:
            raise self.damage(f"elements of {self.atoms} atoms", len(self.symbols))
        missing = {"ISPIN", "LNONCOLLINEAR", "LSORBIT"} - set(self.parameters)
        if missing:
            raise self.damage(f"{', '.join(sorted(missing))} among the parameters", "none")
        run, found = self.run, {name: words[0] for name, words in self.parameters.items() if words}
        if found.get("ISPIN") not in ("1", "2") or {found.get("LNONCOLLINEAR"), found.get("LSORBIT")} - {"T", "F"}:
            raise self.damage("ISPIN of 1 or 2, LNONCOLLINEAR and LSORBIT of T or F", found)
        noncollinear = found["LNONCOLLINEAR"] == "T" or found["LSORBIT"] == "T"
        run.symbols = self.symbols
        run.spin = "noncollinear" if noncollinear else ("none", "collinear")[int(found["ISPIN"]) - 1]
        run.spin_orbit = found["LSORBIT"] == "T"
        run.max_scf = self._integer(found["NELM"], "NELM") if "NELM" in found else None
        if "ISMEAR" in found:
            run.smearing = int(self._numbers(found["ISMEAR"], 1)[0])
        if "I_CONSTRAINED_M" in found:
            run.settings.setdefault("I_CONSTRAINED_M", found["I_CONSTRAINED_M"])
        if noncollinear:
            run.set_saxis(self._numbers(" ".join(self.parameters.get("SAXIS", ["0", "0", "1"]))))

    # --- one ionic step ---

    def _finish(self):
        self.count += 1
        n = len(self.symbols)
        shapes = {"structure/basis": 3, "structure/rec_basis": 3, "structure/positions": n, "forces": n}
        arrays = {}
        for name, rows in shapes.items():
            arrays[name] = np.array(self.arrays.get(name, []))
            if arrays[name].shape != (rows, 3):
                raise self.damage(f"{rows} rows of {name} in ionic step {self.count}", arrays[name].shape[0])
        basis = arrays["structure/basis"]
        if not lattice_agrees(basis, arrays["structure/rec_basis"], 5e-9):
            raise self.damage(f"a basis inverse to the reciprocal one in ionic step {self.count}", basis.tolist())
        volume = self.arrays.get("volume")
        if volume is not None and abs(abs(np.linalg.det(basis)) - volume) > 1e-6 * max(volume, 1):
            raise self.damage(f"a basis of volume {volume}", abs(np.linalg.det(basis)))
        stress = np.array(self.arrays["stress"]) if "stress" in self.arrays else None
        if stress is not None and stress.shape != (3, 3):
            raise self.damage("three rows of stress", stress.shape[0])
        free, zero = self._energies()
        self.ready.append(
            Step(
                self.count,
                self.run,
                cell=basis,
                positions=arrays["structure/positions"] @ basis,
                free_energy=free,
                energy=zero,
                forces=arrays["forces"],
                stress=None if stress is None else ase_stress(stress),
                converged=None if self.run.max_scf is None else self.scf < self.run.max_scf,
            )
        )

    def _energies(self):
        """F and E0. Old versions print F, E0, F - E in the final block where newer ones print F, E, E0."""
        names = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
        if any(name not in self.energies for name in names):
            raise self.damage(f"{', '.join(names)} in ionic step {self.count}", ", ".join(map(str, self.energies)))
        free, second, third = (self.energies[name] for name in names)
        if energies_agree(free, second, third, self.run.smearing):
            zero = third
        elif energies_agree(free, free - third, second, self.run.smearing):
            zero = second
        else:
            raise self.damage("three energies that belong together", f"{free}, {second}, {third}")
        if all(name in self.last_scf for name in names):
            sc_free, sc_zero = self.last_scf["e_fr_energy"], self.last_scf["e_0_energy"]
            if abs(zero - free - sc_zero + sc_free) > 3e-8:
                raise self.damage(f"E0 - F as in the last electronic step, {sc_zero - sc_free:.8f} eV", zero - free)
        return free, zero
