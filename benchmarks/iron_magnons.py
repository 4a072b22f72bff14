"""Exchange, spin stiffness, ordering temperatures and spin waves of bcc iron from models of constrained VASP frames.

    python benchmarks/iron_magnons.py --figures docs/figures      # third-party sets, from ../shared/data
    python benchmarks/iron_magnons.py --data DIRECTORY

Models are compared by five-fold cross-validation over the frames of fe128 (128 atoms near the ferromagnet), alone or
with all of fe16 (16 atoms, random spins) in training. Errors are those of the jackknife over the folds. The cell of
fe128 resolves couplings up to half its width, 5.66 A; the longer ones of wider models (marked *) are folded onto
shorter ones in all frames, those held out as well. Of the models that are resolved, the one with the smallest
held-out error of fields is taken further, whatever its stiffness. E1 and E2 are energies of waves that fit the cell,
q = 2 pi/a (1/4, 0, 0) and (1/4, 1/4, 0): folding leaves them alone. The moment that precesses is 2.2 mu_B.
"""

import argparse
import itertools
import time
from pathlib import Path

import ase.io
import numpy as np
import torch
from ase.build import bulk

from ase_spinml import SOSO, SpinCalculator, SpinGAP, get_moments, set_moments
from ase_spinml.analysis import (
    decompose,
    exchange_stiffness,
    exchange_tensors,
    magnon_bands,
    mean_field_temperature,
    rpa_temperature,
    spin_stiffness,
)
from ase_spinml.analysis.ordering import coupling
from ase_spinml.errors import InputError
from ase_spinml.units import G_FACTOR

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
POINTS = Path("raw/magesty/bccFe_case1/febcc_spinwave.csv")
LATTICE_CONSTANT, MOMENT = 2.83, 2.2  # Angstrom, of the frames; mu_B, of the ferromagnet
SIGMAS = {"sigma_energy": 1.2e-3, "sigma_field": 5e-3, "rng": 0}  # as in accuracy.py
FOLDS = 5
HALF = 5.66  # Angstrom, half the width of the cell of fe128
SHELLS = (0.866, 1.0, 1.414, 1.658, 1.732, 2.0)  # distances of neighbours in lattice constants
CORNERS = {"N": (0.5, 0.5, 0.0), "Γ": (0.0, 0.0, 0.0), "H": (1.0, 0.0, 0.0), "P": (0.5, 0.5, 0.5)}  # 2 pi/a
FITTING = {"E1 (meV)": (0.25, 0.0, 0.0), "E2 (meV)": (0.25, 0.25, 0.0)}  # waves that fit four cells, 2 pi/a
QUANTITIES = ("J0 (meV)", "D (meV A^2)", "mean field (K)", "RPA (K)", *FITTING)


def candidates():
    """Dict of name -> (function that makes a model, range of its energy in Angstrom)."""
    made = {}
    for cutoff in (4.5, 5.5):
        pairs = SOSO(["Fe"], cutoff=cutoff, body_order=2)
        triples = SOSO(["Fe"], cutoff=cutoff, n_max_angular=4, l_max=2)
        made[f"two-body {cutoff}"] = (lambda d=pairs: SpinGAP(d, zeta=1, **SIGMAS)), cutoff
        made[f"three-body {cutoff} *"] = (lambda d=triples: SpinGAP(d, zeta=1, **SIGMAS)), 2 * cutoff
    triples = SOSO(["Fe"], cutoff=4.5, n_max_angular=4, l_max=2)
    made["zeta 2 4.5 *"] = (lambda: SpinGAP(triples, n_sparse=300, zeta=2, **SIGMAS)), 9.0
    return made


def iron(model):
    """Primitive cell of the ferromagnet with the calculator of a model."""
    atoms = bulk("Fe", a=LATTICE_CONSTANT)
    set_moments(atoms, [[0.0, 0.0, MOMENT]])
    atoms.calc = SpinCalculator(model)
    return atoms


def fractional(wave_vectors):
    """Wave vectors (Q, 3) in 2 pi/a, Cartesian, in units of the reciprocal cell of :func:`iron`."""
    return np.asarray(wave_vectors) @ bulk("Fe", a=1.0).cell.array.T


def energies(table, wave_vectors):
    """hbar omega (Q,) in meV at wave vectors (Q, 3) in 2 pi/a."""
    at_rest, waves = coupling(table, [[0, 0, 0]]), coupling(table, fractional(wave_vectors))
    return 1e3 * G_FACTOR / MOMENT * (at_rest - waves)[:, 0, 0].real


