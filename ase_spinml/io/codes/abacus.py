"""Logs of spin-constrained ABACUS runs (``running_scf.log``, ``running_relax.log``, ``running_md.log``); read only.

"Magnetic force" is -dE/dM in eV/mu_B (older versions: Ry/mu_B): the full vector, its part along the moment included.
The Lagrange multipliers of the constraint add no penalty to the energy. Positions of molecular dynamics are in the
file ``MD_dump`` beside the log. The log rounds the cell to six digits; a ``STRU`` that agrees to these gives the rest.
"""

import re
import warnings
from pathlib import Path

import numpy as np
from ase import units
from ase.data import chemical_symbols

from ase_spinml.errors import InputError
from ase_spinml.io.canonical import make_frame
from ase_spinml.io.codes.abacus_blocks import MDDump, cell_of_stru, find_stru, magnetic_block, vector_block
from ase_spinml.io.text import Lines

_WHAT = "a log of ABACUS (running_scf.log, running_relax.log or running_md.log)"
_KBAR = 0.1 * units.GPa


def read_abacus(path, structure=None, axis=None, damaged="refuse"):
    """Frames of an ABACUS run, one per ionic step.

    Parameters
    ----------
    path : str or Path
        A log, or the folder ``OUT.*`` with just one.
    structure : str or Path, optional
        The ``STRU`` of the run. Default: the one beside the log or its folder, if there is one.
    axis : (3,), optional
        Direction of the moments of a collinear run (nspin 2); without one they go to ``collinear_magmoms``.
    damaged : {"refuse", "keep"}
        What to do when the log is damaged or the run unfinished: an error, or the complete steps before.

    Returns
    -------
    list of ase.Atoms
        ``energy`` is extrapolated to zero smearing where the log has that, ``free_energy`` belongs to the forces.

    Raises
    ------
    InputError
        Not such a log, a damaged or unfinished one, a given structure that does not fit, positions unknown.

    Warns
    -----
    UserWarning
        A step is not converged; the magnetic force is exactly zero on every atom (the constraint was never active).
    """
    if damaged not in ("refuse", "keep"):
        raise InputError(f"Expected damaged to be 'refuse' or 'keep', got {damaged!r}.")
    path = _log(Path(path))
    run = _Run(path, structure, axis)
    with Lines(path, _WHAT) as lines:
        try:
            for line in lines:
                run.take(line, lines)
            run.finish(lines)
        except InputError:
            if damaged == "refuse":
                raise
    if not run.frames:
        raise InputError(f"Expected {_WHAT}, got {path} without a complete step.")
    return run.frames


def _log(path):
    if not path.is_dir():
        return path
    logs = sorted(path.glob("running_*.log"))
    if len(logs) != 1:
        raise InputError(f"Expected one file running_*.log in {path}, got {len(logs)}: name the log.")
    return logs[0]


