"""Relaxation of spins, atoms or both with ASE's optimizers, for any calculator with exchange_fields.

The energy changes with the direction e_i of a moment by -m_i H_i per radian (its part perpendicular to e_i), so the
torque |m_i x H_i|, in eV, is to a spin what the force is to an atom. A spin moves on its sphere:
:class:`ase_spinml.landscape.spheres.TurningCoordinates` turns the straight steps of an optimizer into rotations.
Lengths stay, zero moments stay zero.
"""

import time

import numpy as np
from ase.parallel import world
from ase.utils.abc import Optimizable

from ase_spinml import checks
from ase_spinml.errors import InputError
from ase_spinml.landscape.optimizer import DescentLBFGS
from ase_spinml.landscape.spheres import TurningCoordinates
from ase_spinml.landscape.turning import USUAL_STEP, free_moments, measured_length_scale, spin_gradient
from ase_spinml.moments import MOMENTS, get_moments, unit_rows
from ase_spinml.terms import is_conservative, potential_energy

MOVES = ("spins", "atoms", "both")
MAX_TURN = 0.5
"""Turn of a spin, in radians, that counts as that longest step."""


class SpinFilter(Optimizable):
    """What ASE's optimizers see of atoms whose spins, positions or both may move: ``LBFGS(SpinFilter(atoms))``.

    A turn by one radian counts as ``length_scale`` Angstrom, and a turn by 0.5 radians as the optimizer's longest step.
    ASE's constraints hold for the positions. Converged is a state with all forces below the ``fmax`` given to the
    optimizer's ``run`` and all torques below ``torque_max``. (The "fmax" that optimizers write to their logfile is in
    scaled units where spins move; :class:`Relaxation` writes forces and torques.)

    Parameters
    ----------
    atoms : ase.Atoms
        N atoms with moment vectors and a calculator that gives ``exchange_fields`` if spins move, forces if atoms do.
    moves : "spins", "atoms" or "both"
        What moves.
    frozen_moments : array_like, optional
        Indices of, or N booleans for, moments that stay.
    torque_max : float
        Largest torque of a converged state, in eV.
    length_scale : float, optional
        Angstrom per radian. By default sqrt(K / 70 eV/Angstrom^2), where K, in eV/rad^2, is the root mean square
        curvature of the energy with respect to turns, measured with two evaluations at the start: ASE's optimizers
        begin with a curvature of 70 eV/Angstrom^2, and spins should look like atoms to them.

    Attributes
    ----------
    evaluations : int
        States in which energy, forces or fields were asked for.
    conservative : bool
        Whether the fields derive from the energy; spin torques of a current do not.

    Raises
    ------
    InputError
        Unusable parameters, moments or calculator; a model fitted on undisplaced frames only, where atoms move.

    Examples
    --------
    >>> from ase.optimize import LBFGS
    >>> from ase import Atoms
    >>> from ase_spinml import Heisenberg, SpinFilter, set_moments
    >>> atoms = Atoms("Fe2", positions=[[0, 0, 0], [2.5, 0, 0]])
    >>> set_moments(atoms, [[0, 0, 2], [2, 0, 0]])
    >>> atoms.calc = Heisenberg(exchange=[0.010])
    >>> LBFGS(SpinFilter(atoms), logfile=None).run(fmax=1e-3)
    True
    >>> round(atoms.get_potential_energy(), 6)
    -0.01
    """

    def __init__(self, atoms, moves="spins", frozen_moments=None, torque_max=1e-4, length_scale=None):
        if moves not in MOVES:
            raise InputError(f"Expected moves to be 'spins', 'atoms' or 'both', got {moves!r}: choose one of these.")
        checks.positive("torque_max", torque_max, "eV")
        self.turns, self.shifts = moves != "atoms", moves != "spins"
        needs = ("exchange_fields",) * self.turns + ("forces",) * self.shifts
        checks.calculator(atoms, needs)
        if self.shifts:
            checks.lattice(atoms)
        self.atoms = atoms
        self.torque_max = torque_max
        self.conservative = is_conservative(atoms.calc)
        self.evaluations = 0
        self._evaluated = None
        if self.turns:
            self.free = free_moments(atoms, frozen_moments)
            self._adopt()
            if length_scale is None:
                start = get_moments(atoms)
                length_scale = measured_length_scale(self.coordinates, self._gradient_at)
                atoms.arrays[MOMENTS] = start
                self._adopt()
            checks.positive("length_scale", length_scale, "Angstrom per radian")
        self.length_scale = length_scale

    def ndofs(self):
        """Number of coordinates: three per atom for positions, three per atom for moments."""
        return 3 * len(self.atoms) * (self.turns + self.shifts)

    def get_x(self):
        """Positions, then turned-through angles times ``length_scale``, flat, in Angstrom."""
        parts = [self.atoms.get_positions()] if self.shifts else []
        if self.turns:
            self._follow()
            parts.append(self.length_scale * self.coordinates.x)
        return np.concatenate(parts).ravel()

    def set_x(self, x):
        """Move atoms and turn spins to the coordinates ``x``."""
        rows = x.reshape(-1, 3)
        if self.shifts:
            self.atoms.set_positions(rows[: len(self.atoms)])
        if self.turns:
            self._follow()
            self._turn_to(rows[-len(self.atoms) :] / self.length_scale)

    def get_gradient(self):
        """Derivative of the energy with respect to ``x``, flat, in eV/Angstrom."""
        parts = [-self.atoms.get_forces()] if self.shifts else []
        if self.turns:
            self._follow()
            parts.append(self.coordinates.components(self._gradient()) / self.length_scale)
        self._count()
        return np.concatenate(parts).ravel()

    def get_value(self):
        """Energy in eV, the one that forces derive from where the calculator has two."""
        self._count()
        if "free_energy" in self.atoms.calc.implemented_properties:
            return float(self.atoms.calc.get_property("free_energy", self.atoms))
        return potential_energy(self.atoms)

    def iterimages(self):
        """The atoms, for trajectories."""
        yield self.atoms

    def gradient_norm(self, gradient):
        """Longest row, that of a spin weighted so that the longest step of an optimizer is half a radian."""
        lengths = np.linalg.norm(gradient.reshape(-1, 3), axis=1)
        if self.turns:
            lengths[-len(self.atoms) :] *= USUAL_STEP / (MAX_TURN * self.length_scale)
        return lengths.max()

    def converged(self, gradient, fmax):
        """Whether forces are below ``fmax`` in eV/Angstrom and torques below ``torque_max``."""
        force, torque = self.residuals(gradient)
        return bool(force < fmax and torque < self.torque_max)

    def residuals(self, gradient):
        """Largest force (eV/Angstrom) and torque (eV) of a gradient; 0 for what does not move."""
        lengths = np.linalg.norm(gradient.reshape(-1, 3), axis=1)
        force = lengths[: len(self.atoms)].max() if self.shifts else 0.0
        torque = self.length_scale * lengths[-len(self.atoms) :].max() if self.turns else 0.0
        return float(force), float(torque)

    def _adopt(self):
        """Take lengths and directions from the atoms."""
        moments = get_moments(self.atoms)
        self._lengths = np.linalg.norm(moments, axis=1)[:, None]
        self._written = moments
        self.coordinates = TurningCoordinates(unit_rows(moments))

    def _follow(self):
        """Start anew from moments that someone else has changed."""
        if not np.array_equal(self.atoms.arrays.get(MOMENTS), self._written):
            self._adopt()

    def _turn_to(self, x):
        self._written = np.where(self.free[:, None], self._lengths * self.coordinates.move(x), self._written)
        self.atoms.arrays[MOMENTS] = self._written.copy()

    def _gradient(self):
        """dE/de_i (N, 3) in eV, perpendicular to the spins, zero rows for frozen moments."""
        return spin_gradient(self.atoms, self._lengths, self.coordinates.spins, self.free)

    def _gradient_at(self, x):
        self._turn_to(x)
        self._count()
        return self.coordinates.components(self._gradient())

    def _count(self):
        state = (self.atoms.positions.tobytes(), self.atoms.cell.array.tobytes())
        if self.turns:
            state = (*state, self.atoms.arrays[MOMENTS].tobytes())
        self.evaluations += state != self._evaluated
        self._evaluated = state


