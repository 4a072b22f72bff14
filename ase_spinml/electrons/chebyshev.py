"""Chebyshev series of functions of energy: coefficients, kernels, and sums over a density of states known by moments.

Energies E in [b - a, b + a] are x = (E - b)/a. A function g(E) = sum_m c_m T_m(x) has the trace
Tr g(H) = sum_m c_m mu_m with the moments mu_m = Tr T_m((H - b)/a). Cutting the series off at Mc terms makes it ring
where g is not smooth on the scale a pi / Mc; a kernel g_m damps the coefficients against that.

Source: A. Weisse, G. Wellein, A. Alvermann and H. Fehske, Rev. Mod. Phys. 78, 275 (2006).
"""

from dataclasses import dataclass

import numpy as np
from scipy.fft import dct

from ase_spinml.electrons.ensemble import find_chemical_potential, grand_potential, occupations

RESOLVED = 4.0
"""pi Mc T / a above which Fermi's function is smooth for a series of Mc terms, and needs no kernel."""
MOST_POINTS = 2**20
"""Of the grid on which coefficients are computed."""


@dataclass(frozen=True)
class Series:
    """Series of ``n_moments`` terms on the energies between ``low`` and ``high`` at a temperature.

    ``kernel`` is "jackson", "dirichlet" (none), or None for the latter where it will do: with Dirichlet's kernel the
    error falls as exp(-pi Mc T / a); Jackson's gives a density of states that is nowhere negative, with levels as
    Gaussians of deviation pi a / Mc.
    """

    n_moments: int
    low: float
    high: float
    temperature: float
    kernel: str | None = None

    @property
    def half_width(self):
        """a."""
        return 0.5 * (self.high - self.low)

    @property
    def middle(self):
        """b."""
        return 0.5 * (self.high + self.low)

    @property
    def damping(self):
        """Kernel g_m, (Mc,)."""
        resolved = np.pi * self.n_moments * self.temperature / self.half_width >= RESOLVED
        if self.kernel == "dirichlet" or (self.kernel is None and resolved):
            return np.ones(self.n_moments)
        return jackson_kernel(self.n_moments)

    def weights(self, chemical_potential, potential=True):
        """g_m c_m of the grand potential per level, or of the occupation if not ``potential``; (Mc,)."""
        if self.temperature == 0:
            coefficients = step_coefficients(self._scaled(chemical_potential), self.n_moments, potential)
            return self.damping * coefficients * (self.half_width if potential else 1.0)
        function = grand_potential if potential else occupations
        n = min(max(2 * self.n_moments, int(6 * self.half_width / self.temperature)), MOST_POINTS)
        energies = self.middle + self.half_width * np.cos(np.pi * (np.arange(n) + 0.5) / n)
        coefficients = dct(function(energies, chemical_potential, self.temperature)) / n
        coefficients[0] *= 0.5
        return self.damping * coefficients[: self.n_moments]

    def solve(self, moments, ensemble):
        """Chemical potential, number of electrons and energy (F or Omega) for the moments (Mc,) of all levels."""

        def count(chemical_potential):
            return float(self.weights(chemical_potential, potential=False) @ moments)

        mu = ensemble.chemical_potential
        if ensemble.n_electrons is not None:
            bounds = (self.low, self.high)
            mu = find_chemical_potential(count, ensemble.n_electrons, moments[0], bounds, self.temperature)
        energy = float(self.weights(mu) @ moments)
        return mu, count(mu), energy + (0.0 if ensemble.n_electrons is None else mu * ensemble.n_electrons)

    def density_of_states(self, moments, points):
        """Energies and levels per energy, with Jackson's kernel, (points,) each."""
        angles = np.pi * (np.arange(points) + 0.5) / points
        terms = jackson_kernel(self.n_moments) * moments
        series = terms[0] + 2.0 * np.cos(np.outer(angles, np.arange(1, self.n_moments))) @ terms[1:]
        density = series / (np.pi * self.half_width * np.sin(angles))
        return (self.middle + self.half_width * np.cos(angles))[::-1], density[::-1]

    def _scaled(self, energy):
        return np.clip((energy - self.middle) / self.half_width, -1.0, 1.0)


def jackson_kernel(n):
    """Jackson's g_m, (n,): the kernel of the smallest mean square width among those that are nowhere negative."""
    m, q = np.arange(n), np.pi / (n + 1)
    return ((n - m + 1) * np.cos(q * m) + np.sin(q * m) / np.tan(q)) / (n + 1)


def step_coefficients(x, n, potential):
    """Coefficients (n,) of the step that is 1 below ``x``, or of min(x' - x, 0) if ``potential``, in closed form."""
    m, angle = np.arange(1, n), np.arccos(x)
    step = np.concatenate([[1.0 - angle / np.pi], -2.0 / np.pi * np.sin(m * angle) / m])
    if not potential:
        return step
    # x' times the step: its coefficients are half the sum of the neighbouring ones of the step
    longer = np.concatenate([step, -2.0 / np.pi * np.sin([n * angle]) / n])
    product = np.empty(n)
    product[0] = 0.5 * longer[1]
    product[1:] = 0.5 * (longer[:-2] + longer[2:])
    product[1] += 0.5 * longer[0]
    return product - x * step