def quantities(atoms, table):
    """The numbers of QUANTITIES; nan for RPA where the ferromagnet is not stable."""
    try:
        rpa = rpa_temperature(table)
    except InputError:
        rpa = np.nan
    stiffness, waves = np.trace(spin_stiffness(atoms, table)) / 3, energies(table, list(FITTING.values()))
    return np.array([1e3 * decompose(table[3])[0].sum(), stiffness, mean_field_temperature(table), rpa, *waves])


def errors(model, frames):
    """Errors of energies in meV/atom and of m*H in meV per component, one after the other."""
    energy, field = [], []
    for frame in frames:
        found, lengths = model.predict(frame), np.linalg.norm(get_moments(frame), axis=1)[:, None]
        energy.append(1e3 * (found["energy"] - frame.get_potential_energy()) / len(frame))
        field.append(1e3 * lengths * (found["exchange_fields"] - frame.arrays["exchange_fields"]))
    return np.array(energy), np.concatenate(field).ravel()


def cross_validate(make, reach, frames, more):
    """Held-out errors (two numbers) of a model, and iron's exchange tables by its folds."""
    parts = np.random.default_rng(0).permutation(len(frames)) % FOLDS
    held_out, tables = [], []
    for fold in range(FOLDS):
        model = make().fit([f for f, k in zip(frames, parts, strict=True) if k != fold] + more)
        held_out.append(errors(model, [f for f, k in zip(frames, parts, strict=True) if k == fold]))
        tables.append(exchange_tensors(iron(model), reach))
    energy, field = (np.concatenate(part) for part in zip(*held_out, strict=True))
    return np.std(energy), np.sqrt(np.mean(field**2)), tables


def jackknife(values):
    """Standard error of the mean of estimates (FOLDS, ...) that each left one fold out."""
    return np.sqrt((len(values) - 1) * np.var(values, axis=0))


def compare(models, near, random):
    """Print the table of all models; name, training frames and tables by folds of the one to take further."""
    print("held-out errors on fe128 (energy about its mean in meV/atom, m*H in meV); bcc iron with jackknife errors")
    print(
        f"{'model and its cutoff in A':<28}{'training':<15}"
        + "".join(f"{c:>16}" for c in ("energy", "m*H", *QUANTITIES))
    )
    kept = []
    for title, more in (("fe128", []), ("fe128 + fe16", random)):
        for name, (make, reach) in models.items():
            energy, field, tables = cross_validate(make, reach, near, more)
            found = np.array([quantities(iron_at_rest(), table) for table in tables])
            cells = [f"{m:.0f} +- {e:.0f}" for m, e in zip(found.mean(axis=0), jackknife(found), strict=True)]
            print(
                f"{name:<28}{title:<15}{energy:>16.3f}{field:>16.2f}" + "".join(f"{c:>16}" for c in cells), flush=True
            )
            if reach <= HALF:
                kept.append((field, name, near + more, tables, title))
    labels = [np.linalg.norm(get_moments(f), axis=1)[:, None] * f.arrays["exchange_fields"] for f in near]
    spread = np.std([1e3 * f.get_potential_energy() / len(f) for f in near])
    print(f"{'spread of labels':<43}{spread:>16.3f}{1e3 * np.concatenate(labels).std():>16.2f}")
    return min(kept, key=lambda row: row[0])[1:]


def report(model, table, tables, near):
    """Print what the chosen model, fitted to all frames, says about iron."""
    atoms = iron_at_rest()
    found = np.array([quantities(atoms, one) for one in tables])
    for name, value, error in zip(QUANTITIES, quantities(atoms, table), jackknife(found), strict=True):
        print(f"  {name:<22}{value:8.1f} +- {error:.1f}")
    print(f"  {'A (pJ/m)':<22}{np.trace(exchange_stiffness(atoms, table)) / 3:8.1f}")
    i, j, S, J = table
    distance = np.linalg.norm(atoms.positions[j] - atoms.positions[i] + S @ atoms.cell.array, axis=1) / LATTICE_CONSTANT
    for number, shell in enumerate(SHELLS):
        mine = np.abs(distance - shell) < 0.01
        if mine.any():
            print(
                f"  J{number + 1} at {LATTICE_CONSTANT * shell:.3f} A, {mine.sum():>2} neighbours: "
                f"{1e3 * decompose(J[mine])[0].mean():8.2f} meV"
            )
    known = [1e3 * frame.get_potential_energy() / len(frame) for frame in near]
    said = [1e3 * model.predict(frame)["energy"] / len(frame) for frame in near]
    print(f"  slope of energy labels against predictions, fields only in training: {np.polyfit(said, known, 1)[0]:.2f}")


