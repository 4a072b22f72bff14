# %% [markdown]
# # A magnet without a lattice
#
# Sites at random in a plane, one electron to each: electrons that hop make neighbours antiparallel, and where three
# sites are neighbours of each other that cannot be. Quenched spins freeze as they come, and stay. SOSO features know
# nothing of lattices: a network learns the fields from small samples of such a glass, is tried on samples it has not
# seen, and on one nine times as large (an s-d model after arXiv:2311.16964).
#
# Energies are in units of the hopping t between sites at distance 1, times in hbar/t. Two minutes on one core.
# `python 15_amorphous_magnet.py --help` lists the options; set the environment variable `FIGURES` to a folder to keep
# the picture.

# %%
import argparse
import itertools
import os
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from ase import units
from ase.neighborlist import neighbor_list

from ase_spinml import SOSO, SDModel, SpinCalculator, SpinDynamics, SpinGAP, SpinNN, get_spins, set_moments
from ase_spinml.electrons import spin_lattice
from ase_spinml.moments import random_directions

parser = argparse.ArgumentParser(description="An amorphous s-d magnet, exact and learned.")
parser.add_argument("--side", type=int, default=8, help="small samples, side x side sites")
parser.add_argument("--training", type=int, default=16, help="samples to learn from")
parser.add_argument("--seeds", type=int, default=4, help="samples to compare")
parser.add_argument("--until", type=int, default=120, help="time of a quench")
parser.add_argument("--epochs", type=int, default=40)
parser.add_argument("--large", type=int, default=24, help="side of the large sample")
options, _ = parser.parse_known_args()

COUPLING, ELECTRONS, BATH, REACH, STEP = 4.0, 0.05, 0.01, 2.0, 0.5
"""J, temperatures of the electrons and of the bath of the spins, range of the hopping, time step."""
TIMES = np.array([0, 5, 10, 20, 30, *range(40, options.until + 1, 10)])
LATE = np.flatnonzero(options.until / 2 <= TIMES)
"""Frames of the second half of a quench."""
began = time.process_time()

# %% [markdown]
# ## Electrons among random sites
#
# Hopping decays with distance, smoothly to zero at 2. Sites are at least 0.7 apart, where it is 2.5 t.


# %%
def hopping(distance):
    """t(r), 1 at the distance 1."""
    return np.exp(2 - 2 * distance) * ((REACH**2 - distance**2) / (REACH**2 - 1)) ** 2


def exact():
    """Electrons, one per site."""
    return SDModel(hopping, COUPLING, filling=1.0, temperature=ELECTRONS, cutoff=REACH)


def glass(side, seed):
    """A sample with random spins."""
    return spin_lattice("amorphous", (side, side), "random", rng=seed)


def quench(atoms, calc, seed, times=TIMES):
    """Frames at the times, with fields if the calculator is the exact one, in a bath at T = 0.01 t."""
    atoms = atoms.copy()
    atoms.calc = calc
    bath = {"temperature_K": BATH / units.kB, "damping": 0.1, "rng": seed}
    dynamics = SpinDynamics(atoms, STEP, **bath, gyromagnetic_ratio=1.0, integrator="depondt", progress=False)
    frames = []
    for until in times:
        dynamics.run(round(until / STEP) - dynamics.nsteps)
        frames.append(labelled(atoms) if isinstance(calc, SDModel) else atoms.copy())
    return frames


def labelled(atoms):
    """A copy with the fields and the energy per site of the electrons."""
    frame, calc = atoms.copy(), exact()
    frame.arrays["exchange_fields"] = calc.get_property("exchange_fields", frame)
    frame.info["per_site"] = calc.get_property("energy", frame) / len(frame)
    return frame


