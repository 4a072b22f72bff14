"""Log of a spin run: ASE's columns, the mean moment and the evaluations per step."""

import numpy as np
from ase.md.logger import MDLogger

from ase_spinml.moments import get_moments


class SpinLogger(MDLogger):
    """ASE's MDLogger with two more columns: |sum_i m_i|/N in mu_B, and evaluations per step since the last line."""

    def __init__(self, dyn, atoms, logfile):
        super().__init__(dyn, atoms, logfile, header=False)
        self.logfile.write(f"{self.hdr} {'|M|/N[muB]':>10} {'evals/step':>10}\n")
        self._columns = self.fmt.removesuffix("\n")
        self._last = (dyn.nsteps, dyn.evaluations)

    def __call__(self):
        moment = np.linalg.norm(get_moments(self.atoms).mean(axis=0))
        steps, evaluations = self.dyn.nsteps - self._last[0], self.dyn.evaluations - self._last[1]
        self._last = (self.dyn.nsteps, self.dyn.evaluations)
        self.fmt = f"{self._columns} {moment:10.4f} {evaluations / max(steps, 1):10.1f}\n"
        super().__call__()
