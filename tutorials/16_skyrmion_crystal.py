# %% [markdown]
# # A skyrmion crystal of a metal, without a magnetic field
#
# Electrons that couple weakly to classical spins carry an interaction of long range between them, strongest at the wave
# vectors that map large parts of the Fermi surface onto each other. On a triangular lattice there are three of them
# that are equivalent, and products of four spins decide how many the spins use: one makes a spiral, three a crystal of
# skyrmions (model of R. Ozawa, S. Hayami, Y. Motome, arXiv:1703.03227). A model of the surroundings learns the fields
# of the electrons, as far as it can see, and is asked whether it makes and keeps such crystals.
#
# Two minutes on one idle core; `--help` lists what makes it larger and better. Set the environment variable
# `FIGURES` to a folder to keep the picture.

# %%
import argparse
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from ase.calculators.mixing import SumCalculator

from ase_spinml import (
    LatticeDescriptor,
    Relaxation,
    SDModel,
    SpinCalculator,
    SpinDynamics,
    SpinGAP,
    Zeeman,
    get_spins,
    set_moments,
)
from ase_spinml.analysis import structure_factor, topological_charge
from ase_spinml.analysis.topology import solid_angles, triangulate
from ase_spinml.electrons import spin_lattice
from ase_spinml.moments import cone, unit_rows
from ase_spinml.units import MU_B

parser = argparse.ArgumentParser(description="Skyrmion crystals of a metal: phases, learned fields, quenches.")
parser.add_argument("--radius", type=float, default=4.0, help="range of the model in lattice constants")
parser.add_argument("--training", type=int, default=3, help="quenches to train on")
parser.add_argument("--quenches", type=int, default=3, help="quenches to compare")
parser.add_argument("--until", type=float, default=400.0, help="end of these, hbar/t")
parser.add_argument("--fields", type=float, nargs="+", default=[0.0, 0.006, 0.01], help="magnetic fields in t")
parser.add_argument("--large", type=int, default=36, help="sites along a side of the large lattice, a multiple of 12")
parser.add_argument("--later", type=float, default=1000.0, help="end of its quench, hbar/t")
parser.add_argument("--transfer", action="store_true", help="compare fields of 24 x 24 sites as well")
options = parser.parse_known_args()[0]

# %% [markdown]
# ## Where the electrons want the spins to turn
#
# Energies are in units of the hopping t to first neighbours, times in hbar/t; hopping to third neighbours is -0.85 t.
# To second order in J, spins with the wave vector q gain the energy J^2 chi(q) per site, where chi is the Lindhard
# function of the bare bands for one direction of the spin.

# %%
HOPPING, COUPLING, MU, TEMPERATURE, SIDE = [1.0, 0.0, -0.85], 0.5, -3.5, 0.03, 12


def susceptibility(points=96):
    """chi of one spin direction at the wave vectors (m, n) / points of the reciprocal lattice, 1/t per site."""
    k = 2 * np.pi * np.stack(np.meshgrid(*[np.arange(points) / points] * 2, indexing="ij"))
    first, third = (sum(np.cos(n * x) for x in (k[0], k[1], k[0] - k[1])) for n in (1, 2))
    band = -2 * HOPPING[0] * first - 2 * HOPPING[2] * third
    filled = 0.5 - 0.5 * np.tanh((band - MU) / (2 * TEMPERATURE))
    chi = np.empty((points, points))
    for shift in np.ndindex(chi.shape):
        rise = np.roll(band, shift, (0, 1)) - band
        same = np.abs(rise) < 1e-6
        slope = filled * (1 - filled) / TEMPERATURE
        ratio = (filled - np.roll(filled, shift, (0, 1))) / np.where(same, 1, rise)
        chi[shift] = np.where(same, slope, ratio).mean()
    return chi


