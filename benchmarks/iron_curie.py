"""Curie temperature of bcc iron from density-functional calculations, no parameter adjusted to experiment.

    OMP_NUM_THREADS=1 python benchmarks/iron_curie.py --points iron.npz --figure docs/figures/curie_iron.png

SOSO-GAP is fitted to fe16 (60 random states of 16 atoms) and fe128 (10 states of 128 atoms near the ferromagnet),
third-party VASP calculations in ../shared/data. Of the models in ``MODELS`` the one with the smallest error of fields
in cross-validation over frames is used. A stopped run goes on from the file of --points.
"""

import argparse
import time
from pathlib import Path

import ase.io
import numpy as np
import torch
from accuracy import SHARED, held_out, rmse
from ase import units
from ase.build import bulk

from ase_spinml import SOSO, SpinCalculator, SpinGAP, set_moments
from ase_spinml.analysis import curie_temperature
from ase_spinml.moments import cone, random_directions

LATTICE = 2.83
MOMENT = 2.2
"""Its length does not matter to energies of directions."""
EXPERIMENT = 1043.0
TEMPERATURES = (400, 800, 1050, 1150, 1250, 1350)
SIZES = (4, 5, 6)
SIGMAS = {"sigma_energy": 1.2e-3, "sigma_field": 5e-3, "rng": 0}
TRIPLES = SOSO(["Fe"], cutoff=4.5, n_max_angular=4, l_max=2)
MODELS = {
    "linear two-body, cutoff 5.5 A": lambda: SpinGAP(SOSO(["Fe"], cutoff=5.5, body_order=2), zeta=1, **SIGMAS),
    "three-body, zeta 2, cutoff 4.5 A": lambda: SpinGAP(TRIPLES, zeta=2, n_sparse=300, **SIGMAS),
}


def validate(make, sets):
    """Held-out errors of energy (meV/atom) and m*H (meV) in five-fold cross-validation, for each of the sets."""
    folds = [np.random.default_rng(0).permutation(len(frames)) % 5 for frames in sets]
    found = [[] for _ in sets]
    for k in range(5):
        kept = [
            f
            for frames, fold in zip(sets, folds, strict=True)
            for f, part in zip(frames, fold, strict=True)
            if part != k
        ]
        model = make().fit(kept)
        for entries, frames, fold in zip(found, sets, folds, strict=True):
            entries += held_out(model, [f for f, part in zip(frames, fold, strict=True) if part == k])
    return [rmse(entries, kind) for entries in found for kind in ("energy", "turning")]


def disorder_energy(model, cells=4, states=10):
    """Mean energy of random states above the ferromagnet, eV per atom."""
    atoms = bulk("Fe", a=LATTICE, cubic=True) * cells
    atoms.calc = SpinCalculator(model)
    rng, n = np.random.default_rng(0), len(atoms)

    def energy(spins):
        set_moments(atoms, MOMENT * spins)
        return atoms.get_potential_energy() / n

    return np.mean([energy(random_directions(n, rng)) for _ in range(states)]) - energy(np.tile([0, 0, 1.0], (n, 1)))


def print_exchange(model):
    """Energy that turning one spin costs, as a mean-field temperature, in states of more and more disorder."""
    atoms = bulk("Fe", a=LATTICE, cubic=True) * 4
    atoms.calc, rng, n = SpinCalculator(model), np.random.default_rng(1), len(atoms)
    print("J_0 = sum_j J_ij from turning single spins by 90 degrees off the mean direction, and J_0/3 k_B:")
    for angle in (0, 40, 60):
        spins, found = cone(np.tile([0, 0, 1.0], (n, 1)), angle, rng) if angle else np.tile([0, 0, 1.0], (n, 1)), []
        for k in range(0, n, 8):
            energies = []
            for direction in ([0, 0, 1.0], [1.0, 0, 0], [0, 0, -1.0]):
                spins_k = spins.copy()
                spins_k[k] = direction
                set_moments(atoms, MOMENT * spins_k)
                energies.append(atoms.get_potential_energy())
            found.append(energies)
        first, side, last = np.mean(found, axis=0)
        order = np.cos(np.radians(angle))
        texts = [
            f"{1e3 * e / order:.0f} meV ({e / order / (3 * units.kB):.0f} K)"
            for e in (side - first, (last - first) / 2)
        ]
        print(f"  neighbours {angle} degrees off the mean: {texts[0]}; from a full reversal {texts[1]}")


