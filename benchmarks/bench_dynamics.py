"""Model evaluations per femtosecond and energy drift of coupled NVE dynamics against the time step.

    python benchmarks/bench_dynamics.py                      # an iron-like test system, analytic
    python benchmarks/bench_dynamics.py --model fe.model     # a saved model
    python benchmarks/bench_dynamics.py --timesteps 1 2 --picoseconds 10
    python benchmarks/bench_dynamics.py --integrator depondt --timesteps 0.25 0.5

54 atoms of bcc iron, lattice and spins brought to 300 K by both baths at first. Evaluations are fields and forces
together, one force evaluation per step included; "plain" is the same step by fixed-point iteration. The drift is the
slope of a straight line through the total energy, with its standard error from the ten tenths of the run.
"""

import argparse
import time

import numpy as np
from ase import units
from ase.build import bulk
from ase.calculators.calculator import BaseCalculator

from ase_spinml import SpinLatticeDynamics, get_moments, set_moments
from ase_spinml.dynamics.llg import midpoint_rotation
from ase_spinml.moments import cone, get_spins, transverse
from ase_spinml.neighbors import NeighborList
from ase_spinml.units import GYROMAGNETIC_RATIO


class IronLike(BaseCalculator):
    """Springs and exchange about as strong as in iron, with fields that are neither linear nor pairwise in the spins.

    E = sum over pairs of k/2 (r - r0)^2 - A/3 sum_i (x_i + 0.1 x_i^2), x_i = sum_j w(r_ij) [c_ij + c_ij^2/2],
    c_ij = e_i.e_j, w(r) a cosine falling to zero between the second and the third shell; A in eV.
    """

    implemented_properties = ["energy", "forces", "exchange_fields"]
    reach, amplitude = 3.6, 0.08

    def __init__(self, atoms):
        super().__init__()
        self.neighbours = NeighborList(self.reach + 0.4)  # found once: a crystal at 300 K
        self.neighbours.update(atoms.positions, atoms.cell.array, atoms.pbc)
        self.rests = np.linalg.norm(self.neighbours.vectors(atoms.positions, atoms.cell.array), axis=1)

    def calculate(self, atoms, properties, system_changes):
        vectors = self.neighbours.vectors(atoms.positions, atoms.cell.array)
        i, j, n = self.neighbours.i, self.neighbours.j, len(atoms)
        moments, spins = get_moments(atoms), get_spins(atoms)
        r = np.linalg.norm(vectors, axis=1)
        inside, phase = r < self.reach, np.pi * r / self.reach
        weight = np.where(inside, 0.5 * (1 + np.cos(phase)), 0.0)
        slope = np.where(inside, -0.5 * np.pi / self.reach * np.sin(phase), 0.0)
        c = np.einsum("ia,ia->i", spins[i], spins[j])
        x = _scatter(weight * (c + 0.5 * c**2), n, i) + _scatter(weight * (c + 0.5 * c**2), n, j)
        energies = -self.amplitude / 3 * (x + 0.1 * x**2)
        by_site = -self.amplitude / 3 * (1 + 0.2 * x)
        by_bond = by_site[i] + by_site[j]
        stretch = r - self.rests
        spring = 1.5 * (self.rests < 3.0)
        radial = spring * stretch + by_bond * slope * (c + 0.5 * c**2)
        pull = (radial / r)[:, None] * vectors
        gradient = (by_bond * weight * (1 + c))[:, None]
        torque = -_scatter(gradient * spins[j], n, i) - _scatter(gradient * spins[i], n, j)
        self.results = {
            "energy": float(energies.sum() + 0.5 * np.sum(spring * stretch**2)),
            "forces": _scatter(pull, n, i) - _scatter(pull, n, j),
            "exchange_fields": transverse(torque, spins) / np.linalg.norm(moments, axis=1)[:, None],
        }


def _scatter(values, n, index):
    out = np.zeros((n, *values.shape[1:]))
    np.add.at(out, index, values)
    return out


