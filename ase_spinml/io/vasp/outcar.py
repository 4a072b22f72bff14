"""OUTCAR, streamed: structure, energies, forces, stress and the PAW-projected moments of every ionic step.

What VASP prints twice is compared: direct and reciprocal lattice vectors, the three energies, rows and columns of the
tables of moments, the two SAXIS matrices, TITEL and VRHFIN, the number of ions. Positions and forces are printed once.
"""

import re

import numpy as np

from ase_spinml.io.vasp.lines import NUMBER, VaspLines
from ase_spinml.io.vasp.outcar_header import Header
from ase_spinml.io.vasp.steps import Run, Step, ase_stress, energies_agree, lattice_agrees

_ITERATION = re.compile(r"-+ Iteration\s*(\d{1,9}|\*+)\(\s*(\d{1,9}|\*+)\)\s*-+\s*", re.ASCII)
_IONIC = re.compile(r"-+ Ionic step\s*(\d{1,9})\s*-+\s*", re.ASCII)
_TITLE = re.compile(r"\s?magnetization \(([xyz])\)\s*", re.ASCII)
_HEADING = re.compile(r"# of ions? +s( +[pdf]){0,3} +tot\s*", re.ASCII)
_TOTEN = re.compile(rf"\s*free  energy   TOTEN  =\s*({NUMBER}) eV\s*", re.ASCII)
_ZERO = re.compile(rf"\s*energy  without entropy=\s*({NUMBER})\s+energy\(sigma->0\) =\s*({NUMBER})\s*", re.ASCII)


def read_outcar(path):
    """Ionic steps of an OUTCAR: a generator of :class:`~ase_spinml.io.vasp.steps.Step`, in bounded memory.

    Steps of a machine-learned force field (no ``TOTEN`` of their own) are left out.

    Raises
    ------
    Damaged
        At the first contradiction, or at an end without VASP's timing; the steps given before are complete.
    """
    return _Outcar(path).steps()


