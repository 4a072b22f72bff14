"""Geodesic nudged elastic band: the path of lowest energy between two magnetic states at fixed atoms.

P. F. Bessarab, V. M. Uzdin and H. Jonsson, Comput. Phys. Commun. 196, 335 (2015); the upwind tangent is that of
G. Henkelman and H. Jonsson, J. Chem. Phys. 113, 9978 (2000), the climbing image that of G. Henkelman, B. P. Uberuaga
and H. Jonsson, J. Chem. Phys. 113, 9901 (2000). An image is a point on the product of N unit spheres. With the gradient
g = dE/de perpendicular to the spins, the unit tangent tau of the path, and geodesic distances d to the neighbours, its
force is

    f = -g + (g.tau) tau + k (d_next - d_previous) tau,    and for the climbing image f = -g + 2 (g.tau) tau.
"""

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.utils.abc import Optimizable

from ase_spinml import checks
from ase_spinml.errors import InputError
from ase_spinml.landscape.optimizer import DescentLBFGS
from ase_spinml.landscape.path import EnergyPath, check_same_atoms
from ase_spinml.landscape.spheres import TurningCoordinates, logarithm
from ase_spinml.landscape.turning import USUAL_STEP, free_moments, measured_length_scale, spin_gradient
from ase_spinml.moments import MOMENTS, get_moments, unit_rows
from ase_spinml.terms import is_conservative, potential_energy

MAX_TURN = 0.1
"""Turn of a spin, in radians, that counts as the longest step of an optimizer: the forces of a band are no gradient."""


