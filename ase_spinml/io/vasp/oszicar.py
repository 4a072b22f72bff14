"""OSZICAR, streamed: energies, and of constrained runs the moments, the penalty and the constraint's field.

Before every electronic line of a constrained run VASP prints the penalty ``E_p``, ``lambda`` and a table of the moments
``MW_int`` (weighted with the smooth cut-off of the penalty) and ``M_int`` (plain sphere). The table
``lambda*MW_perp`` follows *after* the line ``F=`` of its step. All of it is in the SAXIS frame.
"""

import re
from dataclasses import dataclass

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.io.vasp.lines import NUMBER, VaspLines, number

_INDEX = r"(\d{1,9}|\*+)"
_PENALTY = re.compile(rf"\s*E_p\s*=\s*({NUMBER})\s+lambda\s*=\s*({NUMBER})\s*", re.ASCII)
_ELECTRONIC = re.compile(rf"\s*[A-Z]{{3}}:\s*{_INDEX}\s*({NUMBER})\s.*", re.ASCII)
_ENERGIES = re.compile(
    rf"\s*{_INDEX}\s+(?:T=\s*{NUMBER}\s+E=\s*{NUMBER}\s+)?F=\s*({NUMBER})\s+E0=\s*({NUMBER})"
    rf"(?:\s+d E\s*=\s*({NUMBER})|\s+EK=\s*{NUMBER}\s+SP=\s*{NUMBER}\s+SK=\s*{NUMBER})"
    rf"(?:\s+mag=\s*({NUMBER}(?:\s+{NUMBER}\s+{NUMBER})?))?\s*",
    re.ASCII,
)
_MOMENTS = re.compile(r"\s*ion\s+MW_int\s+M_int\s*", re.ASCII)
_FIELDS = re.compile(r"\s*ion\s+lambda\*MW_perp\s*", re.ASCII)
_HEADER = re.compile(r"\s*N\s+E\s+dE\s+d eps\s+ncg\s+rms.*", re.ASCII)
_REAL = r"([-+]?\d{0,9}\.\d{1,15}(?:[Ee][-+]?\d+|[-+]\d{3})?)"
_SIX = re.compile(rf"\s*{_INDEX}" + rf"\s*{_REAL}" * 6 + r"\s*", re.ASCII)
_THREE = re.compile(rf"\s*{_INDEX}" + rf"\s*{_REAL}" * 3 + r"\s*", re.ASCII)
_LOOSE_ROW = re.compile(rf"\s*{_INDEX}\s*[-+]?\d*\.\d", re.ASCII)
_MARKS = ("F=", "E0=", "E_p", "lambda", "MW_", "M_int")


@dataclass
class OszicarStep:
    """One ionic step; None where the file does not tell. Vectors are in the SAXIS frame.

    Attributes
    ----------
    number : int
        From 1.
    free_energy, energy : float, eV
        F and E0, penalty included; eight digits, F with those of the last electronic line where the two agree.
    penalty : float, eV, and lam : float
        E_p and lambda, eV/mu_B^2 (modes 1, 2) or eV/mu_B (mode 4).
    smooth, sphere : ndarray, shape (N, 3), mu_B
        MW_int and M_int.
    fields : dict of int -> (3,)
        lambda*MW_perp in eV/mu_B by atom, from 0; atoms without constraint have no row.
    magnetization : tuple of float
        ``mag=``: one number collinear, three noncollinear.
    electronic : float, eV
        Energy of the last electronic line.
    change : float, eV
        ``d E``: of a static run the entropy term F - E, of a relaxation the change since the step before.
    """

    number: int
    free_energy: float
    energy: float
    penalty: float | None = None
    lam: float | None = None
    smooth: np.ndarray | None = None
    sphere: np.ndarray | None = None
    fields: dict | None = None
    magnetization: tuple | None = None
    electronic: float | None = None
    change: float | None = None


def half_unit(energy):
    """Half a unit of the eighth digit, the last that OSZICAR prints of F and E0; at least of numbers below 1."""
    return 0.5e-8 * 10.0 ** np.ceil(np.log10(max(abs(energy), 1.0)) + 1e-12)


def read_oszicar(path):
    """Ionic steps of an OSZICAR: a generator of :class:`OszicarStep`, in bounded memory.

    Raises
    ------
    Damaged
        At the first contradiction; the steps given before are complete.
    InputError
        An OSZICAR of DeltaSpin, which has other tables.
    """
    return _Oszicar(path).steps()