class _Outcar:
    def __init__(self, path):
        self.lines = VaspLines(path)
        self.run = Run(file=self.lines.path.name)
        self.header = Header(self.lines, self.run)
        self.current = None  # ionic step under way
        self.tables, self.converged, self.scf = {}, None, 0
        self.cell = self.stress = None
        self.finished = self.predicted = False
        self.handlers = {
            "direct": self._lattice,
            "in": self._stress,
            "magnetization": self._magnetization,
            "POSITION": self._forces,
            "free": self._free_energy,
            "energy": self._zero_energy,
            "General": self._end,
        }

    def steps(self):
        done = None
        for line in self.lines:
            words = line.split(None, 1)
            if not words:
                continue
            first = words[0]
            if self.run.version is None and self.lines.number < 5 and first.startswith("vasp."):
                self.run.version = first[5:]
            if first[0] == "-" and len(first) > 20:
                ionic = _IONIC.fullmatch(line)
                started = None if ionic else self._rule(line)
                if (ionic or started is not None) and self.complete:
                    done, self.current = self.current, None
                    yield self._finish(done)
                if ionic:
                    self._announce(int(ionic[1]), line)
                elif started is not None:
                    self._begin(started, line)
            elif first in self.handlers:
                self.handlers[first](line)
            elif self.current is None and first in self.header.handlers:
                self.header.handlers[first](line)
        if self.complete:
            yield self._finish(self.current)
        elif self.finished and self.current is not None and not self.predicted:
            raise self.lines.damage(f"energies and forces of ionic step {self.current.number} before the final timing")
        if not self.finished:
            raise self.lines.damage("the timing that VASP writes at the end of a run")
        if done is None and self.current is None:
            raise self.lines.damage("at least one ionic step")

    # --- one ionic step ---

    @property
    def complete(self):
        step = self.current
        return step is not None and step.forces is not None and step.energy is not None

    def _rule(self, line):
        """Number of the ionic step that the line begins or continues, None for other rules; notes convergence."""
        if "aborting loop" in line:
            self.converged = "EDIFF is reached" in line
            self.tables = {}
        if "Iteration" not in line:
            return None
        match = _ITERATION.fullmatch(line)
        if match is None:
            raise self.lines.damage("'Iteration  n(  m)'", line)
        ionic, self.scf = (None if "*" in group else int(group) for group in match.groups())
        self.tables = {}
        same = ionic == self.current.number or (ionic is None and self.scf != 1) if self.current else False
        return None if same else ionic or 0

    def _announce(self, ionic, line):
        """Runs with a machine-learned force field count all steps in lines of their own: some have no electrons."""
        self._must_be_done(line)
        self.current, self.previous, self.predicted = None, ionic - 1, False

    def _must_be_done(self, line):
        if self.current is not None and not self.predicted:
            raise self.lines.damage(f"the energies and forces of ionic step {self.current.number}", line)

    def _begin(self, ionic, line):
        expected = self.previous + 1
        self._must_be_done(line)
        if ionic not in (0, expected):
            raise self.lines.damage(f"ionic step {expected}", line)
        if self.run.spin is None:
            self.header.check()
        self.previous = expected
        self.current, self.converged, self.stress = Step(expected, self.run), None, None
        self.predicted = False

    previous = 0

    def _finish(self, step):
        """The complete step with its moments; tables from before the forces win over those after them."""
        if step.moments is None:
            step.moments = self._moments()
        return step

    def _forces(self, line):
        if "TOTAL-FORCE (eV/Angst)" not in line or "ML" in line:
            return
        if self.current is None or self.cell is None:
            raise self.lines.damage("an ionic step with its lattice before the forces", line)
        step, lines = self.current, self.lines
        self._dashes("dashes above the forces")
        rows = [
            lines.row(lines.must("forces"), (5, 5, 5, 6, 6, 6), "position and force")
            for _ in range(len(self.run.symbols))
        ]
        self._dashes(f"dashes below the forces of {len(rows)} ions")
        rows = np.array(rows)
        step.positions, step.forces = rows[:, :3], rows[:, 3:]
        step.cell, step.stress = self.cell, self.stress
        step.moments = self._moments()
        reached = self.converged or (self.converged is None and self._below_limit())
        step.converged = bool(reached)

    def _below_limit(self):
        """Old versions write no line where NELM is exhausted."""
        return self.run.max_scf is not None and self.scf is not None and self.scf < self.run.max_scf

    def _free_energy(self, line):
        if "energy ML TOTEN" in line:
            self.predicted = not self.complete
            return
        if "free  energy" not in line:
            return
        match = _TOTEN.fullmatch(line)
        if match is None or self.current is None or self.current.forces is None:
            raise self.lines.damage("'free  energy   TOTEN' after the forces of its step", line)
        self.current.free_energy = float(match[1])

    def _zero_energy(self, line):
        if not line.lstrip().startswith("energy  without"):
            return
        match = _ZERO.fullmatch(line)
        step = self.current
        if match is None or step is None or step.free_energy is None:
            if self.predicted:
                return
            raise self.lines.damage("the energies without entropy and for sigma->0 after TOTEN", line)
        without, zero = float(match[1]), float(match[2])
        if not energies_agree(step.free_energy, without, zero, self.run.smearing):
            raise self.lines.damage(f"energies that belong to TOTEN = {step.free_energy:.8f} eV", line)
        step.energy = zero

    def _stress(self, line):
        if line.split()[1:2] != ["kB"]:
            return
        xx, yy, zz, xy, yz, zx = self.lines.row(line.replace("in kB", ""), (5,) * 6, "six stresses in kB")
        self.stress = ase_stress([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]])

    def _lattice(self, line):
        if "direct lattice vectors" not in line:
            return
        rows = np.array([self.lines.row(self.lines.must("a lattice vector"), (9,) * 6, "lattice") for _ in range(3)])
        if not lattice_agrees(rows[:, :3], rows[:, 3:], 5e-10):
            raise self.lines.damage("direct lattice vectors inverse to the reciprocal ones", str(rows[:, :3].tolist()))
        self.cell = rows[:, :3]

    def _dashes(self, what):
        line = self.lines.must(what).strip()
        if len(line) < 20 or line.strip("-"):
            raise self.lines.damage(what, line)

    # --- tables of moments ---

    def _magnetization(self, line):
        match = _TITLE.fullmatch(line)
        if match is None and "(" not in line:
            return
        if match is None:
            raise self.lines.damage("'magnetization (x)'", line)
        if self.run.symbols is None:
            raise self.lines.damage("the number of ions before the moments", line)
        lines, n = self.lines, len(self.run.symbols)
        heading = lines.must("the heading of a table of moments")
        while not heading.strip():
            heading = lines.must("the heading of a table of moments")
        if _HEADING.fullmatch(heading) is None:
            raise lines.damage("the heading '# of ion  s  p  d  tot'", heading)
        columns = len(heading.split()) - 3
        self._dashes("dashes above the moments")
        rows = np.array([self._moment(lines.must("moments"), k + 1, columns) for k in range(n)])
        if n > 1:
            self._dashes("dashes below the moments")
            total = lines.must("the sum of the moments")
            words = total.split(None, 1)
            if words[:1] != ["tot"] or len(words) != 2:
                raise lines.damage("the row 'tot'", total)
            decimals = len(words[1].split()[-1].partition(".")[2])
            sums = lines.row(words[1], (decimals,) * columns, "the sums of the moments")
            if np.abs(rows.sum(axis=0) - sums).max() > 0.0006 * n + 0.6 * 10.0**-decimals:
                raise lines.damage("moments that add up to the row 'tot'", total)
        self.tables[match[1]] = rows[:, -1]

    def _moment(self, line, index, columns):
        words = line.split(None, 1)
        if len(words) != 2 or words[0] != str(index):
            raise self.lines.damage(f"the moments of ion {index}", line)
        row = self.lines.row(words[1], (3,) * columns, f"{columns} moments of ion {index}")
        if abs(sum(row[:-1]) - row[-1]) > 0.0006 * columns:
            raise self.lines.damage("moments that add up to the column 'tot'", line)
        return row

    def _moments(self):
        """Tables since the last electronic step; None without any, as few are printed where NWRITE is small."""
        names = {"collinear": "x", "noncollinear": "xyz"}.get(self.run.spin, "")
        found = "".join(sorted(self.tables))
        if not names or not found:
            return None
        if found != names:
            raise self.lines.damage(f"tables of moments {', '.join(names)}", ", ".join(found) or "none")
        columns = [self.tables[name] for name in names]
        return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)

    def _end(self, line):
        if "General timing and accounting" in line:
            self.finished = self.lines.lenient_end = True