training = [
    f for k in range(options.training) for f in quench(glass(options.side, 100 + k), exact(), k, [0, 10, 20, 40])
]
starts = [glass(options.side, seed) for seed in range(options.seeds)]
reference = [quench(start, exact(), seed) for seed, start in enumerate(starts)]
levels, density = exact().density_of_states(reference[0][-1])
gap = np.diff(levels[density > 1e-3]).max()
print(f"{len(training)} frames of {options.side}^2 sites to learn from; a gap of {gap:.1f} t after a quench")

# %% [markdown]
# ## How far electrons see
#
# Spins beyond a radius are drawn anew, the others stay: what that does to the field in the middle is unknowable to any
# model of that range.


# %%
def redraw(atoms, far, seed):
    """A copy with other random spins on some of the sites (N,)."""
    copy = atoms.copy()
    others = random_directions(len(copy), np.random.default_rng(seed))
    set_moments(copy, np.where(far[:, None], others, get_spins(copy)))
    return copy


def beyond(radius, sites=4, draws=4):
    """Variance of a field by spins beyond a radius, mean over components and a few sites, in J^2."""
    state, variances = glass(12, 50), []
    for site in range(sites):
        far = state.get_distances(site, range(len(state)), mic=True) > radius
        found = [exact().get_property("exchange_fields", redraw(state, far, seed))[site] for seed in range(draws)]
        variances.append(np.var(found, axis=0, ddof=1).mean() / COUPLING**2)
    return np.mean(variances)


unknown = {radius: beyond(radius) for radius in (1.5, 2.0, 2.5, 3.0)}
print("variance of a field by spins beyond r [J^2]:", ", ".join(f"{r:g}: {v:.0e}" for r, v in unknown.items()))

# %% [markdown]
# ## Three models
#
# Two-body features with a linear fit are an exchange J(r) of pairs. A network of the same features lets the exchange of
# one pair depend on the other neighbours and their spins; three-body features tell it where these are.

# %%
RANGE = 2.5
PAIRS = {"cutoff": RANGE, "n_max": 12, "width": 0.2, "spin_width": 0.3}
ANGLES = {"spin_l_max": 2, "n_max_angular": 5, "l_max": 3}
fit = {"sigma_field": 1e-3}
network = fit | {"epochs": options.epochs, "batch_frames": 2, "progress": False}
models = {
    "pairs": SpinGAP(SOSO(["X"], **PAIRS, spin_l_max=1, body_order=2), zeta=1, **fit),
    "network": SpinNN(SOSO(["X"], **PAIRS, spin_l_max=2, body_order=2), **network),
    "with angles": SpinNN(SOSO(["X"], **PAIRS, **ANGLES, body_order=3), **network),
}


def errors(model, frames):
    """Squared errors of every site, mean over components, in J^2, (frames, N)."""
    found = [model.predict(f)["exchange_fields"] - f.arrays["exchange_fields"] for f in frames]
    return np.array([np.mean(one**2, axis=1) for one in found]) / COUPLING**2


known = [labelled(redraw(frame, np.ones(len(frame), bool), 7)) for frame in training[::4]]
held = [frame for run in reference for frame in run]
squares = {}
for name, model in models.items():
    start = time.process_time()
    model.fit(training)
    squares[name] = errors(model, held).reshape(options.seeds, len(TIMES), -1)
    spent, fresh = time.process_time() - start, errors(model, known).mean()
    print(f"{name:>12}: {model.descriptor_.n_features:>3} features, {spent:>3.0f} s; random spins on ", end="")
    print(f"known sites {fresh:.1e}, on new ones {squares[name][:, 0].mean():.1e} J^2")
fields = np.reshape([np.mean(f.arrays["exchange_fields"] ** 2) / COUPLING**2 for f in held], squares["pairs"].shape[:2])
print("mean squared errors on new samples [J^2]")
print(f"{'time':>6}{'fields^2':>12}" + "".join(f"{name:>14}" for name in models))
for k in [*range(0, len(TIMES), 4), -1]:
    row = "".join(f"{values[:, k].mean():>14.1e}" for values in squares.values())
    print(f"{TIMES[k]:>6}{fields[:, k].mean():>12.1e}{row}")