WAVES = np.array([[2, 1, 0], [-1, 1, 0], [-1, -2, 0]]) / 12  # of length pi/3 along the bonds, in reciprocal vectors
chi = susceptibility()
peak = np.argwhere(chi > 0.999 * chi.max()) / len(chi)
nesting = chi[16, 8]
print(f"chi(Q) = {nesting:.3f}, chi(0) = {chi[0, 0]:.3f}, {len(peak)} peaks, chi(M) = {chi[48, 0]:.3f} per t")

# %% [markdown]
# ## Spirals, and crystals of two kinds
#
# The three cosines as components of the spins make two skyrmions in a magnetic cell of 48 sites, three spirals one.
# 12 x 12 sites hold three cells. `kpts` lets the electrons live on 36 x 36 sites, without which energies are wrong by
# half. States are disturbed by 10 degrees and relaxed.


# %%
def electrons(field=0.0, mesh=3):
    """The metal, in a magnetic field along z."""
    options = {"chemical_potential": MU, "temperature": TEMPERATURE, "kpts": (mesh, mesh, 1), "magnetic_field": field}
    return SDModel(hopping=HOPPING, coupling=COUPLING, **options)


def ordered(kind, angle=0.0, seed=0):
    """Two skyrmions in a cell ("n = 2"), one ("n = 1"), or two waves ("double Q"), every spin disturbed."""
    atoms = spin_lattice("triangular", (SIDE, SIDE))
    wave = 2 * np.pi * atoms.cell.scaled_positions(atoms.positions) @ (SIDE * WAVES).T + 1e-4
    if kind == "n = 2":
        spins = np.cos(wave)
    elif kind == "n = 1":
        turns = 2 * np.pi / 3 * np.arange(3)
        plane = np.sin(wave) @ np.stack([np.cos(turns), np.sin(turns)], axis=1)
        spins = np.column_stack([plane, 0.5 - np.cos(wave).sum(axis=1)])
    else:
        third = 0.8 * np.cos(wave[:, 1])
        rest = np.sqrt(1 - third**2)
        spins = np.stack([rest * np.cos(wave[:, 0]), third, rest * np.sin(wave[:, 0])], axis=1)
    set_moments(atoms, cone(unit_rows(spins), angle, seed, filled=True))
    return atoms


def weights(atoms):
    """Structure factor at the three pairs of wave vectors +-Q, three numbers whose sum is at most one."""
    side = round(len(atoms) ** 0.5)
    return 2 * structure_factor(atoms, side * WAVES)


def skyrmions(atoms):
    """Skyrmions less antiskyrmions in a magnetic cell, whatever their sign."""
    return abs(topological_charge(atoms)) * 48 / len(atoms)


def relaxed(kind, calculator):
    """Relaxed state and its energy per site."""
    atoms = ordered(kind, 10.0)
    atoms.calc = calculator
    Relaxation(atoms).run(torque_max=2e-5, steps=80)
    return atoms, atoms.get_potential_energy() / len(atoms)


KINDS = ("n = 2", "n = 1", "double Q")
phases = {}
print("   B/t   start      energy (1e-3 t)   n_sk   S at the three Q         moment")
for field in options.fields:
    aligned = electrons(field).get_property("energy", spin_lattice("triangular", (SIDE, SIDE))) / SIDE**2
    for kind in KINDS:
        atoms, energy = relaxed(kind, electrons(field))
        phases[field, kind] = 1e3 * (energy - aligned), skyrmions(atoms)
        values = " ".join(f"{x:.3f}" for x in np.sort(weights(atoms))[::-1])
        print(f"{field:>6g}   {kind:<10}{phases[field, kind][0]:>14.3f}{skyrmions(atoms):>9.1f}   {values}", end="")
        print(f"{np.linalg.norm(get_spins(atoms).mean(axis=0)):>12.3f}", flush=True)
winner = {field: min(phases[field, kind] for kind in KINDS)[1] for field in options.fields}

# %% [markdown]
# ## Exact quenches
#
# Random spins, with a damping of 0.5. Fields are known at all times for which spins are kept.

