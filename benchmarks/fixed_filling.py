"""Learned electrons at a fixed number: a model of the grand potential whose chemical potential is found in every step.

    OMP_NUM_THREADS=1 python benchmarks/fixed_filling.py > docs/results/fixed_filling.txt    # two minutes on one core

Square lattice, 10 x 10 sites, J = 7 t, n = 0.97, electrons at 0.05 t, as in tutorial 13. The network learns the grand
potential Omega(mu) and the fields of snapshots of exact quenches, each at its own chemical potential mu and at two
others near by; mu is a parameter of its descriptor. In its quenches mu follows from N = -dOmega/dmu. No snapshot is of
the model's own quenches.
"""

import argparse

import numpy as np
from ase import units
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator

from ase_spinml import LatticeDescriptor, SDModel, SpinDynamics, SpinNN
from ase_spinml.analysis import clusters, correlation, neighbour_products
from ase_spinml.electrons import spin_lattice

PHYSICS = {"coupling": 7.0, "temperature": 0.05}
FILLING, SIDE, BATH = 0.97, 10, 0.01
TIMES = (5, 11, 24, 51, 75, 111, 163, 240)
STEP = 0.05
"""Difference of chemical potentials between which Omega is differentiated."""


class FixedNumber(Calculator):
    """Fields of a model of the grand potential at the chemical potential of a number of electrons."""

    implemented_properties = ["exchange_fields"]

    def __init__(self, model, mu):
        super().__init__()
        self.model, self.mu = model, mu

    def potential(self, atoms, mu):
        atoms.info["mu"] = mu
        return self.model.predict(atoms)["energy"]

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        frame = atoms.copy()
        low, here, high = (self.potential(frame, self.mu + shift) for shift in (-STEP, 0.0, STEP))
        missing = FILLING * len(atoms) + (high - low) / (2 * STEP)
        slope = max(-(high - 2 * here + low) / STEP**2, 0.01 * len(atoms))
        self.mu += np.clip(missing / slope, -0.1, 0.1)  # one step of Newton; the next one starts from here
        frame.info["mu"] = self.mu
        self.results = {"exchange_fields": self.model.predict(frame)["exchange_fields"]}


def quench(calc, seed):
    """Frames at TIMES, of random spins in a cold bath."""
    atoms = spin_lattice("square", (SIDE, SIDE), "random", rng=seed)
    atoms.calc = calc
    bath = {"temperature_K": BATH / units.kB, "damping": 0.1, "rng": seed}
    dynamics = SpinDynamics(atoms, 1.0, **bath, gyromagnetic_ratio=1.0, integrator="depondt", progress=False)
    frames = []
    for until in TIMES:
        dynamics.run(until - dynamics.nsteps)
        frames.append(atoms.copy())
    return frames


def chemical_potential(frame):
    return float(SDModel(**PHYSICS, filling=FILLING).get_property("chemical_potential", frame))


def labelled(frame, mu):
    """A copy with the grand potential and the fields at mu."""
    calc = SDModel(**PHYSICS, chemical_potential=mu)
    copy = frame.copy()
    copy.info["mu"] = mu
    copy.arrays["exchange_fields"] = calc.get_property("exchange_fields", frame)
    copy.calc = SinglePointCalculator(copy, energy=calc.get_property("energy", frame))
    return copy


def observables(frame):
    """C(r) at distances up to 4, and before them the number of clusters and their sites per 100 sites."""
    r, c = correlation(frame)
    sizes = clusters(frame, neighbour_products(frame, 1.1) > -0.25, 1.1)
    return np.array([100 * len(sizes) / len(frame), 100 * sizes.sum() / len(frame), *c[(r > 0.5) & (r < 4.01)]])


def report(exact, learned):
    """Table of means and standard errors over quenches."""
    values = [np.array([[observables(frame) for frame in run] for run in runs]) for runs in (exact, learned)]
    (a, b), (da, db) = ([f(part) for part in values] for f in (mean, error))
    differences = np.abs(b - a)[:, 2:] / np.hypot(da, db)[:, 2:]
    print("exact, learned: clusters per 100 sites, sites in them per 100, S.S of neighbours; C(r) apart in errors")
    for k, time in enumerate(TIMES):
        row = "".join(f"{a[k, m]:>9.2f}({da[k, m]:.2f}){b[k, m]:>7.2f}({db[k, m]:.2f})" for m in range(3))
        print(f"time {time:>4}{row}   largest {differences[k].max():.1f}")
    print(f"C(r, t): rms {np.sqrt(np.mean(differences**2)):.2f}, largest {differences.max():.2f} standard errors")


def mean(values):
    return values.mean(axis=0)


def error(values):
    return values.std(axis=0, ddof=1) / np.sqrt(len(values))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--training", type=int, default=8, help="quenches to learn from")
    parser.add_argument("--seeds", type=int, default=4, help="quenches to compare")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    electrons = SDModel(**PHYSICS, filling=FILLING)
    snapshots = [frame for seed in range(options.training) for frame in quench(electrons, 1000 + seed)]
    training = [
        labelled(frame, chemical_potential(frame) + shift)
        for frame in snapshots
        for shift in (0.0, *rng.uniform(-0.4, 0.4, 2))
    ]
    model = SpinNN(
        LatticeDescriptor(2.0, 1.0, parameters=["mu"]),
        epochs=25,
        batch_frames=8,
        sigma_energy=1e-4,
        sigma_field=1e-3,
        progress=False,
    ).fit(training)
    exact = [quench(electrons, seed) for seed in range(options.seeds)]
    unseen = [labelled(frame, chemical_potential(frame)) for run in exact for frame in run]
    found = model.evaluate(unseen)
    print(f"held-out quenches at their mu: fields {(found['field_rmse'] / 7) ** 2:.1e} J^2 mean squared error", end="")
    print(f", Omega {found['energy_rmse']:.1e} t per site", flush=True)
    report(exact, [quench(FixedNumber(model, -4.75), seed) for seed in range(options.seeds)])
