"""Learned fields of itinerant magnets beside the solvers they were learned from: errors, and time per field.

python benchmarks/lattice_models.py accuracy   # five minutes on one core
python benchmarks/lattice_models.py speed      # eight minutes on one core, 8 GB

Threads are those of OMP_NUM_THREADS. Errors are of fields on snapshots that the model has not seen, per component, in
units of the coupling J. Snapshots are an ordered state with every spin tilted by a random vector of normal components
(0.1, 0.2 or 0.3), or random spins.
"""

import argparse
import resource
import sys
import time

import numpy as np
import torch

from ase_spinml import LatticeDescriptor, SDModel, SpinNN, get_spins, set_moments
from ase_spinml.electrons import spin_lattice

CASES = {
    "120 degree, n = 1, J = 6t": ("120", (12, 12), 6.0, 1.0, 2.0),
    "tetrahedral, n = 1/2, J = 3t": ("tetrahedral", (12, 12), 3.0, 0.5, 3.0),
    "metal, random spins, n = 1/2, J = 3t": ("random", (12, 12), 3.0, 0.5, 3.0),
}
"""State, size, J, filling and radius, on the triangular lattice."""
TEMPERATURE = 0.05


def snapshots(state, size, model, count, rng):
    """Labelled states."""
    frames = []
    for k in range(count):
        atoms = spin_lattice("triangular", size, state, **({"rng": rng} if state == "random" else {}))
        if state != "random":
            spins = get_spins(atoms) + (0.1, 0.2, 0.3)[k % 3] * rng.normal(size=(len(atoms), 3))
            set_moments(atoms, spins / np.linalg.norm(spins, axis=1, keepdims=True))
        atoms.arrays["exchange_fields"] = model.get_property("exchange_fields", atoms)
        frames.append(atoms)
    return frames


def accuracy():
    print(f"{'':<38}{'field rms/J':>12}{'linear MSE/J^2':>16}{'network MSE/J^2':>17}{'fit (s)':>9}")
    for name, (state, size, coupling, filling, radius) in CASES.items():
        rng = np.random.default_rng(0)
        model = SDModel(coupling=coupling, filling=filling, temperature=TEMPERATURE)
        training, unseen = snapshots(state, size, model, 48, rng), snapshots(state, size, model, 12, rng)
        descriptor = LatticeDescriptor(radius, 1.0, cross=True)
        start = time.perf_counter()
        network = SpinNN(descriptor, (64, 64), epochs=60, batch_frames=2, sigma_field=1e-3, progress=False).fit(
            training
        )
        spent = time.perf_counter() - start
        size = np.sqrt(np.mean([atoms.arrays["exchange_fields"] ** 2 for atoms in unseen])) / coupling
        errors = [(one.evaluate(unseen)["field_rmse"] / coupling) ** 2 for one in (network.linear_, network)]
        print(f"{name:<38}{size:>12.4f}{errors[0]:>16.1e}{errors[1]:>17.1e}{spent:>9.0f}", flush=True)


def timed(function, repeats):
    """Median time of a call, s; the first one, which allocates, is left out if there are more."""
    times = []
    for _ in range(repeats + (repeats > 1)):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times[repeats > 1 :]))


def speed():
    """Time of one field, of which a step of Depondt and Mertens needs two."""
    state, size, coupling, filling, radius = CASES["120 degree, n = 1, J = 6t"]
    physics = {"coupling": coupling, "filling": filling, "temperature": TEMPERATURE}
    training = snapshots(state, size, SDModel(**physics), 6, np.random.default_rng(0))
    network = SpinNN(LatticeDescriptor(radius, 1.0), (64, 64), epochs=2, progress=False).fit(training)
    columns = ("exact (s)", "KPM (s)", "64 bit (s)", "32 bit (s)", "us/site", "kB/site")
    print(f"{'sites':>9}" + "".join(f"{name:>12}" for name in columns))
    for length, repeats in ((24, 9), (48, 5), (96, 3), (316, 1), (1000, 1)):
        atoms = spin_lattice("triangular", (length, length), "random", rng=0)
        row = []
        for solver, most, options in (("exact", 48, {}), ("kpm", 96, {})):
            if length > most:
                row.append("")
                continue
            model = SDModel(**physics, solver=solver, **options)

            def solve(model=model, atoms=atoms):
                model.results = {}
                model.calculate(atoms, ["exchange_fields"], [])

            row.append(f"{timed(solve, 1 if length > 24 else 3):.2f}")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        times = []
        for dtype in (torch.float64, torch.float32):
            structure = network.descriptor_.structure(atoms, dtype=dtype)
            evaluator = network.evaluator("cpu", dtype)
            times.append(
                timed(lambda evaluator=evaluator, structure=structure: evaluator.spin_slopes(structure), repeats)
            )
            if dtype is torch.float64:
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        shown = f"{memory / len(atoms):.2f}" if length == 1000 else ""
        print(
            f"{len(atoms):>9}{row[0]:>12}{row[1]:>12}{times[0]:>12.4f}{times[1]:>12.4f}"
            f"{1e6 * times[0] / len(atoms):>12.1f}{shown:>12}",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("accuracy", "speed"))
    sys.exit({"accuracy": accuracy, "speed": speed}[parser.parse_args().what]())
