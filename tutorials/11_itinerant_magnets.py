# %% [markdown]
# # Itinerant magnets, and a quench to 120 degrees with exact and with learned fields
#
# Electrons that hop on a lattice and couple to classical spins decide by themselves how the spins order. Energies of
# known phases, fields from two solvers, quenches that find their order, and a network that learns the fields from them
# and takes them to a larger lattice (Chern and coworkers, arXiv:2604.11513). Energies are in units of the hopping t,
# times in hbar/t.
#
# Two minutes on two cores; `--help` lists what makes it larger. Set the environment variable `FIGURES` to a folder to
# keep the picture of the quench.

# %%
import argparse
import os
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from ase.io import read

from ase_spinml import LatticeDescriptor, SDModel, SpinCalculator, SpinDynamics, SpinNN, get_spins, set_moments
from ase_spinml.analysis import correlation, structure_factor, vector_chirality
from ase_spinml.electrons import spin_lattice
from ase_spinml.moments import cone
from ase_spinml.sampling import generate, perturbed_states, spin_quenches

parser = argparse.ArgumentParser(description="Itinerant magnets: phases, fields, quenches exact and learned.")
parser.add_argument("--side", type=int, default=9, help="sites along a side of the small lattice, a multiple of 3")
parser.add_argument("--training", type=int, default=3, help="quenches to train on")
parser.add_argument("--quenches", type=int, default=5, help="quenches to compare")
parser.add_argument("--large", type=int, default=36, help="sites along a side of the large lattice")
parser.add_argument("--until", type=float, default=200.0, help="end of its quench, hbar/t")
parser.add_argument("--workers", type=int, default=2, help="processes for exact fields")
options = parser.parse_known_args()[0]

# %% [markdown]
# ## Which order wins
#
# `spin_lattice` gives a lattice in a magnetic state. One electron per site on the triangular lattice with strong
# coupling orders at 120 degrees, half an electron in the four-sublattice chiral state. `kpts` averages over boundary
# conditions, so that a cell of 36 sites stands for one of 1296.

# %%
PHASES = ("120", "tetrahedral", "stripe", "FM")


def energies(filling, coupling):
    """Free energy per site of every phase."""
    model = SDModel(filling=filling, coupling=coupling, temperature=0.005, kpts=(6, 6, 1))
    lattices = {name: spin_lattice("triangular", (6, 6), name) for name in PHASES}
    return {name: model.get_property("energy", atoms) / len(atoms) for name, atoms in lattices.items()}


table = {(1.0, 6.0): energies(1.0, 6.0), (0.5, 3.0): energies(0.5, 3.0)}
print("energy per site [t]    " + "".join(f"{name:>14}" for name in PHASES))
for (filling, coupling), row in table.items():
    print(f"n = {filling}, J = {coupling}       " + "".join(f"{row[name]:>14.4f}" for name in PHASES))

# %% [markdown]
# ## Fields, exactly and in linear time
#
# Spins some way off their order feel fields. Exact diagonalisation gives them with all digits and costs the cube of the
# number of sites; the kernel polynomial method costs as much per site whatever the number of sites.

# %%
magnet = spin_lattice("triangular", (12, 12), "120")
set_moments(magnet, cone(get_spins(magnet), 30.0, rng=0, filled=True))
exact = SDModel(coupling=6.0, filling=1.0).get_property("exchange_fields", magnet)
errors = {}
for probing in (2, 4, 6):
    kpm = SDModel(coupling=6.0, filling=1.0, solver="kpm", moments=512, probing=probing)
    start = time.process_time()
    fields = kpm.get_property("exchange_fields", magnet)
    seconds = time.process_time() - start
    errors[probing] = np.linalg.norm(fields - exact, axis=1).mean() / np.linalg.norm(exact, axis=1).mean()
    print(f"kpm, probing {probing}: relative error of the fields {errors[probing]:.0e}, {seconds:.2f} s")

# %% [markdown]
# ## Without damping the electrons' free energy is conserved
#
# `gyromagnetic_ratio=1.0` makes the time that of the lattice model.

# %%
small = spin_lattice("triangular", (6, 6), "120")
set_moments(small, cone(get_spins(small), 30.0, rng=1, filled=True))
small.calc = SDModel(coupling=6.0, filling=1.0)
free_energy = []
dynamics = SpinDynamics(small, 0.2, gyromagnetic_ratio=1.0)
dynamics.attach(lambda: free_energy.append(small.get_potential_energy()))
dynamics.run(100)
drift = np.abs(np.array(free_energy) - free_energy[0]).max() / len(small)
print(
    f"largest change of the free energy in 20/t: {drift:.0e} t per site, {dynamics.evaluations} evaluations of fields"
)

# %% [markdown]
# ## Quenches, and frames to train on
#
# Random spins in contact with a cold bath. `generate` runs them, labels snapshots with fields, and writes them to a
# file; a run that is stopped goes on where it was. Ordered states with every spin disturbed are added.

