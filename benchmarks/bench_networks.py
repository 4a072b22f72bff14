"""Errors of SpinNN, SpinGAP, a linear pair model and DeepSPIN: same frames, same wall-clock budget, one core.

    OMP_NUM_THREADS=1 python benchmarks/bench_networks.py --set nio32 --budget 600 --deepmd-python PATH
    OMP_NUM_THREADS=1 python benchmarks/bench_networks.py --set fege64 --methods pairs,linear,gap,nn

Prints one line per model and split while it works, and at the end the table of medians over splits: root-mean-square
errors of energies (meV/atom), forces (meV/A) and fields (meV/mu_B, Cartesian components of the part across the moment,
magnetic atoms only) on a fifth of the frames, time of the fit, and time of energy, forces and fields of a frame.

PATH is the Python of an environment of its own with deepmd-kit 3.2.0. Its wheel is compiled for another torch than this
package needs; without its library of compiled operators it runs on any, in Python alone:

    python3.11 -m venv deepspin
    deepspin/bin/pip install deepmd-kit==3.2.0 e3nn mpich torch==2.13.0 -c constraints.txt
    mv deepspin/lib/python3.11/site-packages/deepmd/lib/libdeepmd_op_pt.so{,.aside}

DeepSPIN gets two trainings, each with the whole budget: the settings of its documented example (examples/spin/se_e2_a
of deepmd-kit, learning rate matched to the steps that fit) and a small network, of which more steps fit. A tenth of its
training frames is kept to choose among the two and among ten checkpoints of each; SpinNN keeps as many from each of its
members. A trial training tells how many steps or epochs fit, and is not counted. Frame 6 of nio32 has forces unlike
those of all other frames (see accuracy.py) and is left out for all; moments of atoms that are not magnetic are zero.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
import torch
from accuracy import SHARED, print_table
from deepspin import DOCUMENTED, SMALL, DeepSPIN
from threadpoolctl import threadpool_limits

from ase_spinml import SOSO, SpinGAP, SpinNN, get_moments, set_moments
from ase_spinml.io import write_any
from ase_spinml.moments import get_spins, transverse

COLUMNS = ("energy", "forces", "field", "fit (s)", "us/atom", "settings")


@dataclass(frozen=True)
class Recipe:
    """How a set is read and learned.

    Attributes
    ----------
    magnetic : str
        Element with moments.
    left_out : tuple of int
    descriptor : dict
        Of the three-body models.
    sigmas : dict
        Also the weights of the validation error.
    network : dict
        Of SpinNN; epochs is the most that are of use.
    """

    magnetic: str
    left_out: tuple
    descriptor: dict
    sigmas: dict
    network: dict


RECIPES = {
    "nio32": Recipe(
        "Ni",
        (6,),
        {"species": ["Ni", "O"], "n_max_angular": 3, "l_max": 2},
        {"sigma_energy": 5e-5, "sigma_forces": 5e-4, "sigma_field": 1e-4},
        {"hidden": (64, 64), "n_members": 4, "epochs": 50},
    ),
    "fege64": Recipe(
        "Fe",
        (),
        {"species": ["Fe", "Ge"], "n_max_angular": 4, "l_max": 3},
        {"sigma_energy": 1e-4, "sigma_field": 2e-3},
        {"hidden": (128, 128), "n_members": 4, "epochs": 50},
    ),
}


# -- frames and errors -----------------------------------------------------------------------------------------------


def read(path, recipe):
    """Frames of a set, moments and fields of other atoms than the magnetic ones set to zero."""
    frames = [frame for k, frame in enumerate(ase.io.read(path, ":")) if k not in recipe.left_out]
    for frame in frames:
        magnetic = (np.array(frame.get_chemical_symbols()) == recipe.magnetic)[:, None]
        set_moments(frame, np.where(magnetic, get_moments(frame), 0.0))
        frame.arrays["exchange_fields"] = np.where(magnetic, frame.arrays["exchange_fields"], 0.0)
    return frames


def split(frames, seed):
    """Frames to train, and a fifth of all to test."""
    order = np.random.default_rng(seed).permutation(len(frames))
    count = len(frames) // 5
    return [frames[k] for k in order[count:]], [frames[k] for k in order[:count]]


def errors(frames, found):
    """Root-mean-square errors by kind, in eV/atom, eV/A and eV/mu_B; nan where there is no label.

    found: list of dict of energy, forces and exchange_fields, frame by frame.
    """
    parts = {"energy": [], "forces": [], "field": []}
    for frame, result in zip(frames, found, strict=True):
        labels, spins = frame.calc.results, get_spins(frame)
        parts["energy"].append([(result["energy"] - labels["energy"]) / len(frame)])
        if "forces" in labels:
            parts["forces"].append(result["forces"] - labels["forces"])
        difference = result["exchange_fields"] - frame.arrays["exchange_fields"]
        parts["field"].append(transverse(difference, spins)[spins.any(axis=1)])
    return {
        kind: float(np.sqrt(np.mean(np.concatenate(values) ** 2))) if values else np.nan
        for kind, values in parts.items()
    }


def score(recipe, found):
    """Sum of squared errors in units of the sigmas: what SpinNN chooses its epoch by."""
    return sum((found[name.removeprefix("sigma_")] / sigma) ** 2 for name, sigma in recipe.sigmas.items())


def spread(frames):
    """Errors of knowing only the mean energy."""
    mean = np.mean([frame.calc.results["energy"] for frame in frames])
    nothing = {"energy": mean, "forces": 0.0, "exchange_fields": 0.0}
    return errors(frames, [nothing] * len(frames))


# -- models ----------------------------------------------------------------------------------------------------------


def descriptor(recipe, **parameters):
    """SOSO of a set, spin-orbit block included."""
    common = recipe.descriptor | {"cutoff": 5.0, "magnetic": [recipe.magnetic], "spin_orbit": True}
    return SOSO(**(common | parameters))


def pair_model(recipe):
    """Bilinear exchange that depends on the distance, and pairs without spins: linear regression."""
    species = recipe.descriptor["species"]
    pairs = SOSO(species, cutoff=5.0, body_order=2, spin_l_max=1, magnetic=[recipe.magnetic])
    return SpinGAP(pairs, zeta=1, rng=0, **recipe.sigmas)


def kernel_model(recipe, zeta):
    """SpinGAP, three-body."""
    return SpinGAP(descriptor(recipe), n_sparse=300, zeta=zeta, rng=0, **recipe.sigmas)


def network_model(recipe, **changed):
    """SpinNN, three-body."""
    parameters = recipe.network | recipe.sigmas | changed
    return SpinNN(descriptor(recipe), rng=0, progress=False, **parameters)


def epochs_within(recipe, train, budget):
    """Epochs per member of SpinNN that fit into the budget beside its linear part, at most those of the recipe."""
    linear = timed(kernel_model(recipe, 1).fit, train)
    both = timed(network_model(recipe, n_members=1, epochs=2, validation=0.0).fit, train)
    each = max(both - linear, 1e-3) / 2 * recipe.network["n_members"]
    return int(np.clip((budget - linear) / each, 1, recipe.network["epochs"]))


def timed(function, *arguments):
    """Seconds that a call takes."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def measure(model, train, test, settings):
    """Row of one of this package's models: errors, fit time, evaluation time, settings."""
    seconds = timed(model.fit, train)
    model.predict(test[0])  # warms up
    found, times = [], []
    for frame in test:
        start = time.perf_counter()
        found.append(model.predict(frame))
        times.append((time.perf_counter() - start) / len(frame))
    return [*errors(test, found).values(), seconds, float(np.median(times)), settings]