print(f"{'all':>6}{fields.mean():>12.1e}" + "".join(f"{values.mean():>14.1e}" for values in squares.values()))
print(f"{time.process_time() - began:.0f} s")

# %% [markdown]
# ## Where it errs
#
# Sites by the distance of the nearest neighbour and by the number of neighbours within 1.3.


# %%
def surroundings(atoms):
    """Distance of the nearest neighbour (N,) and number of neighbours within 1.3 (N,)."""
    i, distance = neighbor_list("id", atoms, 2.0)
    nearest = np.full(len(atoms), 2.0)
    np.minimum.at(nearest, i, distance)
    return nearest, np.bincount(i[distance < 1.3], minlength=len(atoms))


nearest, count = np.array([surroundings(start) for start in starts]).swapaxes(0, 1)
by_site = squares["with angles"].mean(axis=1)
edges = [0.7, 0.75, 0.8, 0.9, 2.0]
near = [by_site[(nearest >= a) & (nearest < b)].mean() for a, b in itertools.pairwise(edges)]
print("errors with angles [J^2] by distance of the nearest neighbour: ", end="")
print(", ".join(f"{a:g} to {b:g}: {e:.0e}" for a, b, e in zip(edges, edges[1:], near, strict=False)))
crowds = [(count <= 2), (count == 3), (count == 4), (count >= 5)]
by_count = [by_site[which].mean() for which in crowds]
print("by neighbours within 1.3: ", end="")
print(", ".join(f"{name}: {e:.0e}" for name, e in zip(("0-2", "3", "4", "5-"), by_count, strict=True)))

# %% [markdown]
# ## Quenches with learned fields
#
# The same sites, random spins and noise. All spins may turn together at no cost, which is taken out before states are
# compared. What is printed are means over samples and the differences of learned and exact quenches, sample by sample.


# %%
def aligned(spins, to):
    """Spins (N, 3) after the rotation of all together that brings them closest to others."""
    u, _, v = np.linalg.svd(spins.T @ to)
    return spins @ (u * [1, 1, np.sign(np.linalg.det(u @ v))]) @ v


def overlap(first, second):
    """Mean of S_i.S_i' over the sites of two frames."""
    to = get_spins(second)
    return np.mean(np.sum(aligned(get_spins(first), to) * to, axis=1))


def frozen(run):
    """Mean length of the time averages of the spins, second half of a quench."""
    to = get_spins(run[-1])
    return np.linalg.norm(np.mean([aligned(get_spins(run[k]), to) for k in LATE], axis=0), axis=1).mean()


SHELLS = np.array([0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.7, 2.0, 2.5, 3.0])


def correlation(run):
    """Mean S_i.S_j by distance in the second half of a quench, one value for each of the shells."""
    i, j, distance = neighbor_list("ijd", run[-1], SHELLS[-1])
    products = np.mean([np.sum(get_spins(run[k])[i] * get_spins(run[k])[j], axis=1) for k in LATE], axis=0)
    return np.histogram(distance, SHELLS, weights=products)[0] / np.histogram(distance, SHELLS)[0]


def memory(run):
    """q(t) = <S(t0).S(t0 + t)>, t0 half of the time."""
    return [overlap(run[LATE[0]], run[k]) for k in LATE]


def energies(run):
    """Exact energies per site, whatever the fields that led there."""
    return [frame.info["per_site"] for frame in run]


def compared(function):
    """Means of exact and learned quenches, and of their differences with the standard error."""
    a, b = (np.array([function(run) for run in runs]) for runs in (reference, learned))
    return a.mean(axis=0), b.mean(axis=0), (b - a).mean(axis=0), (b - a).std(axis=0, ddof=1) / np.sqrt(len(a))


def row(title, values):
    """Print one comparison."""
    a, b, shift, doubt = values
    print(f"{title:>26}{a:>10.4f}{b:>10.4f}{shift:>11.4f} +- {doubt:.4f}")


