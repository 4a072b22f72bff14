"""Limited-memory BFGS that never goes up, as an optimizer of ASE."""

import numpy as np
from ase.optimize.optimize import Optimizer

MAX_CUTS = 10
"""Times a step is shortened before it is taken as it is: forces and energy then disagree."""


class DescentLBFGS(Optimizer):
    """LBFGS with a bound on every step and no step that raises the energy; one evaluation per step.

    ASE's LBFGS takes its quasi-Newton step whatever comes of it, and from random spins, or with a poor guess of the
    curvature, it may wander for ever. Here a trial that fails Armijo's test E(x + t p) <= E(x) + 1e-4 t p.g is taken
    back to the minimum of the parabola through it (a tenth to a half of its length). The inverse Hessian begins with
    s.y/y.y of the last accepted step (J. Nocedal and S. J. Wright, Numerical Optimization, 2nd ed., chapter 7.2), and
    steps of negative curvature, s.y <= 0, are not remembered, so every direction leads down. Elastic bands
    (``conservative = False``) have no energy to lower: they go without the test.

    Parameters
    ----------
    atoms : ase.Atoms, filter or band
        What moves.
    restart : None
        Not offered.
    logfile, trajectory, **kwargs
        As for ASE's optimizers.
    memory : int
        Steps remembered.
    maxstep : float
        Longest step of an atom in Angstrom; of a spin it is half a radian.
    alpha : float
        Curvature in eV/Angstrom^2 to begin with.
    """

    def __init__(
        self,
        atoms,
        restart=None,
        logfile="-",
        trajectory=None,
        memory=30,
        maxstep=None,
        alpha=70.0,
        **kwargs,
    ):
        super().__init__(atoms, None, logfile, trajectory, **kwargs)
        self.memory, self.alpha = memory, alpha
        self.descend = getattr(self.optimizable, "conservative", True)
        self.maxstep = self.defaults["maxstep"] if maxstep is None else maxstep

    def initialize(self):
        """Forget everything."""
        self._pairs = []  # (s, y, 1/s.y) of accepted steps
        self._trial = None  # x, gradient, energy before the trial step, the step, where it led, how often shortened

    def step(self):
        """Judge the last trial step, then make the next one or a shorter one."""
        x, gradient = self.optimizable.get_x(), self.optimizable.get_gradient()
        energy = self.optimizable.get_value() if self.descend else 0.0
        if self._trial is not None and not np.array_equal(x, self._trial[4]):  # somebody else has moved the atoms
            self.initialize()
        if self._trial is not None:
            start, before_gradient, before, step, _, cuts = self._trial
            slope = step @ before_gradient
            noise = 1e-10 * max(1.0, abs(before))
            if self.descend and energy > before + 1e-4 * slope + noise and cuts < MAX_CUTS:
                shorter = -0.5 * slope / (energy - before - slope)
                self._try(start, before_gradient, before, min(max(shorter, 0.1), 0.5) * step, cuts + 1)
                return
            self._remember(x - start, gradient - before_gradient)
        self._try(x, gradient, energy, self._limited(self._direction(gradient)), 0)

    def _try(self, x, gradient, energy, step, cuts):
        self.optimizable.set_x(x + step)
        self._trial = (x, gradient, energy, step, self.optimizable.get_x(), cuts)

    def _remember(self, s, y):
        curvature = s @ y
        if curvature > 1e-12 * np.linalg.norm(s) * np.linalg.norm(y):
            self._pairs = [*self._pairs[1 - self.memory :], (s, y, 1.0 / curvature)]

    def _direction(self, gradient):
        """Minus the inverse Hessian times ``gradient``, by the two-loop recursion."""
        q, factors = gradient.copy(), []
        for s, y, rho in reversed(self._pairs):
            factors.append(rho * (s @ q))
            q -= factors[-1] * y
        if self._pairs:
            s, y, rho = self._pairs[-1]
            q /= rho * (y @ y)
        else:
            q /= self.alpha
        for (s, y, rho), factor in zip(self._pairs, reversed(factors), strict=True):
            q += (factor - rho * (y @ q)) * s
        return -q

    def _limited(self, step):
        longest = self.optimizable.gradient_norm(step)
        return step if longest <= self.maxstep else step * (self.maxstep / longest)