def measure_deepspin(recipe, train, test, options, seed):
    """Row of the DeepSPIN training with the smaller validation error."""
    kept = round(0.1 * len(train))
    parts = {"train": train[kept:], "validation": train[:kept], "test": test}
    best, chosen = np.inf, None
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name, frames in parts.items():
            write_any(folder / name, frames, "deepmd")
        for settings in (DOCUMENTED, SMALL):
            own = folder / settings.name
            model = DeepSPIN(options.deepmd_python, settings, [recipe.magnetic], options.budget, own)
            model.fit(folder / "train", seed + 1)
            scores = [
                score(recipe, deepspin_errors(model, path, folder / "validation", parts["validation"])[0])
                for path in model.checkpoints_
            ]
            number = int(np.argmin(scores))
            found, seconds = deepspin_errors(model, model.checkpoints_[number], folder / "test", test)
            note = f"{settings.name}, {model.steps_} steps, checkpoint {number + 1} of {len(scores)}"
            row = [*found.values(), model.seconds_, seconds, note]
            print_row(f"DeepSPIN {settings.name}", row, f" validation {scores[number]:.3g}")
            if scores[number] < best:
                best, chosen = scores[number], row
    return chosen


def deepspin_errors(model, checkpoint, system, frames):
    """Errors of a checkpoint, and its median time per atom in seconds."""
    found = model.predict(checkpoint, system)
    rows = zip(found["energy"], found["forces"], found["fields"], strict=True)
    results = [{"energy": e, "forces": f, "exchange_fields": h} for e, f, h in rows]
    return errors(frames, results), float(np.median(found["seconds"])) / len(frames[0])


