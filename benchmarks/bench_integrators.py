"""Order, energy drift and thermal bias of the four spin integrators, on a ring with exchange, easy axis and DMI.

    python benchmarks/bench_integrators.py                          # the table
    python benchmarks/bench_integrators.py --figure integrators.png # and the picture

Units: exchange 1, gamma 1, lengths 1. Energies are those of the ring of 16 spins, from a random state.
"""

import argparse

import numpy as np
from ase import units

from ase_spinml.dynamics.integrators import INTEGRATORS
from ase_spinml.dynamics.llg import unit
from ase_spinml.dynamics.solver import MidpointMemory
from ase_spinml.dynamics.thermostats import thermal_field

EASY, TWIST = np.array([0.0, 0.0, 0.3]), np.array([0.0, 0.0, 0.4])
COLOURS = {"midpoint": "#0072B2", "sib": "#009E73", "depondt": "#E69F00", "heun": "#CC79A7"}


def field(spins):
    """Field (N, 3) of the ring."""
    after, before = np.roll(spins, -1, 0), np.roll(spins, 1, 0)
    return after + before + 2 * EASY * spins + np.cross(after, TWIST) + np.cross(TWIST, before)


def energy(spins):
    """Energy of the ring."""
    after = np.roll(spins, -1, 0)
    return -np.sum(spins * after) - np.sum(EASY * spins**2) - np.sum(TWIST * np.cross(spins, after))


def start(n=16):
    """Random unit rows (n, 3)."""
    return unit(np.random.default_rng(0).normal(size=(n, 3)))


def trajectory(name, timestep, steps):
    """Energy error after every step, the last spins, and field evaluations per step."""
    count = 0

    def counted(spins):
        nonlocal count
        count += 1
        return field(spins)

    options = {"memory": MidpointMemory()} if name == "midpoint" else {}
    spins, errors, reference = start(), np.empty(steps), energy(start())
    for step in range(steps):
        spins, _ = INTEGRATORS[name](spins, counted, timestep, gyromagnetic_ratio=1.0, **options)
        errors[step] = energy(spins) - reference
    return errors, spins, count / steps


def thermal_bias(name, timestep, x=3.0, n=10_000, time=20.0):
    """<cos> - (coth x - 1/x) of moments in a field at m B/kT = x, and its standard error."""
    rng = np.random.default_rng(0)
    spins, lengths = start(n), np.ones(n)
    along = x * np.tile([0.0, 0.0, 1.0], (n, 1))
    steps, total = round(time / timestep), 0.0
    for step in range(steps):
        noise = thermal_field(lengths, 1 / units.kB, 0.8, timestep, 1.0, rng)
        options = {"tolerance": 1e-8} if name == "midpoint" else {}
        spins, _ = INTEGRATORS[name](spins, lambda e: along, timestep, 0.8, noise, 1.0, **options)
        if step >= steps // 5:
            total = total + spins[:, 2]
    cosines = total / (steps - steps // 5)
    return cosines.mean() - (1 / np.tanh(x) - 1 / x), cosines.std() / np.sqrt(n)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100_000, help="steps of the long run")
    parser.add_argument("--figure", help="file for the picture of the energy error")
    options = parser.parse_args()

    exact = trajectory("midpoint", 1 / 1280, 1280)[1]
    print("error of the spins after a time of 1 and its order")
    print(f"{'integrator':>12} {'dt=0.05':>10} {'dt=0.025':>10} {'dt=0.0125':>10} {'order':>7}")
    for name in INTEGRATORS:
        errors = [np.abs(trajectory(name, 1 / n, n)[1] - exact).max() for n in (20, 40, 80)]
        order = np.log2(errors[1] / errors[2])
        print(f"{name:>12} " + " ".join(f"{error:10.2e}" for error in errors) + f" {order:7.2f}")

    print("\nlargest energy error at zero damping over a time of 1000")
    print(f"{'integrator':>12} {'dt=0.1':>10} {'dt=0.05':>10} {'dt=0.025':>10} {'evals/step at 0.1':>18}")
    for name in INTEGRATORS:
        runs = [trajectory(name, timestep, round(1000 / timestep)) for timestep in (0.1, 0.05, 0.025)]
        print(f"{name:>12} " + " ".join(f"{np.abs(run[0]).max():10.5f}" for run in runs) + f" {runs[0][2]:18.1f}")

    print(f"\n{options.steps} steps of 0.1 at zero damping: largest energy error in each fifth of the run")
    long = {name: trajectory(name, 0.1, options.steps)[0] for name in INTEGRATORS}
    for name, errors in long.items():
        print(f"{name:>12} " + " ".join(f"{np.abs(part).max():10.4f}" for part in np.array_split(errors, 5)))

    print("\nbias of <cos> of moments in a field at m B/kT = 3, damping 0.8, standard error in brackets")
    print(f"{'integrator':>12} {'dt=0.1':>18} {'dt=0.05':>18} {'dt=0.025':>18}")
    for name in INTEGRATORS:
        biases = [thermal_bias(name, timestep) for timestep in (0.1, 0.05, 0.025)]
        print(f"{name:>12} " + " ".join(f"{bias:9.4f} ({error:.4f})" for bias, error in biases))

    if options.figure:
        draw(long, options.figure)


def draw(long, path):
    """Energy error against time."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.0, 3.4), layout="constrained")
    for name, errors in long.items():
        blocks = np.array_split(np.abs(errors), 400)
        times = 0.1 * len(errors) * (np.arange(400) + 0.5) / 400
        axes.semilogy(times, [block.max() for block in blocks], color=COLOURS[name], label=name, lw=1.5)
    axes.set(xlabel="time (1/exchange)", ylabel="|energy error| (exchange)", xlim=(0, 0.1 * len(errors)))
    axes.legend(frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.15))
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