class _Run:
    """What is known after each line of a log; complete steps become frames."""

    def __init__(self, path, structure, axis):
        self.path, self.axis, self.frames = path, axis, []
        self.structure = find_stru(path) if structure is None else Path(structure)
        self.must_fit = structure is not None
        self.constant, self.vectors, self.symbols, self.count = None, None, None, None
        self.positions, self.dump, self.finished = None, None, False
        self.step, self.number, self.ahead = {}, None, {}

    def take(self, line, lines):
        """One line of the log."""
        text = line.strip()
        if text.startswith("lattice constant (Angstrom)"):
            self.constant = lines.numbers([text.split("=")[-1]], 1, "a lattice constant")[0]
        elif text.startswith("TOTAL ATOM NUMBER"):
            self.count = lines.integer(text.split("=")[-1].strip(), "a number of atoms")
        elif text.startswith("Lattice vectors: (Cartesian"):
            self._know(vectors=np.array([lines.floats(3, "a lattice vector") for _ in range(3)]))
        elif text in ("DIRECT COORDINATES", "CARTESIAN COORDINATES"):
            self._read_positions(text, lines)
        elif text.startswith(("STEP OF RELAXATION", "STEP OF MOLECULAR DYNAMICS", "STEP OF ION RELAXATION")):
            self._close(lines)
            self.number = lines.integer(text.split(":")[-1].strip(), "the number of a step")
            if "DYNAMICS" in text and self.dump is None:
                self.dump = MDDump(self.path.parent / "MD_dump")
        elif text.startswith(("E_KohnSham ", "E_KS(sigma->0)")):
            self._read_energy(text, lines)
        elif text.startswith(("Total Magnetism (uB", "Magnetic force (")):
            self._read_magnetic(text, lines)
        elif text.startswith("TOTAL-FORCE (eV/Angstrom)"):
            self.step["forces"] = vector_block(lines, self.count, 3, "forces")[1]
        elif text.startswith("TOTAL-STRESS (KBAR)"):
            self.step["stress"] = -_KBAR * vector_block(lines, 3, 3, "stress", named=False)[1]
        elif "charge density convergence is achieved" in text:
            self.step["converged"] = True
        elif "convergence has NOT been achieved" in text:
            self.step["converged"] = False
        elif text.startswith("!FINAL_ETOT_IS"):
            self._check_final(lines.numbers(text.split()[1:2], 1, "a final energy")[0], lines)
            self._close(lines)
            self.finished = True

    def finish(self, lines):
        """The end of the log."""
        if self.step and not self.finished:
            raise InputError(
                f"Expected !FINAL_ETOT_IS at the end of {lines.path}, got none: the run is unfinished or cut off; "
                f"damaged='keep' takes its complete steps."
            )

    def _read_positions(self, kind, lines):
        lines.next("the header of the coordinates")
        names, table = vector_block(lines, self.count, None, "coordinates", ruled=False)
        symbols = [re.sub(r"^tau[a-z]_|\d+$", "", name) for name in names]
        if set(symbols) - set(chemical_symbols) or table.shape[1] < 3:
            raise lines.error("atoms named taud_Fe1 or tauc_Fe1", names[0])
        if self.symbols not in (None, symbols):
            raise lines.error("the atoms of the step before", " ".join(names))
        self.symbols = symbols
        self._know(positions=(kind, table[:, :3]))

    def _know(self, **geometry):
        """Take what was read for this step, or, once this step has results, for the next."""
        if self.step:
            self.ahead.update(geometry)
        else:
            vars(self).update(geometry)

    def _read_energy(self, text, lines):
        rydberg, volt = lines.numbers(text.split()[1:], 2, "an energy in Ry and eV")
        if abs(rydberg * units.Ry - volt) > 2e-6 * abs(volt) + 1e-5:
            raise lines.error("the same energy in Ry and eV", text)
        self.step["energy" if "sigma" in text else "free_energy"] = volt

    def _read_magnetic(self, text, lines):
        unit = re.search(r"\((\w+)/?uB\)|\(uB", text)
        key = "moments" if text.startswith("Total") else "fields"
        factor = {"moments": {None: 1.0}, "fields": {"eV": 1.0, "Ry": units.Ry}}[key].get(unit and unit[1])
        if factor is None:
            raise lines.error("magnetic forces in eV/uB or Ry/uB", text)
        names, table = magnetic_block(lines, self.count, key)
        if self.symbols is not None and [re.sub(r"\d+$", "", name) for name in names] != self.symbols:
            raise lines.error("a row for every atom", " ".join(names))
        self.step[key] = factor * table

    def _check_final(self, energy, lines):
        if self.step and abs(self.step.get("free_energy", energy) - energy) > 1e-6 * abs(energy):
            raise lines.error(f"the final energy {self.step['free_energy']} eV", str(energy))

    def _close(self, lines):
        """Turn what was read into a frame."""
        step, self.step = self.step, {}
        converged = step.pop("converged", None)
        if not step:
            return
        if "free_energy" not in step or None in (self.symbols, self.constant) or self.vectors is None:
            raise lines.error("an energy, a cell and atoms in every step", "none")
        cell, positions = self._geometry(step, lines)
        where = f"step {self.number if self.number is not None else 1} of {self.path}"
        if converged is not True:
            warnings.warn(f"{where} is not converged.", stacklevel=5)
        if "fields" in step and not step["fields"].any():
            warnings.warn(f"{where} has a magnetic force of exactly zero: was the constraint active?", stacklevel=5)
        self.frames.append(
            make_frame(self.symbols, positions, cell, moments=step.pop("moments", None), axis=self.axis, **step)
        )
        vars(self).update(self.ahead)
        self.ahead = {}

    def _geometry(self, step, lines):
        if self.dump is not None:
            cell, positions, forces = self.dump.frame(self.number, self.symbols)
            if "forces" in step and np.abs(forces - step["forces"]).max() > 1e-5 * (1 + np.abs(forces).max()):
                raise lines.error("the forces of MD_dump", "others: the files belong to different runs")
            return cell, positions
        cell = self.constant * self.vectors
        if self.structure is not None:
            exact = cell_of_stru(self.structure)
            if np.abs(exact - cell).max() < 2e-5 * np.abs(cell).max():
                cell = exact
            elif self.must_fit:
                raise InputError(f"Expected the cell of the log in {self.structure}, got another: name the right STRU.")
        kind, table = self.positions
        return cell, table @ cell if kind.startswith("DIRECT") else self.constant * table