# %%
STEP, DAMPING = 20.0, 0.5
TIMES = [time for time in (0, 20, 40, 80, 120, 200, 300, 400, 600, 800, 1000) if time <= options.until]


def quench(start, times, calculator):
    """Frames of damped dynamics, with their fields."""
    atoms = start.copy()
    atoms.calc = calculator
    bath = {"damping": DAMPING, "gyromagnetic_ratio": 1.0, "integrator": "depondt", "progress": False}
    dynamics = SpinDynamics(atoms, STEP, **bath)
    frames = []
    for time in times:
        dynamics.run(round(time / STEP) - dynamics.nsteps)
        frames.append(labelled(atoms, calculator))
    return frames


def labelled(atoms, calculator):
    """A frame with its fields, which a model shall know to a third of their size."""
    frame = atoms.copy()
    frame.arrays["exchange_fields"] = fields = calculator.get_property("exchange_fields", atoms)
    frame.info["sigma_field"] = max(3e-4, 0.3 * np.sqrt(np.mean(fields**2)))
    return frame


exact = electrons()
starts = [spin_lattice("triangular", (SIDE, SIDE), "random", rng=k) for k in range(options.training + options.quenches)]
runs = [quench(start, TIMES, exact) for start in starts]
unseen = runs[options.training :]
training = [frame for run in runs[: options.training] for frame in run]
training += [
    labelled(ordered(kind, angle, seed), exact)
    for kind in KINDS
    for angle in (5, 15, 35)
    for seed in range(1, 4 if kind == "n = 2" else 3)
]

# %% [markdown]
# ## Learning the fields
#
# To second order the energy is a sum over pairs, to fourth order with products of two pairs, of long range both. So
# what counts is the range: all pairs with the central site within it and the products of these, but no bonds among
# neighbours (`pair_radius` below one lattice constant), and a linear model, which is `SpinGAP` with zeta = 1.

# %%
descriptor = LatticeDescriptor(radius=options.radius, pair_radius=0.5, cross=True)
model = SpinGAP(descriptor, zeta=1, optimize=None).fit(training)


def errors(frames):
    """Mean square of the fields and of their errors, per component in J^2."""
    fields = [frame.arrays["exchange_fields"] for frame in frames]
    found = [model.predict(frame)["exchange_fields"] - field for frame, field in zip(frames, fields, strict=True)]
    return np.mean(np.square(fields)) / COUPLING**2, np.mean(np.square(found)) / COUPLING**2


def beyond_range(radius, surroundings=4, samples=4):
    """Mean square of what spins beyond a radius do to the field of a site among random spins, in J^2."""
    far = starts[0].get_distances(0, range(SIDE**2), mic=True)[:, None] > radius + 0.1
    others = [get_spins(spin_lattice("triangular", (SIDE, SIDE), "random", rng=100 + k)) for k in range(samples)]
    variances = []
    for start in starts[:surroundings]:
        state, fields = start.copy(), []
        for other in others:
            set_moments(state, np.where(far, other, get_spins(start)))
            fields.append(exact.get_property("exchange_fields", state)[0])
        variances.append(np.var(fields, axis=0, ddof=1).mean())
    return np.mean(variances) / COUPLING**2


print("  time   fields^2 (J^2)   errors^2 (J^2)")
table = {time: errors([run[k] for run in unseen]) for k, time in enumerate(TIMES)}
disturbed = {angle: errors([labelled(ordered("n = 2", angle, 50), exact)]) for angle in (5, 20)}
for time, (size, error) in table.items():
    print(f"{time:>6}{size:>17.1e}{error:>17.1e}")
for angle, (size, error) in disturbed.items():
    print(f"{angle:>4} deg{size:>15.1e}{error:>17.1e}   (crystal with two skyrmions, disturbed)")
floor = {radius: beyond_range(radius) for radius in (1.0, 2.0, 3.0, 4.0, 5.0)}
print("unknowable from within", ", ".join(f"{r:g}: {value:.1e}" for r, value in floor.items()), "(random spins)")