model = models["with angles"]
learned = [quench(start, SpinCalculator(model), seed) for seed, start in enumerate(starts)]
learned = [[labelled(frame) for frame in run] for run in learned]
released, frozen_in, distances, remembered = map(compared, (energies, frozen, correlation, memory))
print(f"\n{'':>26}{'exact':>10}{'learned':>10}{'difference':>11}")
for k in (0, 3, 5, -1):
    row(f"energy per site, t = {TIMES[k]}", [part[k] for part in released])
for k, (a, b) in enumerate(itertools.pairwise(SHELLS)):
    row(f"C(r), {a:g} to {b:g}", [part[k] for part in distances])
row(f"q({TIMES[-1] - TIMES[LATE[0]]})", [part[-1] for part in remembered])
row("frozen |<S>|", frozen_in)
same = np.array([[overlap(*pair) for pair in zip(*runs, strict=True)] for runs in zip(reference, learned, strict=True)])
chance = np.mean([overlap(redraw(s, np.ones(len(s), bool), 9), s) for s in starts])
print(
    f"overlap of exact and learned spins at the end: {same[:, -1].mean():.2f}, at t = 40 {same[:, 5].mean():.2f}, ",
    end="",
)
print(f"{chance:.2f} by chance")
again = [quench(start, exact(), 50 + seed, [options.until])[0] for seed, start in enumerate(starts)]
again = [overlap(run[-1], frame) for run, frame in zip(reference, again, strict=True)]
print(f"of two exact ones with different noise: {np.mean(again):.2f}")
own = errors(model, [run[-1] for run in learned]).mean()
print(f"mean squared error at the end of quenches of its own: {own:.1e} J^2")

# %% [markdown]
# ## A larger sample
#
# The same model, sites it has not seen, beside one exact diagonalisation at the start and one at the end.

# %%
start = time.process_time()
large = quench(glass(options.large, 9), SpinCalculator(model), 9)
spent = time.process_time() - start
transfer = [errors(model, [labelled(frame)]).mean() for frame in (large[0], large[-1])]
print(f"\n{options.large}^2 sites to time {options.until}: {spent:.0f} s; frozen |<S>| {frozen(large):.3f}")
print(f"mean squared errors at the start and at the end {transfer[0]:.1e}, {transfer[1]:.1e} J^2")
wide = correlation(large)
print(f"C(r): {' '.join(f'{value:.3f}' for value in wide)}")
print(f"{(time.process_time() - began) / 60:.1f} minutes of processor time")

# %% [markdown]
# ## Picture

# %%
STYLES = {"pairs": ("C1", "x:"), "network": ("C2", "^-."), "with angles": ("C0", "s--")}


def doubts(runs, function):
    """Mean and standard error over samples."""
    values = np.array([function(run) for run in runs])
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))


def satisfied(atoms):
    """Mean S_i.S_j with neighbours within 1.3 (N,), nan without."""
    i, j = neighbor_list("ij", atoms, 1.3)
    spins = get_spins(atoms)
    total = np.bincount(i, np.sum(spins[i] * spins[j], axis=1), len(atoms))
    count = np.bincount(i, minlength=len(atoms))
    return np.divide(total, count, out=np.full(len(atoms), np.nan), where=count > 0)


figure, axes = plt.subplots(2, 3, figsize=(12, 7), layout="constrained")
panel = axes[0, 0]
panel.semilogy(TIMES, fields.mean(axis=0), "k-", label="mean square of the fields")
for name, (colour, style) in STYLES.items():
    panel.semilogy(TIMES, squares[name].mean(axis=(0, 2)), style, color=colour, markersize=4, label=name)
