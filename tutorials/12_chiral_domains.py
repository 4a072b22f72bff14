# %% [markdown]
# # Chiral order out of disorder, and how its domains grow
#
# Half an electron per site of the triangular lattice, coupled to classical spins by J = 3 t, wants the four-sublattice
# tetrahedral order. Any three neighbours then have the scalar chirality +4/(3 sqrt 3), or all have the opposite one: an
# Ising order of a magnet whose spins are free to turn. Quenched from random spins, domains of both signs appear and
# grow. A network learns the fields of the electrons on 12 x 12 sites and is put beside exact diagonalisation; then it
# runs on a lattice that diagonalisation does not reach (S. Zhang, G.-W. Chern and coworkers, arXiv:2403.11705,
# 2604.11513).
#
# Some four minutes on two cores; `--help` lists what makes it larger and better. Set the environment variable
# `FIGURES` to a folder to keep the pictures.

# %%
import argparse
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from ase.io import read

from ase_spinml import LatticeDescriptor, SDModel, SpinCalculator, SpinDynamics, SpinNN
from ase_spinml.analysis import correlation, domain_size, scalar_chirality, structure_factor
from ase_spinml.electrons import spin_lattice
from ase_spinml.sampling import generate, perturbed_states, spin_quenches

parser = argparse.ArgumentParser(description="Chiral order and the growth of its domains, learned and exact.")
parser.add_argument("--side", type=int, default=12, help="sites along a side of the small lattice")
parser.add_argument("--radius", type=float, default=2.0, help="range of the model in lattice constants")
parser.add_argument("--training", type=int, default=4, help="quenches to train on")
parser.add_argument("--quenches", type=int, default=4, help="quenches to compare")
parser.add_argument("--large", type=int, default=48, help="sites along a side of the large lattice")
parser.add_argument("--runs", type=int, default=2, help="quenches of the large lattice")
parser.add_argument("--until", type=float, default=400.0, help="end of these, hbar/t")
parser.add_argument("--workers", type=int, default=2, help="processes for exact fields")
options = parser.parse_known_args()[0]

# %% [markdown]
# ## Exact quenches
#
# Energies are in units of the hopping t, times in hbar/t. Electrons have the temperature 0.1 t, far below the gap of
# the ordered state. A bath takes energy away through a damping of 0.5.

# %%
COUPLING, PERFECT = 3.0, 4 / (3 * np.sqrt(3))
DYNAMICS = {"timestep": 2.0, "damping": 0.5}
TIMES = [0, 4, 10, 20, 40, 60, 100, 150, 200]
exact = SDModel(coupling=COUPLING, filling=0.5, temperature=0.1)
order = spin_lattice("triangular", (options.side, options.side), "tetrahedral")


