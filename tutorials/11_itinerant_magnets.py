# %% [markdown]
# # Itinerant magnets
#
# Electrons that hop on a lattice and couple to classical spins decide by themselves how the spins order. Energies of
# known phases, fields from two solvers, a quench that finds its order, and labelled frames to train on. Energies are in
# units of the hopping t, times in hbar/t. Half a minute on one core.

# %%
import tempfile
import time
from pathlib import Path

import numpy as np
from ase.io import read

from ase_spinml import SDModel, SpinDynamics, get_spins, set_moments
from ase_spinml.electrons import spin_lattice
from ase_spinml.moments import cone
from ase_spinml.sampling import generate, perturbed_states, spin_quenches

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
# ## A quench
#
# Random spins in contact with a cold bath. The structure factor at K and K' grows towards 1, its value at 120 degrees.


# %%
def order(atoms, side):
    """S(K) + S(K') of a triangular lattice of side x side sites."""
    waves = np.fft.fft2(get_spins(atoms).reshape(side, side, 3), axes=(0, 1))
    factor = np.sum(np.abs(waves) ** 2, axis=-1) / side**4
    return factor[side // 3, 2 * side // 3] + factor[2 * side // 3, side // 3]


SIDE = 6
quenched = spin_lattice("triangular", (SIDE, SIDE), "random", rng=0)
quenched.calc = SDModel(coupling=6.0, filling=1.0)
perfect = quenched.calc.get_property("energy", spin_lattice("triangular", (SIDE, SIDE), "120"))
quench = SpinDynamics(quenched, 0.5, damping=0.3, gyromagnetic_ratio=1.0)
history = []
for until in (0, 5, 10, 20, 40, 80, 120, 200):
    quench.run(round(until / 0.5) - quench.nsteps)
    above = (quenched.get_potential_energy() - perfect) / len(quenched)
    history.append((until, above, order(quenched, SIDE)))
    print(f"time {until:>4}: {above:.4f} t per site above 120 degrees, S(K) + S(K') = {history[-1][2]:.3f}")

# %% [markdown]
# ## Frames to train on
#
# Snapshots of quenches at times that rise by a factor, and ordered states with every spin disturbed, labelled with
# energies and fields. `n_jobs=2` would use two processes. A run that is stopped goes on where it was.

# %%
start_order = spin_lattice("triangular", (SIDE, SIDE), "120")
tasks = spin_quenches(start_order, count=2, times=np.geomspace(1, 20, 4), timestep=0.5, damping=0.3, rng=0)
tasks += perturbed_states(start_order, angles=[5, 15, 45], count=2, rng=1)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "train.xyz"
    first = generate(path, tasks[:3], SDModel(coupling=6.0, filling=1.0))
    second = generate(path, tasks, SDModel(coupling=6.0, filling=1.0))
    frames = read(path, ":")
print(f"{first} frames, then {second} more, {len(frames)} in the file")
print("columns:", ", ".join(name for name in frames[0].arrays if name not in ("numbers", "positions")))

# %% [markdown]
# ## Picture


# %%
def draw():
    """Figure of the phase energies, the error of the KPM and the quench."""
    import matplotlib.pyplot as plt

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
    times, above, peak = np.array(history).T
    axes[2].plot(times, peak, "o-", label="S(K) + S(K')")
    axes[2].plot(times, above / above[0], "s-", label="energy, relative")
    axes[2].set(xlabel="time [1/t]", title="quench, n = 1, J = 6 t")
    axes[2].legend(frameon=False, loc=(0.45, 0.26))
    return figure


# %%
checks = {
    "120 degrees wins at half filling": min(table[1.0, 6.0], key=table[1.0, 6.0].get) == "120",
    "its energy": abs(table[1.0, 6.0]["120"] + 6.3502) < 1e-4,
    "the chiral state wins at quarter filling": min(table[0.5, 3.0], key=table[0.5, 3.0].get) == "tetrahedral",
    "fields of the KPM": errors[6] < 1e-3 < errors[2],
    "free energy conserved": drift < 1e-6,
    "the quench orders": history[0][2] < 0.2 and history[-1][2] > 0.9 and history[-1][1] < 0.01,
    "all frames once": first + second == len(frames) == 14,
    "labels": all(np.isfinite(frame.get_potential_energy()) for frame in frames),
}
failed = [name for name, passed in checks.items() if not passed]
if failed:
    raise RuntimeError(f"this tutorial should have reached: {', '.join(failed)}")
print(f"all {len(checks)} checks passed")