panel.axhline(unknown[RANGE], color="0.6", label=f"spins beyond r = {RANGE:g}")
panel.set(
    xlabel="time (hbar/t)",
    ylabel="mean squared error (J$^2$)",
    title="exact quenches of new samples",
    ylim=(1e-8, 1),
)
panel.legend(frameon=False, fontsize=8)
axes[0, 1].loglog(nearest.ravel(), by_site.ravel(), "o", color="C0", markersize=3, alpha=0.6)
axes[0, 1].set(
    xlabel="distance of the nearest neighbour", ylabel="mean squared error (J$^2$)", title="with angles, by site"
)
axes[0, 1].set_xticks([0.7, 0.8, 0.9, 1.0, 1.2], ["0.7", "0.8", "0.9", "1", "1.2"], minor=False)
axes[0, 1].minorticks_off()
middles = (SHELLS[1:] + SHELLS[:-1]) / 2
runs_by_name = {"exact": (reference, "k", "o-"), "learned": (learned, "C0", "s--")}
for name, (runs, colour, style) in runs_by_name.items():
    for panel, x, function in (
        (axes[0, 2], middles, correlation),
        (axes[1, 0], TIMES, energies),
        (axes[1, 1], TIMES[LATE] - TIMES[LATE[0]], memory),
    ):
        mean, error = doubts(runs, function)
        panel.errorbar(x, mean, error, fmt=style, color=colour, capsize=2, markersize=4, label=name)
axes[0, 2].plot(middles, wide, "^:", color="C1", markersize=4, label=f"learned, {options.large}$^2$ sites")
axes[0, 2].axhline(0, color="0.7", linewidth=0.8)
axes[0, 2].set(xlabel="distance r", ylabel="mean $S_i \\cdot S_j$", title="second half of the quench")
axes[1, 0].set(xlabel="time (hbar/t)", ylabel="exact energy (t per site)", title="states of exact and learned quenches")
axes[1, 1].plot(
    TIMES[LATE] - TIMES[LATE[0]],
    memory(large),
    "^:",
    color="C1",
    markersize=4,
    label=f"learned, {options.large}$^2$ sites",
)
axes[1, 1].axhline(chance, color="0.6", label=f"random spins, {options.side}$^2$ sites")
axes[1, 1].set(
    xlabel="time t (hbar/t)",
    ylabel=f"$\\langle S(t_0) \\cdot S(t_0+t) \\rangle$, $t_0$ = {TIMES[LATE[0]]}",
    ylim=(0, 1.02),
)
for panel in (axes[0, 2], axes[1, 0], axes[1, 1]):
    panel.legend(frameon=False, fontsize=8)
dots = axes[1, 2].scatter(
    *large[-1].positions[:, :2].T, c=satisfied(large[-1]), s=18, cmap="cividis", vmin=-1, vmax=0.5
)
axes[1, 2].set(xlabel="x", ylabel="y", aspect="equal", title=f"{options.large}$^2$ sites at the end, learned")
figure.colorbar(dots, ax=axes[1, 2], label="mean $S_i \\cdot S_j$ with neighbours within 1.3")
if "FIGURES" in os.environ:
    figure.savefig(Path(os.environ["FIGURES"]) / "amorphous.png", dpi=100)
plt.close(figure)

# %% [markdown]
# ## Checked numbers

# %%
mean = {name: values.mean() for name, values in squares.items()}
checks = {
    "fields are local": unknown[RANGE] < 1e-6,
    "angles are better than pairs": mean["with angles"] < 0.3 * mean["pairs"],
    "errors on new samples": mean["with angles"] < 0.03 * fields.mean(),
    "energies of the states reached": abs(released[2][-1]) < 0.02,
    "close neighbours are antiparallel": distances[0][0] < -0.8 and distances[1][0] < -0.8,
    "correlations agree": np.abs(distances[2]).max() < 0.15,
    "spins freeze in both": min(frozen_in[:2]) > 0.6,
    "as much": abs(frozen_in[2]) < 0.15,
    "errors on a larger sample": transfer[0] < 3 * squares["with angles"][:, 0].mean(),
}
failed = [name for name, passed in checks.items() if not passed]
if failed:
    raise RuntimeError(f"this tutorial should have reached: {', '.join(failed)}")
print(f"all {len(checks)} checks passed")