def labelled(tasks):
    """Frames with fields, task by task in the order of the tasks."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.xyz"
        generate(path, tasks, exact, n_jobs=options.workers, progress=False)
        frames = read(path, ":")
    for frame in frames:
        frame.calc = None  # fields are enough
    return [[frame for frame in frames if frame.info["task"] == task.key] for task in tasks]


quenches = spin_quenches(order, count=options.training + options.quenches, times=TIMES, **DYNAMICS, rng=0)
disturbed = perturbed_states(order, angles=[5, 15, 30, 45], count=2, rng=1)
runs = labelled(quenches)
training = [frame for run in runs[: options.training] + labelled(disturbed) for frame in run]
unseen = runs[options.training :]

# %% [markdown]
# ## Learning the fields
#
# Bonds e_i.e_j and chiralities within two lattice constants. How much a model of that range can know is found by
# drawing all spins beyond it anew: the field of the central site then varies, and no model of the range can be better.

# %%
descriptor = LatticeDescriptor(radius=options.radius, pair_radius=1.0, cross=True, chirality=True)
settings = {"hidden": (32, 32), "epochs": 60, "batch_frames": 2, "sigma_field": 1e-3, "progress": False}
model = SpinNN(descriptor, **settings).fit(training)


def errors(frames):
    """Mean square of the fields and of their errors, per component in J^2."""
    found = [model.predict(frame)["exchange_fields"] - frame.arrays["exchange_fields"] for frame in frames]
    fields = [frame.arrays["exchange_fields"] for frame in frames]
    return np.mean(np.square(fields)) / COUPLING**2, np.mean(np.square(found)) / COUPLING**2


def beyond_range(radius, samples=8):
    """Mean square of what spins beyond a radius do to the field of a site among random spins, in J^2."""
    state = spin_lattice("triangular", (options.side, options.side), "random", rng=2)
    far = state.get_distances(0, range(len(state)), mic=True) > radius + 0.1
    fields = []
    for seed in range(samples):
        other = spin_lattice("triangular", (options.side, options.side), "random", rng=seed)
        moments = np.where(far[:, None], other.arrays["initial_magmoms"], state.arrays["initial_magmoms"])
        state.arrays["initial_magmoms"] = moments
        fields.append(exact.get_property("exchange_fields", state)[0])
    return np.var(fields, axis=0, ddof=1).mean() / COUPLING**2


print("  time   fields^2 (J^2)   errors^2 (J^2)")
table = {time: errors([run[k] for run in unseen]) for k, time in enumerate(TIMES)}
for time, (size, error) in table.items():
    print(f"{time:>6}{size:>17.1e}{error:>17.1e}")
floor = {radius: beyond_range(radius) for radius in (1.0, 2.0, 3.0, 4.0)}
print("unknowable from within", ", ".join(f"{r:g}: {value:.1e}" for r, value in floor.items()), "(random spins)")

# %% [markdown]
# ## The same quenches with learned fields
#
# From the same random spins as the exact ones that were kept apart. Single trajectories part, as they do in any system
# this disordered; what counts are averages over quenches, with their standard errors.


# %%
def quench(atoms, times, device=None):
    """Frames of a quench with learned fields."""
    atoms = atoms.copy()
    atoms.calc = SpinCalculator(model)
    dynamics = SpinDynamics(
        atoms, DYNAMICS["timestep"], damping=DYNAMICS["damping"], gyromagnetic_ratio=1.0, integrator="depondt"
    )
    frames = []
    for time in times:
        dynamics.run(round(time / DYNAMICS["timestep"]) - dynamics.nsteps)
        frames.append(atoms.copy())
    return frames


learned = [quench(run[0], TIMES) for run in unseen]


def summary(run):
    """For every time: C(r) of the spins up to half of the lattice, mean |chirality|, weight at the points M."""
    half = options.side / 2
    waves = half * np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]])
    rows = []
    for frame in run:
        r, c = correlation(frame)
        chirality = np.abs(scalar_chirality(frame)).mean() / PERFECT
        rows.append([*c[(r > 0) & (r <= half)], chirality, structure_factor(frame, waves).sum()])
    return rows


def averaged(runs):
    """Means (T, Q) over quenches and their standard errors."""
    values = np.array([summary(run) for run in runs])
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))


(mean, error), (guess, spread) = averaged(unseen), averaged(learned)
apart = (guess - mean)[1:] / np.hypot(error, spread)[1:]
within = np.mean(np.abs(apart) < 2)
print("  time    chirality (exact, learned)          S at M (exact, learned)")
for k, time in enumerate(TIMES):
    pairs = [(x[k, column], s[k, column]) for column in (-2, -1) for x, s in ((mean, error), (guess, spread))]
    print(f"{time:>6}    " + "    ".join(f"{x:.3f} +- {s:.3f}" for x, s in pairs))
print(
    f"C(r, t): {mean[1:, :-2].size} values, {100 * np.mean(np.abs(apart[:, :-2]) < 2):.0f} % within two standard "
    f"errors, root mean square {np.sqrt(np.mean(apart[:, :-2] ** 2)):.2f}"
)

# %% [markdown]
# ## A lattice that diagonalisation does not reach
#
# The same model, unchanged. The size of a domain is the distance at which the correlation of the chirality has fallen
# to one half.

# %%
growth_times = np.unique(np.rint(np.geomspace(20, options.until, 9) / 2) * 2)
large = (options.large, options.large)
domains, sizes = [], []
for seed in range(options.runs):
    start = spin_lattice("triangular", large, "random", rng=100 + seed)
    domains.append(quench(start, growth_times))
    sizes.append([domain_size(frame, scalar_chirality(frame)) for frame in domains[-1]])
sizes = np.array(sizes)
size, scatter = sizes.mean(axis=0), sizes.std(axis=0, ddof=1) / np.sqrt(options.runs)


def power(times, lengths):
    """Exponent of a power law."""
    return np.polyfit(np.log(times), np.log(lengths), 1)[0]


free = (growth_times >= 60) & (size < 0.2 * options.large)  # domains that exist and do not feel the size of the lattice
exponents = [power(growth_times[free], row[free]) for row in sizes]
exponent, doubt = np.mean(exponents), np.std(exponents, ddof=1) / np.sqrt(options.runs)
print("  time    size of domains")
for time, length, bar in zip(growth_times, size, scatter, strict=True):
    print(f"{time:>6g}    {length:.2f} +- {bar:.2f}")
print(f"L ~ t^{exponent:.2f} +- {doubt:.2f} for t = {growth_times[free].min():g} to {growth_times[free].max():g}")

# %% [markdown]
# ## Pictures


# %%
def draw():
    """Chirality of a large lattice, correlations of both, growth."""
    figure = plt.figure(figsize=(11, 5.8), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(0.8, 1))
    for k, axes in zip((1, 3, 5, 8), upper.subplots(1, 4), strict=True):
        frame = domains[0][k]
        colours = scalar_chirality(frame) / PERFECT
        marks = axes.scatter(*frame.positions[:, :2].T, c=colours, s=9e3 / len(frame), cmap="RdBu", vmin=-1, vmax=1)
        axes.set(title=f"t = {growth_times[k]:g}", aspect="equal")
        axes.axis("off")
    upper.colorbar(marks, ax=upper.axes, label="scalar chirality", shrink=0.7)
    left, middle, right = lower.subplots(1, 3)
    r, _ = correlation(unseen[0][0])
    r = r[(r > 0) & (r <= options.side / 2)]
    for k, colour in zip((2, 5, 8), ("C0", "C1", "C2"), strict=True):
        left.errorbar(r, mean[k, :-2], error[k, :-2], color=colour, marker="o", linestyle="", markersize=4)
        left.errorbar(r, guess[k, :-2], spread[k, :-2], color=colour, linewidth=1, label=f"t = {TIMES[k]}")
    left.set(xlabel="r (lattice constants)", ylabel="C(r, t)", title="dots exact, lines learned")
    left.legend(frameon=False, fontsize=8)
    middle.errorbar(TIMES, mean[:, -2], error[:, -2], marker="o", linestyle="", color="k", label="exact")
    middle.errorbar(TIMES, guess[:, -2], spread[:, -2], color="C0", label="learned")
    middle.set(xlabel="time (hbar/t)", ylabel="mean |chirality|", title=f"{options.side} x {options.side} sites")
    middle.legend(frameon=False)
    right.errorbar(growth_times, size, scatter, marker="o", linestyle="", color="C0", label="learned")
    guide = growth_times[free]
    centre = np.exp(np.mean(np.log(guide))), np.exp(np.mean(np.log(size[free])))
    for value, style in ((0.5, "--"), (1.0, ":")):
        right.plot(guide, centre[1] * (guide / centre[0]) ** value, f"k{style}", label=f"$t^{{{value:g}}}$")
    right.set(xscale="log", yscale="log", xlabel="time (hbar/t)", ylabel="size of domains (lattice constants)")
    for axis, ticks in ((right.xaxis, (20, 50, 100, 200, 400, 800)), (right.yaxis, (1, 2, 5, 10, 20))):
        limits = axis.get_view_interval()
        axis.set_ticks([tick for tick in ticks if limits[0] <= tick <= limits[1]])
        axis.set_major_formatter("{x:g}")
        axis.minorticks_off()
    right.set_title(f"{options.large} x {options.large} sites: exponent {exponent:.2f} $\\pm$ {doubt:.2f}")
    right.legend(frameon=False)
    return figure


figure = draw()
if "FIGURES" in os.environ:
    figure.savefig(Path(os.environ["FIGURES"]) / "chiral_domains.png", dpi=110)
plt.close(figure)

# %% [markdown]
# ## Checked numbers

# %%
checks = {
    "fields near order": table[200][1] < 0.15 * table[200][0],
    "the exact quench orders": mean[-1, -2] > 0.6,
    "the learned one as well": abs(guess[-1, -2] - mean[-1, -2]) < 0.2,
    "correlations agree": within > 0.7,
    "domains grow on the large lattice": size[-1] > 2 * size[2],
}
failed = [name for name, passed in checks.items() if not passed]
if failed:
    raise RuntimeError(f"this tutorial should have reached: {', '.join(failed)}")
print(f"all {len(checks)} checks passed")
