"""Time steps of spin dynamics make spins colder or hotter than their bath; Metropolis steps of any length do not.

    OMP_NUM_THREADS=1 python benchmarks/thermal_bias.py

1500 stars, each of a spin with six neighbours that have no others, J = 1, m = 1, gamma = 1, at k_B T = 1.443 J. Bonds
of a tree are independent, <e_i.e_j> = coth K - 1/K with K = J/kT, so that the energy is a thermometer. The time step dt
is given as w dt, with w = 7 J the fastest precession of the ordered star.
"""

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator

from ase_spinml import set_moments
from ase_spinml.analysis import blocking
from ase_spinml.analysis.langevin import LangevinSampler
from ase_spinml.dynamics.integrators import INTEGRATORS
from ase_spinml.moments import get_spins, random_directions

STARS, NEIGHBOURS, T = 1500, 6, 1.443
FASTEST = NEIGHBOURS + 1
TIME = 40.0


class Stars(BaseCalculator):
    """Exchange of 1 eV in stars."""

    implemented_properties = ["energy", "exchange_fields"]

    def calculate(self, atoms, properties, system_changes):
        spins = get_spins(atoms)
        self.results = {"energy": -bonds(spins).sum(), "exchange_fields": fields(spins)}


def fields(spins):
    """H (N, 3), centre and neighbours of one star after the other."""
    stars = spins.reshape(-1, FASTEST, 3)
    out = np.empty_like(stars)
    out[:, 0], out[:, 1:] = stars[:, 1:].sum(axis=1), stars[:, :1]
    return out.reshape(-1, 3)


def bonds(spins):
    """e_i.e_j of all bonds, (stars, 6)."""
    stars = spins.reshape(-1, FASTEST, 3)
    return (stars[:, :1] * stars[:, 1:]).sum(axis=2)


def shift(series):
    """Relative error of the temperature in percent that the mean bond tells of, and its standard error."""
    coupling, mean = 1 / T, blocking(series)
    exact = 1 / np.tanh(coupling) - 1 / coupling
    slope = (1 / coupling**2 - 1 / np.sinh(coupling) ** 2) * coupling
    return -100 * (mean.value - exact) / slope, 100 * mean.error / slope


def dynamics(name, damping, timestep, rng):
    """Mean bond in time, after a third of the run."""
    spins, series = random_directions(STARS * FASTEST, rng), []
    amplitude = np.sqrt(2 * damping * T / timestep)
    options = {"tolerance": 1e-4} if name == "midpoint" else {}
    for k in range(int(TIME / timestep)):
        noise = amplitude * rng.standard_normal(spins.shape)
        spins, _ = INTEGRATORS[name](spins, fields, timestep, damping, noise, 1.0, **options)
        if k * timestep > TIME / 3:
            series.append(bonds(spins).mean())
    return series


def metropolis(angle, steps, rng):
    """Mean bond in the chain, of eight stars."""
    atoms = Atoms(f"H{8 * FASTEST}", positions=np.zeros((8 * FASTEST, 3)))
    set_moments(atoms, random_directions(len(atoms), rng))
    atoms.calc = Stars()
    sampler, series = LangevinSampler(atoms, T / units.kB, rng), []
    sampler.angle = angle
    sampler.run(500)
    for _ in range(steps // 4):
        sampler.run(4)
        series.append(bonds(sampler.spins).mean())
    return series


def main():
    rng = np.random.default_rng(0)
    print("deviation of the spins' temperature from that of the bath")
    for name, damping in (("depondt", 1.0), ("depondt", 0.3), ("midpoint", 1.0), ("midpoint", 0.1)):
        for turn in (0.28, 0.56):
            found = shift(dynamics(name, damping, turn / FASTEST, rng))
            print(f"{name:>9}, damping {damping}, w dt = {turn}: {found[0]:+6.2f} +- {found[1]:.2f} %", flush=True)
    for angle in (0.2, 0.6):
        found = shift(metropolis(angle, 20_000, rng))
        print(f"Metropolis, steps of {angle} rad per spin: {found[0]:+6.2f} +- {found[1]:.2f} %", flush=True)


if __name__ == "__main__":
    main()