# -- table -----------------------------------------------------------------------------------------------------------


def print_row(name, row, more=""):
    """One line of one model and split."""
    *found, fit, each, settings = row
    units = ("meV/atom", "meV/A", "meV/mu_B")
    shown = [f"{1e3 * value:.3g} {unit}" for value, unit in zip(found, units, strict=True) if np.isfinite(value)]
    print(
        f"  {name}: {', '.join(shown)}, fit {fit:.0f} s, {1e6 * each:.0f} us/atom; {settings}{more}",
        flush=True,
    )


def medians(rows):
    """Medians of the rows of one model over splits, in the units of the table; settings of the first."""
    numbers = np.median([row[:-1] for row in rows], axis=0) * [1e3, 1e3, 1e3, 1, 1e6]
    return (*numbers, f"  {rows[0][-1]}")


def compare(name, options):
    """All models on all splits of one set."""
    recipe = RECIPES[name]
    frames = read(options.data / f"{name}.extxyz", recipe)
    epochs = epochs_within(recipe, split(frames, 0)[0], options.budget) if "nn" in options.methods else 0
    members = recipe.network["n_members"]
    makers = {
        "pairs": ("linear pair model", lambda: pair_model(recipe), "zeta 1, l 1"),
        "linear": ("SpinGAP, zeta 1", lambda: kernel_model(recipe, 1), "three-body"),
        "gap": ("SpinGAP, zeta 2", lambda: kernel_model(recipe, 2), "three-body"),
        "nn": ("SpinNN", lambda: network_model(recipe, epochs=epochs), f"{members} members, {epochs} epochs"),
    }
    rows = {}
    for seed in range(options.splits):
        train, test = split(frames, seed)
        print(f"{name}, split {seed + 1}: {len(train)} frames to train, {len(test)} to test", flush=True)
        for method in options.methods:
            if method == "deepspin":
                title, row = "DeepSPIN", measure_deepspin(recipe, train, test, options, seed)
            else:
                title, make, settings = makers[method]
                row = measure(make(), train, test, settings)
                print_row(title, row)
            rows.setdefault(title, []).append(row)
    labels = spread(frames)
    table = [("spread of labels", (*(1e3 * value for value in labels.values()), np.nan, np.nan, ""))]
    table += [(title, medians(found)) for title, found in rows.items()]
    title = f"{name}: medians over {options.splits} splits, {options.budget:.0f} s of one core to train"
    print_table(title, COLUMNS, table)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=RECIPES, default="nio32", help="which set of frames")
    parser.add_argument("--budget", type=float, default=600.0, help="seconds of one training")
    parser.add_argument("--splits", type=int, default=3, help="splits of the frames")
    parser.add_argument("--methods", default="pairs,linear,gap,nn,deepspin", help="which models, with commas")
    parser.add_argument("--deepmd-python", help="interpreter of the environment that has deepmd-kit")
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of the sets")
    options = parser.parse_args()
    options.methods = options.methods.split(",")
    if "deepspin" in options.methods and not options.deepmd_python:
        parser.error("Expected --deepmd-python for the method deepspin, got none: name it or leave the method out.")
    torch.set_num_threads(1)
    with threadpool_limits(1):
        compare(options.set, options)


if __name__ == "__main__":
    main()
