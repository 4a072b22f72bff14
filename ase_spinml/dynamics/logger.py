"""Log of a spin run: energies, both temperatures, magnetisation, conserved quantity, cost."""

import numpy as np
from ase import units
from ase.parallel import world
from ase.utils import IOContext

from ase_spinml.dynamics.temperature import spin_temperature
from ase_spinml.moments import get_moments
from ase_spinml.terms import is_conservative, potential_energy

COLUMNS = [
    ("Time[ps]", "{:10.4f}"),
    ("Etot[eV]", "{:14.6f}"),
    ("Epot[eV]", "{:14.6f}"),
    ("Ekin[eV]", "{:12.6f}"),
    ("T[K]", "{:8.1f}"),
    ("Tspin[K]", "{:9.1f}"),
    ("|M|/N[muB]", "{:10.4f}"),
    ("Econs[eV]", "{:14.6f}"),
    ("evals/step", "{:10.1f}"),
]


class SpinLogger(IOContext):
    """Writes one line for each call; ASE's columns and what spins add.

    Tspin is the microscopic spin temperature (:func:`ase_spinml.dynamics.temperature.spin_temperature`), for which
    every line costs five more evaluations of the fields; choose ``loginterval`` accordingly. |M|/N is the mean moment,
    Econs the conserved quantity (``get_conserved_energy``), evals/step the evaluations per step since the last line.
    A column that means nothing for the run, such as Econs of a calculator that is not conservative, is ``nan``.

    Parameters
    ----------
    dyn : SpinDynamics
    atoms : ase.Atoms
    logfile : str, Path or file
        "-" is standard output.
    mode : str
        "a" appends, "w" starts anew.
    """

    def __init__(self, dyn, atoms, logfile, mode="a"):
        self._dyn, self._atoms = dyn, atoms
        self._file = self.openfile(file=logfile, mode=mode, comm=world)
        self._last = (dyn.nsteps, dyn.evaluations)

    def header(self):
        """Write the names of the columns."""
        self._file.write(" ".join(self._pad(name, form) for name, form in COLUMNS) + "\n")
        self._file.flush()

    def __call__(self):
        dyn, atoms = self._dyn, self._atoms
        kinetic = atoms.get_kinetic_energy()
        potential = potential_energy(atoms)
        steps, evaluations = dyn.nsteps - self._last[0], dyn.evaluations - self._last[1]
        self._last = (dyn.nsteps, dyn.evaluations)
        temperature = spin_temperature(atoms, dyn.nsteps) if is_conservative(atoms.calc) else np.nan
        values = [
            dyn.get_time() / (1000 * units.fs),
            potential + kinetic,
            potential,
            kinetic,
            atoms.get_temperature(),
            temperature,
            np.linalg.norm(get_moments(atoms).mean(axis=0)),
            dyn.get_conserved_energy(),
            evaluations / max(steps, 1),
        ]
        line = (self._pad(form.format(value), form) for value, (_, form) in zip(values, COLUMNS, strict=True))
        self._file.write(" ".join(line) + "\n")
        self._file.flush()

    def state(self):
        """What a checkpoint keeps: the length of the file, and the counts at the last line. None for no file."""
        if not self._file.seekable():
            return None
        return {"size": self._file.tell(), "last": self._last}

    def set_state(self, state):
        """Go on after the last line before the checkpoint."""
        self._last = tuple(state["last"])

    @staticmethod
    def _pad(text, form):
        return text.rjust(int(form[2:].split(".")[0]))
