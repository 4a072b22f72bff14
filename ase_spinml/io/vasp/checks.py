"""What a reader of VASP runs warns of, gathered over all steps and told once, with numbers."""

import warnings

import numpy as np

from ase_spinml.io.vasp import constraint as vasp_constraint


class VaspWarning(UserWarning):
    """A VASP run was read, and something about it should be known before it is used for training."""


class Checks:
    """Collects findings step by step; :meth:`tell` gives one warning of each kind.

    Parameters
    ----------
    max_angle : float
        Degrees between target and result beyond which a step is reported.
    max_penalty : float
        E_p in eV/atom beyond which a step is reported.
    """

    def __init__(self, max_angle, max_penalty):
        self.max_angle, self.max_penalty = max_angle, max_penalty
        self.steps = 0
        self.unconverged, self.no_moments, self.empty = [], [], []
        self.angles, self.penalties, self.doubtful, self.unlike = [], [], [], []

    def step(self, number, run, converged, has_moments):
        """Note what concerns every run."""
        self.steps += 1
        if converged is False:
            self.unconverged.append(number)
        if not has_moments and run.spin != "none":
            self.no_moments.append(number)

    def constrained_step(self, number, constraint, found, n_atoms):
        """Note what concerns a constrained one; ``found`` is an OszicarStep."""
        constrained = list(found.fields)
        if not found.smooth[constrained].any():
            self.empty.append(number)
            return
        if constraint.targets is not None:
            self._angle(number, constraint, found)
            self._field(number, constraint, found, constrained)
        if abs(found.penalty) / n_atoms > self.max_penalty:
            self.penalties.append((abs(found.penalty), number))
        implied = vasp_constraint.expected_penalty(constraint, found)
        if max(implied, abs(found.penalty)) / n_atoms > 1e-5 and not 0.5 < implied / max(found.penalty, 1e-300) < 2:
            self.doubtful.append((found.penalty, implied, number))

    def _angle(self, number, constraint, found):
        angle = vasp_constraint.angles(constraint, found.smooth)
        if np.nanmax(angle, initial=0.0) > self.max_angle:
            atom = int(np.nanargmax(angle))
            self.angles.append((angle[atom], number, atom))

    def _field(self, number, constraint, found, constrained):
        """Compare P with lambda times the moment across its target, within the three decimals of MW_int and 10 %."""
        expected, error = vasp_constraint.expected_fields(constraint, found)
        printed = np.array([found.fields[atom] for atom in constrained])
        off = np.linalg.norm(expected[constrained] - printed, axis=1)
        size = np.linalg.norm(printed, axis=1)
        excess = off - 2 * error[constrained] - 0.1 * size
        worst = int(np.argmax(excess))
        if excess[worst] > 0:
            self.unlike.append((off[worst], size[worst], number, constrained[worst]))

    def tell(self, path):
        """Warn, once for each kind of finding."""
        for message in self._messages():
            warnings.warn(f"{path}: {message}", VaspWarning, stacklevel=4)

    def _messages(self):
        if self.unconverged:
            yield f"the electrons did not converge in {self._some(self.unconverged)}."
        if self.no_moments:
            yield (
                f"no moments of atoms in {self._some(self.no_moments)}: set LORBIT = 11 in INCAR to have them written."
            )
        if self.empty:
            yield (
                f"MW_int is zero in {self._some(self.empty)}, so nothing was constrained and fields are unknown: "
                f"set RWIGS in INCAR, VASP's default of -1 leaves the spheres empty."
            )
        if self.angles:
            angle, number, atom = max(self.angles)
            yield (
                f"moments are up to {angle:.2f} degrees from their targets (atom {atom}, step {number}), more than "
                f"{self.max_angle:g} in {self._some([n for _, n, _ in self.angles])}: raise LAMBDA, "
                f"or drop these frames."
            )
        if self.penalties:
            penalty, number = max(self.penalties)
            yield (
                f"the penalty E_p is up to {penalty:.6g} eV (step {number}), more than {self.max_penalty:g} eV/atom in "
                f"{self._some([n for _, n in self.penalties])}; it is taken off the energies: raise LAMBDA."
            )
        if self.doubtful:
            penalty, implied, number = max(self.doubtful)
            yield (
                f"the penalty E_p = {penalty:.6g} eV of step {number} does not fit the printed fields, which imply "
                f"{implied:.6g} eV: check the mode, and that the electrons converged."
            )

        if self.unlike:
            off, size, number, atom = max(self.unlike)
            yield (
                f"the printed field of atom {atom}, step {number}, of {size:.6g} eV/mu_B is {off:.6g} eV/mu_B from "
                f"what its moment and M_CONSTR imply, such fields are in "
                f"{self._some([n for _, _, n, _ in self.unlike])}: check the mode and M_CONSTR."
            )

    def _some(self, numbers):
        shown = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
        return f"{len(numbers)} of {self.steps} ionic steps ({shown})"
