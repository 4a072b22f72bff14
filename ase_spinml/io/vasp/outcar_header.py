"""What OUTCAR says before its first ionic step: elements, kind of spin, the SAXIS frame."""

import re

import numpy as np
from ase.data import chemical_symbols

from ase_spinml.io.vasp.lines import NUMBER
from ase_spinml.io.vasp.saxis import nearest_rotation

MOST_IONS = 10_000_000
_MATRIX = re.compile(rf"\s*({NUMBER}) m_x\s*({NUMBER}) m_y\s*({NUMBER}) m_z\s*", re.ASCII)
_INTEGERS = ("ISPIN", "ISMEAR", "LORBIT", "NELM")
_LOGICALS = ("LNONCOLLINEAR", "LSORBIT")


class Header:
    """Fills a :class:`~ase_spinml.io.vasp.steps.Run` from lines of OUTCAR.

    Attributes
    ----------
    handlers : dict of str -> function of a line
        By the first word of the line.
    tags : dict
        ISPIN, ISMEAR, LORBIT, NELM, NIONS as integers, LNONCOLLINEAR, LSORBIT as logicals, where found.
    """

    def __init__(self, lines, run):
        self.lines, self.run = lines, run
        self.tags, self.titles, self.elements, self.counts = {}, [], [], None
        self.handlers = {
            "VRHFIN": self._vrhfin,
            "TITEL": self._titel,
            "number": self._ions,
            "ions": self._counts,
            "transformation": self._saxis,
            "I_CONSTRAINED_M": self._constraint,
            **dict.fromkeys([*_INTEGERS, *_LOGICALS], self._setting),
        }

    def _setting(self, line):
        name = line.split(None, 1)[0].partition("=")[0]
        kind = r"(-?\d{1,9})\b" if name in _INTEGERS else r"\.?([TF])\b"
        match = re.match(rf"\s*{name}\s*=\s*{kind}", line, re.ASCII | re.IGNORECASE)
        if match is None and self.counts is None:
            return  # the user's INCAR, repeated by VASP 6
        if match is None:
            raise self.lines.damage(f"{name} = {'a whole number' if name in _INTEGERS else 'T or F'}", line)
        self.tags[name] = int(match[1]) if name in _INTEGERS else match[1].upper() == "T"

    def _constraint(self, line):
        self.run.settings["I_CONSTRAINED_M"] = line.partition("=")[2].split("#")[0].split("!")[0].strip()

    def _vrhfin(self, line):
        match = re.match(r"\s*VRHFIN\s*=\s*([A-Z][a-z]?)\s*:", line, re.ASCII)
        self.elements.append(match[1] if match else None)

    def _titel(self, line):
        words = line.partition("=")[2].split()
        symbol = re.match(r"[A-Z][a-z]?", words[1]) if len(words) > 1 else None
        if symbol is None or symbol[0] not in chemical_symbols:
            raise self.lines.damage("TITEL with the symbol of an element", line)
        self.titles.append(symbol[0])

    def _ions(self, line):
        if "NIONS" in line:
            match = re.search(r"NIONS\s*=\s*(\d{1,9})\s*$", line, re.ASCII)
            if match is None:
                raise self.lines.damage("NIONS = number of ions", line)
            self.tags["NIONS"] = int(match[1])

    def _counts(self, line):
        if line.split()[:3] == ["ions", "per", "type"]:
            self.counts = [int(x) for x in self.lines.numbers(line.partition("=")[2], None, "ions per type")]
            self._set_symbols(line)

    def _set_symbols(self, line):
        if len(self.titles) != len(self.counts):
            raise self.lines.damage(f"{len(self.titles)} numbers of ions, one per TITEL", line)
        for title, element in zip(self.titles, self.elements, strict=False):
            if element in chemical_symbols and element != title:
                raise self.lines.damage(f"VRHFIN of {title} to name the same element as TITEL", element)
        if sum(self.counts) != self.tags.get("NIONS") or not 0 < sum(self.counts) <= MOST_IONS:
            raise self.lines.damage(f"ions per type that add up to NIONS = {self.tags.get('NIONS')}", line)
        self.run.symbols = [s for s, n in zip(self.titles, self.counts, strict=True) for _ in range(n)]

    def _saxis(self, line):
        if "from SAXIS to cartesian" not in line and "from cartesian coordinates to SAXIS" not in line:
            return
        self.lines.must("dashes above the SAXIS matrix")
        rows = []
        for _ in range(3):
            text = self.lines.must("the SAXIS matrix")
            match = _MATRIX.fullmatch(text)
            if match is None:
                raise self.lines.damage("a row of the SAXIS matrix", text)
            rows.append([float(x) for x in match.groups()])
        matrix = nearest_rotation(np.array(rows))
        if matrix is None:
            raise self.lines.damage("a rotation matrix", str(rows))
        if "from SAXIS" in line:
            self.run.rotation = matrix
        elif self.run.rotation is None or np.abs(matrix.T - self.run.rotation).max() > 1e-6:
            raise self.lines.damage("the inverse of the SAXIS matrix before it", str(rows))

    def check(self):
        """Damage unless everything that the ionic steps need is known; to be called before the first of them."""
        missing = [name for name in ("ISPIN", *_LOGICALS) if name not in self.tags]
        if self.run.symbols is None:
            missing.append("ions per type")
        if missing:
            raise self.lines.damage(f"{', '.join(missing)} before the first ionic step")
        if self.tags["ISPIN"] not in (1, 2):
            raise self.lines.damage("ISPIN of 1 or 2", str(self.tags["ISPIN"]))
        run, noncollinear = self.run, self.tags["LNONCOLLINEAR"]
        run.spin = "noncollinear" if noncollinear else ("none", "collinear")[self.tags["ISPIN"] - 1]
        run.spin_orbit = self.tags["LSORBIT"]
        if run.spin_orbit and not noncollinear:
            raise self.lines.damage("LNONCOLLINEAR = T where LSORBIT = T")
        run.smearing, run.max_scf = self.tags.get("ISMEAR"), self.tags.get("NELM")
        if noncollinear and run.rotation is None:
            raise self.lines.damage("the transformation matrix from SAXIS to cartesian coordinates")
