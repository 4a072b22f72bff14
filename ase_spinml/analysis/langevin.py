"""Samples of spins at a temperature: Langevin steps of all spins at once, accepted or refused after Metropolis.

A step is that of overdamped Langevin dynamics, the stochastic Landau-Lifshitz-Gilbert equation at large damping:

    e_i -> exp_e(v_i),    v_i = (s^2/2) F_i/(k_B T) + s xi_i,    F_i = -dE/de_i = m_i H_i,

with normal numbers xi_i in the tangent plane and s in radians. It is accepted with the probability

    min(1, exp[-(E' - E)/(k_B T)] q(e' -> e)/q(e -> e')),    -ln q = sum_i |v_i - (s^2/2) F_i/(k_B T)|^2 / (2 s^2),

where the way back starts with minus v_i carried along its geodesic. Lengths of the two are the same and so are the
areas they span, so nothing else enters q: averages are those of Boltzmann's weight whatever s is. Each step asks once
for the fields and the energy of one state, which models compute together, and which single-spin algorithms would need
for every spin.

Source: G. O. Roberts and J. S. Rosenthal, J. R. Stat. Soc. B 60, 255 (1998), who also find that 57 % of the steps
should be accepted; M. Girolami and B. Calderhead, ibid. 73, 123 (2011), on curved spaces.
"""

import numpy as np
from ase import units

from ase_spinml.landscape.spheres import exponential
from ase_spinml.moments import FIELDS, get_moments, get_spins, set_moments, transverse

ACCEPTED = 0.57
START = 0.1
"""First guess of s in radians."""


class LangevinSampler:
    """A chain of states of the moments of ``atoms``, whose lengths stay as they are.

    Parameters
    ----------
    atoms : ase.Atoms
        With moments and a calculator that gives ``energy`` and ``exchange_fields``; moves to every accepted state.
    temperature_K : float
    rng : numpy.random.Generator

    Attributes
    ----------
    energy : float
        Of the present state in eV.
    angle : float
        s in radians.
    acceptance : float
        Share of steps accepted by the last :meth:`run`.
    """

    def __init__(self, atoms, temperature_K, rng):
        self.atoms, self.rng = atoms, rng
        self._thermal_energy = units.kB * temperature_K
        self._lengths = np.linalg.norm(get_moments(atoms), axis=1)[:, None]
        self._trial = atoms.copy()
        self._trial.calc = atoms.calc
        self.angle, self.acceptance = START, 0.0
        self.spins = get_spins(atoms)
        self.energy, self._pull = self._evaluate(self.spins)

    def run(self, steps, adapt=False):
        """Make ``steps`` steps; with ``adapt``, fit s to the acceptance on the way, which spoils the averages."""
        accepted = 0
        for k in range(steps):
            probability = self._step()
            accepted += probability[1]
            if adapt:
                self.angle *= np.exp((probability[0] - ACCEPTED) / np.sqrt(k + 4))
        self.acceptance = accepted / steps
        set_moments(self.atoms, self._lengths * self.spins)

    def _step(self):
        """One step; the probability to accept it, and whether it was."""
        half = 0.5 * self.angle**2
        random = self.angle * transverse(self.rng.standard_normal(self.spins.shape), self.spins)
        tangents = half * self._pull + random
        spins = exponential(self.spins, tangents)
        energy, pull = self._evaluate(spins)
        back = -carried(self.spins, tangents) - half * pull
        gain = (self.energy - energy) / self._thermal_energy
        gain += (np.sum(random**2) - np.sum(back**2)) / (2 * self.angle**2)
        probability = float(np.exp(min(gain, 0.0))) * bool((np.sum(tangents**2, axis=1) < np.pi**2).all())
        accepted = self.rng.random() < probability
        if accepted:
            self.spins, self.energy, self._pull = spins, energy, pull
        return probability, accepted

    def _evaluate(self, spins):
        """Energy in eV, and F/(k_B T) (N, 3)."""
        set_moments(self._trial, self._lengths * spins)
        fields = self._trial.calc.get_property(FIELDS, self._trial)
        energy = self._trial.calc.get_property("energy", self._trial)
        return energy, transverse(self._lengths * fields, spins) / self._thermal_energy


def carried(spins, tangents):
    """Tangent rows (N, 3) carried along their own geodesics to where these end: cos|v| v - |v| sin|v| e."""
    angle = np.linalg.norm(tangents, axis=1, keepdims=True)
    return np.cos(angle) * tangents - angle * np.sin(angle) * spins