# %%
exact = SDModel(coupling=6.0, filling=1.0)
order = spin_lattice("triangular", (options.side, options.side), "120")
DYNAMICS, TIMES = {"timestep": 1.0, "damping": 0.3}, [0, 2, 5, 10, 20, 30, 50, 80, 120]


def labelled(tasks):
    """Frames with fields, task by task in the order of the tasks."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.xyz"
        first = generate(path, tasks[:1], exact, progress=False)
        second = generate(path, tasks, exact, n_jobs=options.workers, progress=False)
        frames = read(path, ":")
    print(f"{first} frames, then {second} more, {len(frames)} in the file")
    for frame in frames:
        frame.calc = None  # fields are enough to learn from
    return [[frame for frame in frames if frame.info["task"] == task.key] for task in tasks]


tasks = spin_quenches(order, count=options.training + options.quenches, times=TIMES, **DYNAMICS, rng=0)
runs = labelled(tasks)
disturbed = labelled(perturbed_states(order, angles=[5, 15, 30, 45], count=2, rng=1))
training = [frame for run in runs[: options.training] + disturbed for frame in run]
unseen = runs[options.training :]
print("columns:", ", ".join(name for name in training[0].arrays if name not in ("numbers", "positions")))

# %% [markdown]
# ## Learning the fields
#
# How much a field depends on spins far away is found by drawing these anew: no model of the range can be better than
# the variance. Here bonds e_i.e_j within two lattice constants, projected on the irreducible representations of the
# point group, are the inputs of a network for the energy of a site; its derivatives are the fields.

# %%
descriptor = LatticeDescriptor(radius=2.0, pair_radius=1.0, cross=True)
settings = {"hidden": (32, 32), "epochs": 60, "batch_frames": 2, "sigma_field": 1e-3, "progress": False}
model = SpinNN(descriptor, **settings).fit(training)


def mean_squares(frames):
    """Of the fields and of the errors of learned ones, per component in J^2."""
    fields = [frame.arrays["exchange_fields"] for frame in frames]
    error = [model.predict(frame)["exchange_fields"] - field for frame, field in zip(frames, fields, strict=True)]
    return np.mean(np.square(fields)) / 36, np.mean(np.square(error)) / 36


def beyond_range(radius, samples=8):
    """Mean square of what spins beyond a radius do to the field of a site among random spins, in J^2."""
    states = [
        spin_lattice("triangular", (options.side, options.side), "random", rng=seed) for seed in range(samples + 1)
    ]
    far = order.get_distances(0, range(len(order)), mic=True) > radius + 0.1
    fields = []
    for other in states[1:]:
        mixed = states[0].copy()
        set_moments(mixed, np.where(far[:, None], get_spins(other), get_spins(mixed)))
        fields.append(exact.get_property("exchange_fields", mixed)[0])
    return np.var(fields, axis=0, ddof=1).mean() / 36


print("unknowable from within", ", ".join(f"{radius:g}: {beyond_range(radius):.1e}" for radius in (1.0, 2.0, 3.0)))
quality = {time: mean_squares([run[k] for run in unseen]) for k, time in enumerate(TIMES)}
print("  time   fields^2 (J^2)   errors^2 (J^2)")
for moment, (size, error) in quality.items():
    print(f"{moment:>6}{size:>17.1e}{error:>17.1e}")

# %% [markdown]
# ## The same quenches with learned fields
#
# From the random spins of quenches that were kept apart. Correlation functions C(r, t) and S(K) + S(K'), which is 1 in
# perfect order, are averages over quenches with their standard errors.


# %%
def quench(start, times):
    """Frames of a quench with learned fields."""
    magnet = start.copy()
    magnet.calc = SpinCalculator(model)
    bath = {"damping": DYNAMICS["damping"], "gyromagnetic_ratio": 1.0, "integrator": "depondt"}
    dynamics = SpinDynamics(magnet, DYNAMICS["timestep"], **bath)
    frames = []
    for moment in times:
        dynamics.run(round(moment / DYNAMICS["timestep"]) - dynamics.nsteps)
        frames.append(magnet.copy())
    return frames


def summary(frame):
    """C(r) up to half of the lattice, the mean vector chirality, and S(K) + S(K')."""
    side = round(len(frame) ** 0.5)
    r, c = correlation(frame)
    peaks = structure_factor(frame, side * np.array([[1, 2, 0], [2, 1, 0]]) / 3).sum()
    return [*c[(r > 0) & (r <= 0.5 * side)], vector_chirality(frame).mean(), peaks]


def averaged(runs):
    """Means (T, Q) over quenches and their standard errors."""
    values = np.array([[summary(frame) for frame in run] for run in runs])
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))


learned = [quench(run[0], TIMES) for run in unseen]
(mean, bar), (guess, spread) = averaged(unseen), averaged(learned)
apart = (guess - mean)[1:] / np.hypot(bar, spread)[1:]
within = np.mean(np.abs(apart) < 2)
print("  time    S(K) + S(K'), exact    learned")
for k, moment in enumerate(TIMES):
    print(f"{moment:>6}    {mean[k, -1]:.3f} +- {bar[k, -1]:.3f}    {guess[k, -1]:.3f} +- {spread[k, -1]:.3f}")