# %% [markdown]
# ## Learned and exact, from the same spins
#
# Quenches from the random spins of the exact ones that were kept apart, and a crystal that was disturbed by 20 degrees.
# `order` is the weight of the spins in the six peaks +-Q. The sign of the charge is free without a field, and a quench
# may end with other waves than the crystal's: counted are |charges| and their standard errors.

# %%
learned = [quench(run[0], TIMES, SpinCalculator(model)) for run in unseen]


def averaged(runs):
    """Means (T, 2) over quenches of the order and the number of skyrmions, and standard errors."""
    values = np.array([[[weights(frame).sum(), skyrmions(frame)] for frame in run] for run in runs])
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))


(mean, bar), (guess, spread) = averaged(unseen), averaged(learned)
print("  time    order (exact, learned)              n_sk (exact, learned)")
for k, time in enumerate(TIMES):
    pairs = [(x[k, column], s[k, column]) for column in (0, 1) for x, s in ((mean, bar), (guess, spread))]
    print(f"{time:>6}    " + "    ".join(f"{x:.3f} +- {s:.3f}" for x, s in pairs))
kept = quench(ordered("n = 2", 20.0, 60), [0, options.until], SpinCalculator(model))[-1]
print(f"the disturbed crystal after {options.until:g}: n_sk {skyrmions(kept):.1f}, order {weights(kept).sum():.3f}")

# %% [markdown]
# A magnetic field acts on the spins alone, so the model needs to know nothing of it.

# %%
chosen = {}
for field in options.fields:
    calculator = SumCalculator([SpinCalculator(model), Zeeman([0, 0, field / MU_B])])
    found = [relaxed(kind, calculator) for kind in KINDS]
    energies = np.array([energy for _, energy in found])
    chosen[field] = skyrmions(found[np.argmin(energies)][0])
    above = ", ".join(f"{kind}: {1e3 * (e - energies.min()):.3f}" for kind, e in zip(KINDS, energies, strict=True))
    print(f"learned, B = {field:g} t: n_sk = {chosen[field]:.1f}; energies above the lowest (1e-3 t), {above}")

# %% [markdown]
# ## A larger lattice
#
# Quenches with learned fields that diagonalisation would take hours for. Where the crystal starts in several places,
# its waves do not fit together.

# %%
later = np.unique(np.rint(np.geomspace(40, options.later, 6) / STEP) * STEP)
start = spin_lattice("triangular", (options.large, options.large), "random", rng=1000)
large = quench(start, later, SpinCalculator(model))


def charges(atoms):
    """Topological charge about every site: solid angles of the triangles, shared by their corners."""
    triangles = triangulate(atoms)
    angles = solid_angles(get_spins(atoms), triangles) / (4 * np.pi)
    return np.bincount(triangles.ravel(), np.repeat(angles / 3, 3), len(atoms))


def ring(atoms):
    """Weight of the spins at all wave vectors whose length is that of Q to a tenth, whatever their direction."""
    factor = structure_factor(atoms)[:, :, 0]
    q = np.stack(np.meshgrid(*[np.fft.fftfreq(n, 1 / n) for n in factor.shape], indexing="ij"), axis=-1)
    lengths = 2 * np.pi * np.linalg.norm(q @ atoms.cell.reciprocal()[:2], axis=-1)
    return factor[np.abs(lengths / (np.pi / 3) - 1) < 0.1].sum()


print("  time    weight at |Q|    n_sk    charges of any sign, per cell")
for time, frame in zip(later, large, strict=True):
    local = 48 / len(frame) * np.abs(charges(frame)).sum()
    print(f"{time:>6g}    {ring(frame):.3f}    {skyrmions(frame):.2f}    {local:.2f}")