class _Oszicar:
    def __init__(self, path):
        self.lines = VaspLines(path, longest=1024)
        self.pending = None  # step whose table of fields may still follow
        self.last = 0
        self.ions = None  # rows in a table of moments
        self.begun = False  # an ionic step after the pending one
        self._fresh()

    def _fresh(self):
        """Forget what led to the previous F= line."""
        self.penalty = self.lam = self.smooth = self.sphere = self.electronic = None
        self.scf = 0

    def steps(self):
        for line in self.lines:
            while line is not None and line.strip():  # a table gives back the line that ended it
                if match := _ENERGIES.fullmatch(line):
                    if self.pending is not None:
                        yield self.pending
                    line = self._energies(match, line)
                elif match := _ELECTRONIC.fullmatch(line):
                    line = self._electronic(match, line)
                elif match := _PENALTY.fullmatch(line):
                    line = self._penalty(match)
                elif _HEADER.fullmatch(line):
                    line, self.begun = None, True
                elif _MOMENTS.fullmatch(line):
                    line = self._moments()
                elif _FIELDS.fullmatch(line):
                    line = self._fields(line)
                else:
                    line = self._other(line)
        if self.scf or self.begun:
            raise self.lines.damage("the line 'F=' that ends an ionic step")
        if self.pending is None:
            raise self.lines.damage("at least one ionic step")
        yield self.pending

    def _penalty(self, match):
        self.penalty, self.lam = number(match[1]), number(match[2])

    def _energies(self, match, line):
        index = self.last + 1 if "*" in match[1] else int(match[1])
        if self.last and index != self.last + 1:
            raise self.lines.damage(f"ionic step {self.last + 1}", line)
        free, zero = number(match[2]), number(match[3])
        if self.electronic is not None and abs(self.electronic - free) < 1.01 * half_unit(free):
            free = self.electronic
        magnetization = re.findall(NUMBER, match[5], re.ASCII) if match[5] else None
        self.pending = OszicarStep(
            index,
            free,
            zero,
            self.penalty,
            self.lam,
            self.smooth,
            self.sphere,
            magnetization=tuple(map(number, magnetization)) if magnetization else None,
            electronic=self.electronic,
            change=number(match[4]) if match[4] else None,
        )
        self.last, self.begun = index, False
        self._fresh()

    def _electronic(self, match, line):
        index = self.scf + 1 if "*" in match[1] else int(match[1])
        if index <= self.scf:
            raise self.lines.damage("the line 'F=' before the electronic steps begin anew", line)
        self.scf, self.electronic = index, number(match[2])

    def _moments(self):
        """Rows of MW_int and M_int, to the first other line, which is looked at in turn."""
        rows = []
        follower = None
        for line in self.lines:
            match = _SIX.fullmatch(line)
            if match is None:
                follower = line
                break
            if "*" not in match[1] and int(match[1]) != len(rows) + 1:
                raise self.lines.damage(f"the moments of ion {len(rows) + 1}", line)
            rows.append([number(x) for x in match.groups()[1:]])
        if not rows:
            raise self.lines.damage("the moments of ion 1", follower)
        if self.ions not in (None, len(rows)):
            raise self.lines.damage(f"the moments of {self.ions} ions", f"{len(rows)} rows")
        self.ions, rows = len(rows), np.array(rows)
        self.smooth, self.sphere = rows[:, :3], rows[:, 3:]
        return self._after_table(follower)

    def _fields(self, line):
        """Rows of lambda*MW_perp of the pending step; ions without constraint are left out."""
        step = self.pending
        if step is None or self.scf or step.fields is not None:
            raise self.lines.damage("the table lambda*MW_perp right after the line 'F=' of its step", line)
        step.penalty, step.lam = self.penalty, self.lam
        step.fields, follower = {}, None
        for row in self.lines:
            match = _THREE.fullmatch(row)
            if match is None:
                follower = row
                break
            self._add_field(step, match, row)
        if not step.fields:
            raise self.lines.damage("rows of lambda*MW_perp", follower)
        self.penalty = self.lam = None
        return self._after_table(follower)

    def _after_table(self, line):
        """The line that ended a table, to be looked at; a damaged row is no such line."""
        known = (_ENERGIES, _ELECTRONIC, _PENALTY, _HEADER)
        if line is not None and line.strip() and not any(pattern.fullmatch(line) for pattern in known):
            raise self.lines.damage("another row, an electronic step or a blank line after a table", line)
        return line

    def _add_field(self, step, match, row):
        known = sorted(step.fields)
        if "*" in match[1]:  # beyond 999 the index does not fit its three columns
            atom = known[-1] + 1 if known else -1
            certain = step.smooth is not None and known and known[-1] >= 998
            if not certain:
                raise self.lines.damage("the number of the ion", row)
        else:
            atom = int(match[1]) - 1
        n = len(step.smooth) if step.smooth is not None else None
        if atom < 0 or (known and atom <= known[-1]) or (n is not None and atom >= n):
            raise self.lines.damage(f"ions in ascending order{'' if n is None else f' up to {n}'}", row)
        step.fields[atom] = tuple(number(x) for x in match.groups()[1:])

    def _other(self, line):
        """Lines of the ionic optimizer pass; what looks like ours but is not whole does not."""
        if "MW_current" in line or "Magnetic Force" in line:
            raise InputError(
                f"Expected an OSZICAR of VASP in {self.lines.path.name}, got one of DeltaSpin: "
                f"its multipliers are fields of another sign, read it with the reader for DeltaSpin."
            )
        if any(mark in line for mark in _MARKS) or _LOOSE_ROW.match(line) or _is_electronic(line):
            raise self.lines.damage("a whole line of OSZICAR", line)


def _is_electronic(line):
    return re.match(r"\s*(DAV|RMM|CGA|EDI|NCG|DIA|SDA|DMP|DIIS|ROT)\b", line, re.ASCII) is not None
