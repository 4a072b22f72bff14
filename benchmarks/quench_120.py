"""A quench of the triangular s-d model to its 120 degree order: structure factor and energy against time.

    OMP_NUM_THREADS=1 python benchmarks/quench_120.py --figure docs/figures/quench.png > docs/results/quench_120.txt

24 x 24 sites, half filling, J = 6 t, electrons at T = 0.01 t; random spins, then damping 0.2 and no noise. Fields from
the kernel polynomial method (256 moments, probing 4); at the end, those of exact diagonalisation beside them. S(q) =
|sum_i S_i exp(i q.r_i)|^2 / N^2 is 1/2 at either of K and K' in perfect order; both are added up here. C is the mean
S_i.S_j of neighbours, -1/2 in perfect order.
"""

import argparse
import time

import numpy as np

from ase_spinml import SDModel, SpinDynamics, get_spins
from ase_spinml.electrons import spin_lattice

TIMES = (0, 10, 20, 50, 100, 200, 400, 600, 800, 1000, 1400)


def structure_factor(atoms, side):
    """S(q) on the grid of the reciprocal lattice, (side, side)."""
    waves = np.fft.fft2(get_spins(atoms).reshape(side, side, 3), axes=(0, 1))
    return np.sum(np.abs(waves) ** 2, axis=-1) / side**4


def order(atoms, side):
    """S(K) + S(K') and the mean product of neighbouring spins."""
    factor = structure_factor(atoms, side)
    third = side // 3
    spins = get_spins(atoms).reshape(side, side, 3)
    steps = [(1, 0), (0, 1), (1, -1)]
    products = [np.sum(spins * np.roll(spins, step, (0, 1)), axis=-1).mean() for step in steps]
    return factor[third, 2 * third] + factor[2 * third, third], float(np.mean(products))


def run(side, seed):
    """Quench with a table on the way; returns the frames at TIMES."""
    atoms = spin_lattice("triangular", (side, side), "random", rng=seed)
    perfect = spin_lattice("triangular", (side, side), "120")
    atoms.calc = SDModel(coupling=6.0, filling=1.0, temperature=0.01, solver="kpm", moments=256, probing=4)
    ground = atoms.calc.get_property("energy", perfect) / len(atoms)
    dynamics = SpinDynamics(atoms, 1.0, damping=0.2, gyromagnetic_ratio=1.0, progress=False)
    print("time [1/t]   E - E(120) per site [t]   S(K) + S(K')       C   evaluations")
    frames, start = [], time.process_time()
    for until in TIMES:
        dynamics.run(until - dynamics.nsteps)
        peak, product = order(atoms, side)
        above = atoms.get_potential_energy() / len(atoms) - ground
        print(f"{until:>10}{above:>26.4f}{peak:>15.3f}{product:>8.3f}{dynamics.evaluations:>14}", flush=True)
        frames.append(atoms.copy())
    print(f"{(time.process_time() - start) / 60:.1f} minutes of processor time")
    exact, estimated = SDModel(), atoms.calc
    fields = [calc.get_property("exchange_fields", frames[4]) for calc in (exact, estimated)]
    error = np.linalg.norm(fields[1] - fields[0], axis=1).mean() / np.linalg.norm(fields[0], axis=1).mean()
    print(f"relative error of the fields at time {TIMES[4]}: {error:.1e}")
    return frames


def draw(frames, side, path):
    """Vector chirality of the triangles, and the structure factor, at four times."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    chosen = [0, 3, 5, len(frames) - 1]
    figure, axes = plt.subplots(2, 4, figsize=(10, 4.6), layout="constrained", height_ratios=(0.62, 1))
    for (upper, lower), k in zip(axes.T, chosen, strict=True):
        spins = get_spins(frames[k]).reshape(side, side, 3)
        a, b, c = spins, np.roll(spins, -1, 0), np.roll(spins, -1, 1)
        chirality = np.linalg.norm(np.cross(a, b) + np.cross(b, c) + np.cross(c, a), axis=-1) * 2 / (3 * np.sqrt(3))
        x, y = frames[k].positions[:, :2].T
        dots = upper.scatter(x, y, c=chirality.ravel(), s=5000 / side**2, cmap="viridis", vmin=0, vmax=1)
        upper.set(title=f"t = {TIMES[k]}", aspect="equal")
        waves, factor = reciprocal_picture(frames[k], side)
        peaks = lower.scatter(*waves.T, c=factor, s=4500 / side**2, cmap="magma", vmin=-5, vmax=0)
        lower.set(aspect="equal")
        upper.axis("off")
        lower.axis("off")
    figure.colorbar(dots, ax=axes[0], label="vector chirality")
    figure.colorbar(peaks, ax=axes[1], label="$\\log_{10} S(q)$")
    figure.savefig(path, dpi=90)


def reciprocal_picture(frame, side):
    """Wave vectors (M, 2) up to length 5.2 and log10 of S(q) there."""
    n = np.arange(-2 * side, 2 * side)
    first, second = (part.ravel() for part in np.meshgrid(n, n, indexing="ij"))
    reciprocal = 2 * np.pi * np.linalg.inv(frame.cell.array[:2, :2]).T
    waves = np.outer(first, reciprocal[0]) + np.outer(second, reciprocal[1])
    near = np.linalg.norm(waves, axis=1) < 5.2
    factor = structure_factor(frame, side)[first % side, second % side]
    return waves[near], np.log10(factor[near] + 1e-6)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--figure")
    options = parser.parse_args()
    done = run(options.side, options.seed)
    if options.figure:
        draw(done, options.side, options.figure)