def fields_alone(make, frames):
    """Model of the field labels, without those of energies."""
    bare = [frame.copy() for frame in frames]
    for frame in bare:
        frame.calc = None
    return make().fit(bare)


def iron_at_rest():
    atoms = bulk("Fe", a=LATTICE_CONSTANT)
    set_moments(atoms, [[0.0, 0.0, MOMENT]])
    return atoms


def compare_with_experiment(table, points):
    """Print energies beside measured ones; waves along the three axes of high symmetry."""
    print("measured (room temperature) and computed energies in meV, along [100], [110] and [111]")
    for q, measured in points:
        along = [energies(table, [q * LATTICE_CONSTANT / (2 * np.pi) * unit])[0] for unit in AXES.values()]
        print(f"  q = {q:.3f} 1/A: {measured:6.1f}   " + "  ".join(f"{value:6.1f}" for value in along))
    for low, high in ((0.0, 0.5), (0.5, 1.0)):
        inside = (points[:, 0] > low) & (points[:, 0] < high)
        print(
            f"  measured E/q^2 from {low} to {high} 1/A, {inside.sum()} points: mean "
            f"{np.mean(points[inside, 1] / points[inside, 0] ** 2):.0f} meV A^2"
        )


AXES = {"[100]": np.array([1.0, 0, 0]), "[110]": np.array([1, 1, 0]) / 2**0.5, "[111]": np.array([1, 1, 1]) / 3**0.5}


def draw(model, reach, table, tables, points, path):
    """Bands along N-H-P, and energies of long waves beside the measured ones."""
    from matplotlib.figure import Figure

    from ase_spinml import plotting

    figure = Figure(figsize=(11.0, 4.6), layout="constrained", dpi=130)
    left, right = figure.subplots(1, 2, width_ratios=(1.4, 1))
    corners = [np.array(CORNERS[name]) for name in "NΓHPΓ"]
    path_points = np.concatenate([np.linspace(a, b, 40) for a, b in itertools.pairwise(corners)])
    steps = 2 * np.pi / LATTICE_CONSTANT * np.linalg.norm(np.diff(path_points, axis=0), axis=1)
    distances = np.concatenate([[0.0], np.cumsum(steps)])
    bands = 1e3 * magnon_bands(iron(model), fractional(path_points), reach)
    plotting.magnon_bands(distances, bands, ticks=distances[[0, 40, 80, 120, 159]], labels=list("NΓHPΓ"), ax=left)
    folds = np.array([energies(one, path_points) for one in tables])
    middle, error = folds.mean(axis=0), jackknife(folds)
    left.fill_between(distances, middle - error, middle + error, color=plotting.COLOURS[5], alpha=0.5, lw=0)
    left.set(title="ferromagnetic bcc iron, path through the zone", ylim=(0, None))
    lengths = np.linspace(0, 0.95, 60)
    for k, (name, unit) in enumerate(AXES.items()):
        waves = energies(table, LATTICE_CONSTANT / (2 * np.pi) * lengths[:, None] * unit)
        right.plot(
            lengths, waves, color=plotting.COLOURS[(0, 2, 3)[k]], ls=("-", "--", "-.")[k], label=f"model, {name}"
        )
    right.plot(*points.T, "s", color=plotting.COLOURS[1], mec="white", label="measured")
    right.set(xlabel="|q| (1/Å)", ylabel="energy (meV)", title="long waves", xlim=(0, 0.95), ylim=(0, None))
    right.legend()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of the third-party sets")
    parser.add_argument("--figures", type=Path, help="folder for pictures; none are drawn without it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not all((options.data / name).exists() for name in ("fe128.extxyz", "fe16.extxyz", POINTS)):
        parser.error("the folder of --data has no fe128.extxyz, fe16.extxyz and measured points: see docs/data.rst")
    near, random = (ase.io.read(options.data / f"{name}.extxyz", ":") for name in ("fe128", "fe16"))
    points = np.loadtxt(options.data / POINTS, delimiter=",", comments="#", encoding="utf-8-sig")
    start, models = time.perf_counter(), candidates()
    name, frames, tables, title = compare(models, near, random)
    make, reach = models[name]
    model = make().fit(frames)
    table = exchange_tensors(iron(model), reach)
    print(f"\n{name}, fitted to all of {title}:")
    report(fields_alone(make, frames), table, tables, near)
    compare_with_experiment(table, points)
    if options.figures:
        draw(model, reach, table, tables, points, options.figures / "iron_magnons.png")
    print(f"({time.perf_counter() - start:.0f} s)")


if __name__ == "__main__":
    main()