class SpinNEB(Optimizable):
    """Elastic band of magnetic states, as ASE's optimizers see it: ``LBFGS(SpinNEB(images)).run(fmax=1e-4)``.

    ``fmax`` is the largest force on a spin of an inner image, in eV per radian. The end images stay as they are: relax
    them before (:class:`ase_spinml.Relaxation`). Images may share one calculator. Optimizers that search along lines
    need an energy, which a band does not have. FIRE is the sturdiest that works; the default of :meth:`run`,
    :class:`~ase_spinml.landscape.optimizer.DescentLBFGS`, is faster where the springs are soft, as by default.

    Parameters
    ----------
    images : list of ase.Atoms
        M images, at least three, of the same atoms at the same positions (:func:`ase_spinml.interpolate`).
        The moments of inner ones move, in place.
    k : float, optional
        Spring constant in eV/rad^2; by default a tenth of the measured curvature of the energy.
    climb : bool
        Let the highest inner image climb to the saddle. May be switched between runs (attribute ``climb``).
    frozen_moments : array_like, optional
        Indices of, or N booleans for, moments that stay.
    length_scale : float, optional
        Angstrom per radian, as in :class:`ase_spinml.landscape.relaxation.SpinFilter`.

    Attributes
    ----------
    evaluations : int
        States of images evaluated so far.

    Raises
    ------
    InputError
        Fewer than three images, images that differ by more than directions, unusable calculators or parameters.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase_spinml import Anisotropy, SpinNEB, interpolate
    >>> up = Atoms("Fe", magmoms=[[0, 0, 2.2]])
    >>> down = Atoms("Fe", magmoms=[[0, 0, -2.2]])
    >>> up.calc = Anisotropy(uniaxial=0.001)
    >>> band = SpinNEB(interpolate(up, down, 5), climb=True)
    >>> band.run(fmax=1e-6)
    True
    >>> print(round(band.path().barrier(), 6))                 # eV
    0.001
    """

    conservative = False
    """The forces are not the gradient of an energy."""

    def __init__(self, images, k=None, climb=False, frozen_moments=None, length_scale=None):
        if len(images) < 3:
            raise InputError(f"Expected at least 3 images, both ends included, got {len(images)}: use interpolate.")
        for image in images:
            checks.calculator(image, ("energy", "exchange_fields"))
            if not is_conservative(image.calc):
                raise InputError(
                    "Expected exchange fields that derive from an energy, got spin torques of a current or of a model "
                    "among them: a path of lowest energy needs a calculator without."
                )
        check_same_atoms(images)
        self.images, self.climb, self.evaluations = list(images), climb, 0
        self.free = free_moments(images[0], frozen_moments)
        self._lengths = np.linalg.norm(get_moments(images[0]), axis=1)[:, None]
        self._ends = [self._evaluate(image) for image in (images[0], images[-1])]
        self._adopt()
        curvature_scale = self._measured_scale() if length_scale is None or k is None else 1.0
        self.length_scale = curvature_scale if length_scale is None else length_scale
        self.k = 7.0 * curvature_scale**2 if k is None else k
        checks.positive("length_scale", self.length_scale, "Angstrom per radian")
        checks.positive("k", self.k, "eV/rad^2")

    def run(self, fmax=1e-4, steps=2000, optimizer=DescentLBFGS, logfile=None, **kwargs):
        """Relax the band with ``optimizer`` (``kwargs`` go to it) until no spin feels more than ``fmax`` (eV/rad).

        Returns
        -------
        bool
            Whether that was reached within ``steps`` steps.
        """
        checks.positive("fmax", fmax, "eV per radian")
        return bool(optimizer(self, logfile=logfile, **kwargs).run(fmax=fmax, steps=steps))

    def path(self):
        """Energy along the path.

        Returns
        -------
        EnergyPath
            Distances, energies and slopes of the images, the interpolated curve and its barrier.
        """
        energies, gradients = self._band()
        steps = [self._towards(i, i + 1) for i in range(len(self.images) - 1)]
        widths = np.array([np.linalg.norm(step) for step in steps])
        slopes = [np.vdot(gradients[0], steps[0]) / widths[0]]
        slopes += [np.vdot(g, t) for g, t in zip(gradients[1:-1], self._tangents(energies)[0], strict=True)]
        slopes += [-np.vdot(gradients[-1], self._towards(-1, -2)) / widths[-1]]
        return EnergyPath(np.append(0.0, np.cumsum(widths)), energies, slopes)

    @property
    def saddle(self):
        """The highest inner image; with ``climb``, once converged, the saddle."""
        return self.images[1 + int(np.argmax(self._band()[0][1:-1]))]

    def ndofs(self):
        """Number of coordinates: three per atom and inner image."""
        return 3 * len(self.images[0]) * (len(self.images) - 2)

    def get_x(self):
        """Turned-through angles of all inner images times ``length_scale``, flat, in Angstrom."""
        self._follow()
        return self.length_scale * self.coordinates.x.ravel()

    def set_x(self, x):
        """Turn the spins of the inner images to the coordinates ``x``."""
        self._follow()
        self._turn_to(x.reshape(-1, 3) / self.length_scale)

    def get_gradient(self):
        """Minus the force of the band in the coordinates ``x``, flat, in eV/Angstrom."""
        return -self.coordinates.components(self.forces().reshape(-1, 3)).ravel() / self.length_scale

    def get_value(self):
        """Energy of the highest inner image in eV."""
        return float(self._band()[0][1:-1].max())

    def gradient_norm(self, gradient):
        """Longest row, weighted so that the longest step of an optimizer is a tenth of a radian."""
        longest = np.linalg.norm(gradient.reshape(-1, 3), axis=1).max()
        return longest * USUAL_STEP / (MAX_TURN * self.length_scale)

    def converged(self, gradient, fmax):
        """Whether the force on every spin is below ``fmax`` in eV per radian."""
        return bool(np.linalg.norm(gradient.reshape(-1, 3), axis=1).max() * self.length_scale < fmax)

    def iterimages(self):
        """Images with their energies, for trajectories."""
        for image, energy in zip(self.images, self._band()[0], strict=True):
            frame = image.copy()
            frame.calc = SinglePointCalculator(frame, energy=energy)
            yield frame

    def forces(self):
        """Forces of the band on the spins of inner images, (M - 2, N, 3), perpendicular to them, in eV per radian."""
        energies, gradients = self._band()
        tangents, before, after = self._tangents(energies)
        forces = []
        highest = int(np.argmax(energies[1:-1]))
        for number, (gradient, tangent) in enumerate(zip(gradients[1:-1], tangents, strict=True)):
            along = np.vdot(gradient, tangent)
            pull = along if self.climb and number == highest else self.k * (after[number] - before[number])
            forces.append(-gradient + (along + pull) * tangent)
        return np.array(forces)

    def _tangents(self, energies):
        """Unit tangents of the inner images (M - 2, N, 3), distances to the previous and to the next image (M - 2,)."""
        tangents, before, after = [], [], []
        for i in range(1, len(self._spins) - 1):
            back, ahead = self._towards(i, i - 1), self._towards(i, i + 1)
            tangent = _upwind(-back, ahead, *energies[i - 1 : i + 2])
            tangents.append(tangent / np.linalg.norm(tangent))
            before.append(np.linalg.norm(back))
            after.append(np.linalg.norm(ahead))
        return np.array(tangents), before, after

    def _towards(self, i, j):
        """Tangent rows at image i that lead to image j; zero for frozen moments."""
        return np.where(self.free[:, None], logarithm(self._spins[i], self._spins[j]), 0.0)

    def _band(self):
        """Energies (M,) and spin gradients (M, N, 3) of all images; inner ones are evaluated when they have moved."""
        self._follow()
        if self._inner is None:
            self._inner = [self._evaluate(image) for image in self.images[1:-1]]
        states = [self._ends[0], *self._inner, self._ends[1]]
        return np.array([energy for energy, _ in states]), np.array([gradient for _, gradient in states])

    def _evaluate(self, image):
        self.evaluations += 1
        gradient = spin_gradient(image, self._lengths, unit_rows(get_moments(image)), self.free)
        return potential_energy(image), gradient

    def _adopt(self):
        """Take the directions from the images."""
        moments = [get_moments(image) for image in self.images]
        self._written = moments
        self._spins = [unit_rows(rows) for rows in moments]
        self.coordinates = TurningCoordinates(np.concatenate(self._spins[1:-1]))
        self._inner = None

    def _follow(self):
        """Start anew from moments that someone else has changed."""
        if not all(np.array_equal(a.arrays.get(MOMENTS), b) for a, b in zip(self.images, self._written, strict=True)):
            self._ends = [self._evaluate(image) for image in (self.images[0], self.images[-1])]
            self._adopt()

    def _turn_to(self, x):
        turned = self.coordinates.move(x).reshape(len(self.images) - 2, -1, 3)
        for number, spins in enumerate(turned, 1):
            moments = np.where(self.free[:, None], self._lengths * spins, self._written[number])
            self._written[number], self._spins[number] = moments, spins
            self.images[number].arrays[MOMENTS] = moments.copy()
        self._inner = None

    def _measured_scale(self):
        """Length scale of the middle image."""
        middle = self.images[len(self.images) // 2].copy()
        middle.calc = self.images[len(self.images) // 2].calc
        coordinates = TurningCoordinates(unit_rows(get_moments(middle)))

        def gradient_at(x):
            middle.arrays[MOMENTS] = self._lengths * coordinates.move(x)
            return coordinates.components(self._evaluate(middle)[1])

        return measured_length_scale(coordinates, gradient_at)


def _upwind(back, ahead, previous, energy, following):
    """Improved tangent: towards the higher neighbour, at extrema both weighted by their energy differences."""
    if following > energy > previous:
        return ahead
    if following < energy < previous:
        return back
    larger = max(abs(following - energy), abs(previous - energy))
    smaller = min(abs(following - energy), abs(previous - energy))
    if larger == 0.0:
        return ahead + back
    return larger * ahead + smaller * back if following > previous else smaller * ahead + larger * back