def thermal_iron(model, steps):
    """54 atoms of bcc iron at 300 K, with their calculator."""
    rng = np.random.default_rng(0)
    atoms = bulk("Fe", cubic=True) * 3
    set_moments(atoms, 2.2 * cone(np.tile([0.0, 0.0, 1.0], (len(atoms), 1)), 25, rng))
    if model is None:
        atoms.calc = IronLike(atoms)
    else:
        from ase_spinml import SpinCalculator

        atoms.calc = SpinCalculator(model)
    atoms.set_momenta(np.sqrt(units.kB * 300 * atoms.get_masses())[:, None] * rng.standard_normal((len(atoms), 3)))
    bath = {"temperature_K": 300, "friction": 0.01 / units.fs, "damping": 0.1, "rng": rng}
    SpinLatticeDynamics(atoms, units.fs, **bath).run(steps)
    momenta = atoms.get_momenta()
    atoms.set_momenta(momenta - momenta.mean(axis=0))
    return atoms


def plain_evaluations(atoms, timestep):
    """Fields that fixed-point iteration needs for one spin step from the present state, to 1e-12."""
    trial, lengths = atoms.copy(), np.linalg.norm(get_moments(atoms), axis=1)[:, None]
    spins = middle = get_spins(atoms)
    for count in range(1, 200):
        set_moments(trial, lengths * middle)
        field = atoms.calc.get_property("exchange_fields", trial)
        previous, middle = middle, midpoint_rotation(spins, GYROMAGNETIC_RATIO * timestep * field)[0]
        if np.abs(middle - previous).max() < 1e-12:
            return count
    return count


def measure(atoms, timestep_fs, picoseconds, integrator):
    """One NVE run; prints its line of the table."""
    atoms = _copy(atoms)
    plain = plain_evaluations(atoms, timestep_fs * units.fs) + 1
    dyn = SpinLatticeDynamics(atoms, timestep_fs * units.fs, integrator=integrator)
    dyn.run(50)
    start, energies, before, clock = get_moments(atoms), [], dyn.evaluations, time.perf_counter()
    dyn.attach(lambda: energies.append(1e3 * atoms.get_total_energy() / len(atoms)))
    steps = round(1e3 * picoseconds / timestep_fs)
    dyn.run(steps)
    clock = time.perf_counter() - clock
    times = np.arange(len(energies)) * timestep_fs / 1e3
    drift = np.polyfit(times, energies, 1)[0]
    residuals = (energies - np.polyval(np.polyfit(times, energies, 1), times))[: len(times) // 10 * 10]
    error = residuals.reshape(10, -1).mean(axis=1).std() * np.sqrt(1.2) / picoseconds
    lengths = [np.linalg.norm(m, axis=1) for m in (start, get_moments(atoms))]
    per_step = (dyn.evaluations - before) / steps
    print(
        f"{timestep_fs:7.2f} {plain / timestep_fs:9.1f} {per_step:10.2f} {per_step / timestep_fs:9.2f} "
        f"{drift:12.5f} {error:9.5f} {np.std(energies):10.4f} {np.abs(lengths[1] - lengths[0]).max():10.1e} "
        f"{1e3 * clock / steps:8.1f}",
        flush=True,
    )


def _copy(atoms):
    copy = atoms.copy()
    copy.calc = atoms.calc
    return copy


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="saved model; without it an analytic iron-like system")
    parser.add_argument("--timesteps", type=float, nargs="+", default=[0.5, 1.0, 1.5, 2.0, 3.0], help="fs")
    parser.add_argument("--picoseconds", type=float, default=2.0, help="length of each run")
    parser.add_argument("--equilibration", type=int, default=1000, help="steps of 1 fs with both baths")
    parser.add_argument("--integrator", default="midpoint", help="of the spins: midpoint, sib, depondt or heun")
    options = parser.parse_args()
    atoms = thermal_iron(options.model, options.equilibration)
    field = np.linalg.norm(atoms.calc.get_property("exchange_fields", atoms), axis=1) * GYROMAGNETIC_RATIO * units.fs
    order = np.linalg.norm(get_spins(atoms).mean(axis=0))
    print(f"order |<e>| {order:.3f}, transverse field {field.mean():.3f} rad/fs on average, {field.max():.3f} at most")
    print("                plain       with      with         drift           deviation   change of")
    print(" dt[fs]  evals/fs  evals/step  evals/fs   [meV/atom/ps]   +-   [meV/atom]   |m|[muB]  ms/step")
    for timestep in options.timesteps:
        measure(atoms, timestep, options.picoseconds, options.integrator)


if __name__ == "__main__":
    main()