def print_table(result):
    """All averages."""
    print("\n cells    T (K)             |m|      C (k_B)                U   tau (samples)")
    for size in result.sizes:
        for point in result.averages[size]:
            texts = [
                f"{e.value:7.3f} +- {e.error:.3f}" for e in (point.magnetisation, point.heat_capacity, point.binder)
            ]
            print(f"{size[0]:4d}^3 {point.temperature_K:8.0f} {'  '.join(texts)} {point.autocorrelation_time:8.1f}")
    for (small, large), estimate in result.crossings.items():
        print(f"{small[0]}^3 and {large[0]}^3 cells cross at {estimate.value:.0f} +- {estimate.error:.0f} K")


def draw(result, path):
    """Magnetisation and Binder cumulant against temperature."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 4.2), layout="constrained", dpi=120)
    left, right = figure.subplots(1, 2)
    critical = result.critical_temperature_K
    near = result.temperatures_K > 0.7 * critical.value
    for k, size in enumerate(result.sizes):
        label, colour = f"{result.averages[size][0].n_spins} atoms", f"C{k}"
        value, error = result.values("magnetisation", size)
        left.errorbar(result.temperatures_K, value, error, fmt="o-", ms=4, color=colour, label=label)
        value, error = result.values("binder", size)
        right.errorbar(result.temperatures_K[near], value[near], error[near], fmt="o", ms=4, color=colour)
        grid, curve = result.curves[size]
        right.plot(*np.array([grid, curve])[:, grid >= result.temperatures_K[near][0]], color=colour, label=label)
    for ax in (left, right):
        ax.axvspan(critical.value - critical.error, critical.value + critical.error, color="0.85", label="crossing")
        ax.axvline(EXPERIMENT, color="k", ls=":", label="experiment")
        ax.set_xlabel("temperature (K)")
    left.set(ylabel="magnetisation", xlim=(0, None), ylim=(0, 1), title="bcc Fe, classical spins")
    right.set(ylabel="Binder cumulant", title=f"crossing at {critical.value:.0f} ± {critical.error:.0f} K")
    right.set_xlim(EXPERIMENT - 20, None)
    left.legend(loc="lower left")
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of fe16.extxyz and fe128.extxyz")
    parser.add_argument("--points", type=Path, help="file (.npz) that keeps finished points")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--exchange", action="store_true", help="only the exchange that the model has learned")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    sets = [ase.io.read(options.data / name, ":") for name in ("fe16.extxyz", "fe128.extxyz")]
    if options.exchange:
        print_exchange(MODELS["three-body, zeta 2, cutoff 4.5 A"]().fit(sets[0] + sets[1]))
        return
    means = [np.mean([frame.get_potential_energy() / len(frame) for frame in frames]) for frames in sets]
    print(f"labels: random states of fe16 lie {1e3 * (means[0] - means[1]):.1f} meV/atom above those of fe128")
    print("five-fold cross-validation over both sets  fe16: energy, m*H   fe128: energy, m*H   (meV/atom, meV)")
    errors = {name: validate(make, sets) for name, make in MODELS.items()}
    for name, row in errors.items():
        print(f"  {name:<36}" + "".join(f"{value:12.2f}" for value in row), flush=True)
    chosen = min(errors, key=lambda name: errors[name][1] + errors[name][3])
    model = MODELS[chosen]().fit(sets[0] + sets[1])
    disorder = disorder_energy(model)
    print(f"model: {chosen}; random states {1e3 * disorder:.1f} meV/atom above the ferromagnet, mean field of bilinear")
    print(
        f"exchange T_C = {2 * disorder / (3 * units.kB):.0f} K ({time.perf_counter() - start:.0f} s so far)", flush=True
    )
    iron = bulk("Fe", a=LATTICE, cubic=True)
    set_moments(iron, np.tile([0, 0, MOMENT], (2, 1)))
    iron.calc = SpinCalculator(model)
    result = curie_temperature(iron, TEMPERATURES, SIZES, steps=options.steps, path=options.points)
    print_table(result)
    critical = result.critical_temperature_K
    deviation = 100 * (critical.value / EXPERIMENT - 1)
    print(f"T_C = {critical.value:.0f} +- {critical.error:.0f} K, {deviation:+.0f} % from {EXPERIMENT:.0f} K")
    print(f"({time.perf_counter() - start:.0f} s)")
    if options.figure:
        draw(result, options.figure)


if __name__ == "__main__":
    main()
