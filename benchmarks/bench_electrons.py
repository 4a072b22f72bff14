"""Time of the electron solvers against the number of sites, and the error of the kernel polynomial method.

    OMP_NUM_THREADS=1 python benchmarks/bench_electrons.py > docs/results/electrons.txt
    OMP_NUM_THREADS=1 python benchmarks/bench_electrons.py exact --sites 100 400

Triangular lattice, half filling, J = 6 t, T = 0.01 t, random spins unless said otherwise. "exact": exchange fields of
SDModel through ASE after the spins have turned, beside LAPACK's eigenvectors of the same complex matrix of twice as
many rows and nothing else; the two alternate. "kpm": the same fields, and the energy alone. "error": mean length of the
error of a (transverse) field over the mean length of a field, on 24 x 24 sites, beside exact diagonalisation. Seconds
are medians of processor time; where there is a CUDA device it gets columns in time passed.
"""

import argparse
import functools
import time

import numpy as np
import torch
from scipy.linalg import eigh

from ase_spinml import SDModel, get_spins, set_moments
from ase_spinml.electrons import KPM, spin_lattice
from ase_spinml.moments import cone

SITES = (100, 196, 400, 900, 1600)
SIDES = (24, 48, 100, 200)
MOMENTS, PROBING = 512, 6


def clock(device):
    """Processor time, or time passed on a device."""
    return time.process_time if device == "cpu" else time.perf_counter


def seconds(function, device="cpu"):
    """Seconds that a call takes."""
    start = clock(device)()
    function()
    return clock(device)() - start


def field_seconds(atoms, rng, device="cpu", name="exchange_fields"):
    """Seconds of one property after every spin has turned a little."""
    set_moments(atoms, cone(get_spins(atoms), 1.0, rng))
    return seconds(lambda: atoms.calc.get_property(name, atoms), device)


def exact(sites):
    """Table of exact diagonalisation beside LAPACK."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    print(
        "exact diagonalisation [s]" + "".join(f"{head:>14}" for head in ("eigh evr", "eigh evd", "SDModel", "over evr"))
    )
    for n in sites:
        side, rng = round(n**0.5), np.random.default_rng(0)
        atoms = spin_lattice("triangular", (side, side), "random", rng=rng)
        atoms.calc = SDModel()
        field_seconds(atoms, rng)
        matrix = atoms.calc._current_lattice(atoms).hamiltonian.dense(get_spins(atoms))
        lapack = {name: functools.partial(eigh, matrix, driver=name, check_finite=False) for name in ("evr", "evd")}
        rounds = 15 if n <= 200 else 5 if n <= 400 else 3 if n <= 900 else 1
        found = {"evr": [], "evd": [], "model": []}
        for _ in range(rounds):
            for driver, function in lapack.items():
                found[driver].append(seconds(function))
            found["model"].append(field_seconds(atoms, rng))
        evr, evd, model = (float(np.median(times)) for times in found.values())
        line = f"{side:>4} x {side:<4}={side**2:>6} sites    {evr:>14.4f}{evd:>14.4f}{model:>14.4f}"
        line += f"{100 * (model / evr - 1):>12.0f} %"
        if "cuda" in devices:
            atoms.calc = SDModel(device="cuda")
            field_seconds(atoms, rng, "cuda")
            line += f"{field_seconds(atoms, rng, 'cuda'):>14.4f} (CUDA)"
        print(line, flush=True)


def kpm(sides):
    """Table of the kernel polynomial method."""
    heads = ("vectors", "energy", "fields", "us/site")
    print(f"kpm, {MOMENTS} moments, probing {PROBING} [s] " + "".join(f"{head:>13}" for head in heads))
    for side in sides:
        rng = np.random.default_rng(0)
        atoms = spin_lattice("triangular", (side, side), "random", rng=rng)
        atoms.calc = SDModel(solver=KPM(MOMENTS, PROBING))
        vectors = ready(atoms)
        rounds = 3 if side <= 48 else 1
        energy = float(np.median([field_seconds(atoms, rng, name="energy") for _ in range(rounds)]))
        fields = float(np.median([field_seconds(atoms, rng) for _ in range(rounds)]))
        line = f"{side:>4} x {side:<4}={side**2:>6} sites       "
        line += f"{vectors:>13}{energy:>13.3f}{fields:>13.3f}{1e6 * fields / side**2:>13.0f}"
        if torch.cuda.is_available():
            atoms.calc = SDModel(solver=KPM(MOMENTS, PROBING, device="cuda"))
            ready(atoms)
            field_seconds(atoms, rng, "cuda")
            line += f"{field_seconds(atoms, rng, 'cuda'):>13.3f} (CUDA)"
        print(line, flush=True)


def ready(atoms):
    """Have the vectors drawn before the clock starts; how many there are."""
    calc = atoms.calc
    calc.solver._prepare(calc._current_lattice(atoms).hamiltonian, np.zeros((1, 3)))
    return calc.solver._patches[0].vectors.shape[1]


STATES = {
    "random, n = 1, J = 6, T = 0.01": ("triangular", "random", {"coupling": 6.0}),
    "120 degrees + 30, n = 1, J = 6, T = 0.01": ("triangular", "120", {"coupling": 6.0}),
    "tetrahedral + 30, n = 1/2, J = 3, T = 0.05": (
        "triangular",
        "tetrahedral",
        {"coupling": 3.0, "filling": 0.5, "temperature": 0.05},
    ),
    "square AFM + 30, n = 0.9, J = 7, T = 0.05": (
        "square",
        "AFM",
        {"coupling": 7.0, "filling": 0.9, "temperature": 0.05},
    ),
}


def error():
    """Table of errors; the states are ordered ones with spins at random within 30 degrees."""
    solvers = [KPM(MOMENTS, hops) for hops in (4, 6, 8, 10)] + [KPM(MOMENTS, truncation=6)]
    heads = ["probing 4", "probing 6", "probing 8", "probing 10", "truncation 6"]
    print(f"{'error of fields, 24 x 24, 512 moments':<46}" + "".join(f"{head:>13}" for head in heads))
    for label, (lattice, state, options) in STATES.items():
        atoms = spin_lattice(lattice, (24, 24), state, rng=0)
        if state != "random":
            set_moments(atoms, cone(get_spins(atoms), 30.0, 0, filled=True))
        exact_fields = SDModel(**options).get_property("exchange_fields", atoms)
        length, line = np.linalg.norm(exact_fields, axis=1).mean(), f"{label:<46}"
        for solver in solvers:
            fields = SDModel(solver=solver, **options).get_property("exchange_fields", atoms)
            line += f"{np.linalg.norm(fields - exact_fields, axis=1).mean() / length:>13.1e}"
        print(line, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", default=[], help="exact, kpm, error; all if none is named")
    parser.add_argument("--sites", type=int, nargs="+", default=SITES)
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    chosen = parser.parse_args()
    print(f"threads: {torch.get_num_threads()}, torch {torch.__version__}")
    for name, table in (("exact", lambda: exact(chosen.sites)), ("kpm", lambda: kpm(chosen.sides)), ("error", error)):
        if not chosen.tables or name in chosen.tables:
            print()
            table()