print(
    f"C(r, t): {apart[:, :-2].size} values, {100 * np.mean(np.abs(apart[:, :-2]) < 2):.0f} % within two standard "
    f"errors, root mean square {np.sqrt(np.mean(apart[:, :-2] ** 2)):.2f}"
)

# %% [markdown]
# ## A larger lattice
#
# The model runs on any number of sites. On a larger lattice the order of 120 degrees grows from many places, and
# vortices are left where it does not fit together.

# %%
later = np.unique(np.rint(np.geomspace(10, options.until, 7)))
start = spin_lattice("triangular", (options.large, options.large), "random", rng=5)
large = quench(start, later)
peaks = [summary(frame)[-1] for frame in large]
for moment, peak in zip(later, peaks, strict=True):
    print(f"{len(start)} sites, time {moment:>5g}: S(K) + S(K') = {peak:.3f}")

# %% [markdown]
# ## Pictures


# %%
def draw():
    """Figure of the phase energies, the error of the KPM and the quench."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for k, ((filling, coupling), row) in enumerate(table.items()):
        lowest = min(row.values())
        places = np.arange(len(PHASES)) + 0.4 * k - 0.2
        heights = [row[name] - lowest for name in PHASES]
        axes[0].bar(places, heights, width=0.38, label=f"n = {filling:g}, J = {coupling:g} t")
    axes[0].set_xticks(np.arange(len(PHASES)), PHASES, rotation=20)
    axes[0].set(ylabel="energy above the lowest [t per site]", title="triangular lattice")
    axes[0].legend(frameon=False)
    axes[1].semilogy(list(errors), list(errors.values()), "o-")
    axes[1].set(xlabel="hops between sites of one vector", ylabel="relative error of fields", title="kpm, 512 moments")
    axes[1].set_xticks(list(errors))
    axes[2].errorbar(TIMES, mean[:, -1], bar[:, -1], marker="o", linestyle="", color="k", label="exact")
    axes[2].errorbar(TIMES, guess[:, -1], spread[:, -1], color="C0", label="learned")
    axes[2].set(xlabel="time [hbar/t]", ylabel="S(K) + S(K')", title=f"quench, n = 1, J = 6 t, {len(order)} sites")
    axes[2].legend(frameon=False)
    return figure


def draw_quench():
    """Vector chirality of the large lattice, and C(r, t) of the small one."""
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.3), layout="constrained", width_ratios=(1, 1, 1, 1.1))
    for panel, k in zip(axes, (1, 3, 6), strict=False):
        colours = vector_chirality(large[k])
        x, y = large[k].positions[:, :2].T
        marks = panel.scatter(x, y, c=colours, s=7e3 / len(start), cmap="viridis", vmin=0, vmax=1)
        panel.set(title=f"t = {later[k]:g}", aspect="equal")
        panel.axis("off")
    figure.colorbar(marks, ax=axes[:3], label="vector chirality", shrink=0.8)
    r, _ = correlation(order)
    r = r[(r > 0) & (r <= 0.5 * options.side)]
    for k, colour in zip((2, 5, 8), ("C0", "C1", "C2"), strict=True):
        axes[3].errorbar(r, mean[k, :-2], bar[k, :-2], color=colour, marker="o", linestyle="", markersize=4)
        axes[3].errorbar(r, guess[k, :-2], spread[k, :-2], color=colour, linewidth=1, label=f"t = {TIMES[k]}")
    axes[3].set(xlabel="r (lattice constants)", ylabel="C(r, t)", title="dots exact, lines learned")
    axes[3].legend(frameon=False)
    return figure


figure = draw_quench()
if "FIGURES" in os.environ:
    figure.savefig(Path(os.environ["FIGURES"]) / "quench_learned.png", dpi=100)
plt.close(figure)

# %% [markdown]
# ## Checked numbers

# %%
checks = {
    "120 degrees wins at half filling": min(table[1.0, 6.0], key=table[1.0, 6.0].get) == "120",
    "its energy": abs(table[1.0, 6.0]["120"] + 6.3502) < 1e-4,
    "the chiral state wins at quarter filling": min(table[0.5, 3.0], key=table[0.5, 3.0].get) == "tetrahedral",
    "fields of the KPM": errors[6] < 1e-3 < errors[2],
    "free energy conserved": drift < 1e-6,
    "all frames once": {len(run) for run in runs} == {len(TIMES)},
    "the quench orders": mean[0, -1] < 0.2 and mean[-1, -1] > 0.5,
    "learned fields near order": quality[TIMES[-1]][1] < 1e-7 and quality[TIMES[-1]][1] < 0.01 * quality[0][0],
    "correlations agree": within > 0.8,
    "order grows on the large lattice": peaks[-1] > 3 * peaks[0],
}
failed = [name for name, passed in checks.items() if not passed]
if failed:
    raise RuntimeError(f"this tutorial should have reached: {', '.join(failed)}")
print(f"all {len(checks)} checks passed")