class Relaxation:
    """Minimum of the energy over spins at fixed atoms, atoms at fixed spins, or both together.

    Parameters
    ----------
    atoms, moves, frozen_moments, length_scale
        As in :class:`SpinFilter`.
    optimizer : class
        Any optimizer of ASE, or the default :class:`~ase_spinml.landscape.optimizer.DescentLBFGS`.
    trajectory : str, optional
        File for the atoms of every step.
    logfile : str or file, optional
        Where step, time, energy, largest force and torque are appended; "-" for the screen.
    **kwargs
        Passed on to the optimizer.

    Attributes
    ----------
    filter : SpinFilter
        What the optimizer works on; counts ``evaluations``.
    optimizer : ase.optimize.optimize.Optimizer
        The optimizer; has ``nsteps`` and ``attach``.

    Raises
    ------
    InputError
        As :class:`SpinFilter`.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase_spinml import Heisenberg, Relaxation, set_moments
    >>> atoms = Atoms("Fe2", positions=[[0, 0, 0], [2.5, 0, 0]])
    >>> set_moments(atoms, [[0, 0, 2], [2, 0, 0]])
    >>> atoms.calc = Heisenberg(exchange=[0.010])
    >>> Relaxation(atoms).run()
    True
    >>> round(atoms.get_potential_energy(), 6)
    -0.01
    """

    def __init__(
        self,
        atoms,
        moves="spins",
        optimizer=DescentLBFGS,
        frozen_moments=None,
        trajectory=None,
        logfile=None,
        length_scale=None,
        **kwargs,
    ):
        self.atoms = atoms
        self.filter = SpinFilter(atoms, moves, frozen_moments, length_scale=length_scale)
        self.optimizer = optimizer(self.filter, logfile=None, trajectory=trajectory, **kwargs)
        self.logfile = logfile
        if logfile is not None:
            self.optimizer.attach(self._log)

    def run(self, fmax=0.01, torque_max=1e-4, steps=10_000):
        """Relax until all forces (eV/Angstrom) are below ``fmax`` and all torques (eV) below ``torque_max``.

        Returns
        -------
        bool
            Whether that was reached within ``steps`` steps.

        Raises
        ------
        InputError
            A criterion that is not above zero.
        """
        checks.positive("fmax", fmax, "eV/Angstrom")
        checks.positive("torque_max", torque_max, "eV")
        self.filter.torque_max = torque_max
        return bool(self.optimizer.run(fmax=fmax, steps=steps))

    @property
    def fmax(self):
        """Largest force now, eV/Angstrom; 0 if atoms do not move."""
        return self.filter.residuals(self.filter.get_gradient())[0]

    @property
    def torque(self):
        """Largest torque now, eV; 0 if spins do not move."""
        return self.filter.residuals(self.filter.get_gradient())[1]

    def _log(self):
        force, torque = self.filter.residuals(self.filter.get_gradient())
        number, clock, energy = self.optimizer.nsteps, time.strftime("%H:%M:%S"), self.filter.get_value()
        line = f"{number:6d} {clock} {energy:16.6f} {force:12.6f} {torque:12.3e}\n"
        if number == 0:
            line = f"{'step':>6} {'time':>8} {'energy (eV)':>16} {'fmax (eV/A)':>12} {'torque (eV)':>12}\n" + line
        if world.rank != 0:
            return
        if self.logfile == "-":
            print(line, end="")
        elif hasattr(self.logfile, "write"):
            self.logfile.write(line)
        else:
            with open(self.logfile, "a", encoding="utf-8") as file:
                file.write(line)