if options.transfer:
    random = spin_lattice("triangular", (24, 24), "random", rng=2000)
    middle = quench(random, [200], SpinCalculator(model))[0]
    size, error = errors([labelled(middle, electrons(mesh=2))])
    print(f"24 x 24 sites at t = 200: fields^2 {size:.1e} J^2, errors^2 {error:.1e} J^2")

# %% [markdown]
# ## Pictures


# %%
def draw():
    """Phases in the field, a crystal, quenches, and the large lattice."""
    figure, axes = plt.subplots(2, 3, figsize=(12.5, 6.6), layout="constrained")
    for kind, marker, colour in zip(KINDS, "o^s", ("#0072B2", "#E69F00", "#009E73"), strict=True):
        lowest = [min(phases[field, other][0] for other in KINDS) for field in options.fields]
        heights = [phases[field, kind][0] - low for field, low in zip(options.fields, lowest, strict=True)]
        axes[0, 0].plot(options.fields, heights, marker=marker, color=colour, label=f"from {kind}")
    axes[0, 0].set(xlabel="magnetic field (t)", ylabel="energy above the lowest (10$^{-3}$ t per site)")
    axes[0, 0].set_title("relaxed states, exact")
    axes[0, 0].legend(frameon=False)
    labels = (r"weight at the three $\pm$Q", "skyrmions per cell of 48 sites")
    for panel, column, label in zip(axes[0, 1:], (0, 1), labels, strict=True):
        panel.errorbar(TIMES, mean[:, column], bar[:, column], marker="o", linestyle="", color="k", label="exact")
        panel.errorbar(TIMES, guess[:, column], spread[:, column], color="#0072B2", label="learned")
        panel.set(xlabel="time (hbar/t)", ylabel=label, title=f"{SIDE} x {SIDE} sites, {len(unseen)} quenches")
        panel.legend(frameon=False)
    show(axes[1, 0], kept, f"disturbed crystal after {options.until:g}, learned")
    show(axes[1, 1], large[2], f"{options.large} x {options.large} sites, t = {later[2]:g}, learned")
    marks = show(axes[1, 2], large[-1], f"{options.large} x {options.large} sites, t = {later[-1]:g}, learned")
    figure.colorbar(marks, ax=axes[1], label="charge about a site", shrink=0.8)
    return figure


def show(panel, atoms, title):
    """Charge about every site."""
    x, y = atoms.positions[:, :2].T
    size = (230 / atoms.cell.lengths()[0]) ** 2 * 0.45
    marks = panel.scatter(x, y, c=charges(atoms), s=size, marker="h", cmap="PuOr", vmin=-0.12, vmax=0.12, linewidths=0)
    panel.set(title=title, aspect="equal")
    panel.axis("off")
    return marks


figure = draw()
if "FIGURES" in os.environ:
    figure.savefig(Path(os.environ["FIGURES"]) / "skyrmion_crystal.png", dpi=100)
plt.close(figure)

# %% [markdown]
# ## Checked numbers

# %%
checks = {
    "Q is where the bands nest": nesting > 0.999 * chi.max() and len(peak) == 6,
    "two skyrmions a cell without a field, one, none in higher ones": [
        round(winner[field]) for field in (0.0, 0.006, 0.01) if field in winner
    ]
    == [2, 1, 0],
    "range counts": floor[4.0] < floor[2.0] < floor[1.0],
    "learned fields of random spins": table[0][1] < 0.2 * table[0][0],
    "learned fields near order": disturbed[20][1] < 0.1 * disturbed[20][0],
    "exact quenches order": mean[-1, 0] > 0.4,
    "learned ones as well": abs(guess[-1, 0] - mean[-1, 0]) < 0.25,
    "the learned crystal stays": round(skyrmions(kept)) == 2 and weights(kept).sum() > 0.8,
    "the large lattice orders": ring(large[-1]) > 0.4,
}
failed = [name for name, passed in checks.items() if not passed]
if failed:
    raise RuntimeError(f"this tutorial should have reached: {', '.join(failed)}")
print(f"all {len(checks)} checks passed")
