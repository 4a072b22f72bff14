"""A made-up crystal of moments in place of electrons, minimized with VASP's penalties: what a run would print."""

import numpy as np
from scipy.optimize import minimize

from ase_spinml.moments import unit_rows


class Electrons:
    """E0(M) = sum_i a (|m_i|^2 - m0^2)^2 + sum_ij J_ij m_i.m_j + D m_0 x m_1 + sum_i b_i.m_i, in eV with M in mu_B."""

    def __init__(self, n=3, seed=0):
        rng = np.random.default_rng(seed)
        self.coupling = 0.04 * rng.normal(size=(n, n))
        self.field = 0.05 * rng.normal(size=(n, 3))
        self.dmi = 0.02 * rng.normal(size=3)
        self.n = n
        self._solved = {}

    def energy(self, moments):
        m = np.reshape(moments, (self.n, 3))
        lengths = np.sum(m**2, axis=1)
        pairs = np.sum(self.coupling * (m @ m.T)) + self.dmi @ np.cross(m[0], m[1])
        return 0.05 * np.sum((lengths - 4.0) ** 2) + pairs + np.sum(self.field * m)

    def gradient(self, moments, step=1e-5):
        """dE0/dM by central differences, (n, 3)."""
        flat = np.ravel(moments)
        out = np.zeros_like(flat)
        for k in range(len(flat)):
            shift = step * np.eye(len(flat))[k]
            out[k] = (self.energy(flat + shift) - self.energy(flat - shift)) / (2 * step)
        return out.reshape(self.n, 3)

    def solve(self, mode, lam, targets):
        """Moments (n, 3), penalty E_p, and P = lambda*MW_perp (n, 3) at the minimum of E0 + E_p.

        Rows of ``targets`` that are zero are not constrained.
        """
        key = mode, lam, targets.tobytes()
        if key not in self._solved:
            self._solved[key] = self._solve(mode, lam, targets)
        return self._solved[key]

    def _solve(self, mode, lam, targets):
        axes, constrained = unit_rows(targets), targets.any(axis=1)[:, None]
        known = np.where(constrained, targets, 2.0 * axes)

        def across(m):
            return np.where(constrained, m - np.sum(m * axes, axis=1)[:, None] * axes, 0.0)

        def penalty(flat):
            m = flat.reshape(self.n, 3)
            if mode == 1:
                return lam * np.sum(across(m) ** 2)
            if mode == 2:
                return lam * np.sum(np.where(constrained, m - known, 0.0) ** 2)
            return lam * np.sum((np.linalg.norm(m, axis=1) - np.sum(m * axes, axis=1)) * constrained[:, 0])

        start = np.where(constrained, 1.9 * axes, 1.0).ravel()
        for scale in (0.3, 1.0):  # weaker ones let a moment of mode 1 turn over
            done = minimize(lambda x, s=scale: self.energy(x) + s * penalty(x), start, method="BFGS", tol=1e-10)
            start = done.x
        m = start.reshape(self.n, 3)
        printed = {1: lam * across(m), 2: lam * (m - known), 4: lam * across(unit_rows(m))}[mode]
        return m, penalty(start), np.where(constrained, printed, 0.0)
