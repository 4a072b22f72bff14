# %% [markdown]
# # A skyrmion, and how it collapses
#
# Relax a bubble to a skyrmion, see that it stays, and find the path and the energy barrier of its collapse into the
# ferromagnet. A square lattice with J = 10 meV and D = 6 meV per pair of neighbours, moments of 2 mu_B, 25 T, as in an
# example of the program Spirit. Half a minute on one core.

# %%
import numpy as np
from ase import Atoms, units
from ase.calculators.mixing import SumCalculator

from ase_spinml import Heisenberg, Relaxation, SpinDynamics, SpinNEB, Zeeman, get_spins, interpolate, set_moments
from ase_spinml.analysis import topological_charge
from ase_spinml.landscape.modes import pushed, spin_modes

N = 30
calculator = SumCalculator([Heisenberg(exchange=[0.010], dmi=[0.006]), Zeeman((0, 0, 25))])
ferromagnet = Atoms("Fe", cell=[1, 1, 10], pbc=(True, True, False)).repeat((N, N, 1))
set_moments(ferromagnet, np.tile([0.0, 0.0, 2.0], (N * N, 1)))
ferromagnet.calc = calculator

# %% [markdown]
# ## A bubble becomes a skyrmion
#
# Core down, background up, spins of the rim along the rim (Bloch type, as the D vectors along the bonds want it).
# `Relaxation` turns every spin on its sphere until no torque is left.

# %%
skyrmion = ferromagnet.copy()
skyrmion.calc = calculator
x, y = (skyrmion.positions - skyrmion.positions.mean(axis=0))[:, :2].T
polar = np.pi * np.exp(-(x**2 + y**2) / 5**2)
azimuth = np.arctan2(y, x) + np.pi / 2
bubble = np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=1)
set_moments(skyrmion, 2.0 * bubble)

relaxation = Relaxation(skyrmion)
relaxed = relaxation.run(torque_max=1e-7)
energy = 1e3 * (skyrmion.get_potential_energy() - ferromagnet.get_potential_energy())
down = get_spins(skyrmion)[:, 2] < 0
radius = np.sqrt(down.sum() / np.pi)
print(f"relaxed to a torque of {relaxation.torque:.0e} eV in {relaxation.filter.evaluations} evaluations")
print(f"topological charge {topological_charge(skyrmion):.10f}")
print(f"energy above the ferromagnet {energy:.4f} meV, radius {radius:.2f} lattice spacings")

# %% [markdown]
# ## It stays
#
# Two picoseconds with a heat bath of 10 K.

# %%
warm = skyrmion.copy()
warm.calc = calculator
dynamics = SpinDynamics(warm, 4 * units.fs, temperature_K=10, damping=0.1, rng=1)
charges = []
dynamics.attach(lambda: charges.append(topological_charge(warm)), interval=50)
dynamics.run(500)
print(f"charge at 10 K, every 0.2 ps: {min(charges):.6f} to {max(charges):.6f}")

# %% [markdown]
# ## The path of its collapse
#
# An elastic band from the skyrmion to the ferromagnet. The geodesic between them is the first guess; then the highest
# image climbs to the saddle. The barrier must not depend on the number of images.

# %%
barriers = {}
for n_images in (8, 14):
    band = SpinNEB(interpolate(skyrmion, ferromagnet, n_images), climb=True)
    converged = band.run(fmax=1e-5)
    path = band.path()
    barriers[n_images] = 1e3 * path.barrier()
    print(
        f"{n_images:>3} images: barrier {barriers[n_images]:.4f} meV, back {1e3 * path.barrier(reverse=True):.4f} meV, "
        f"largest force {np.linalg.norm(band.forces(), axis=2).max():.0e} eV, "
        f"{band.evaluations // n_images} evaluations per image"
    )

# %% [markdown]
# ## Is it a saddle?
#
# One negative eigenvalue of the Hessian, no more. Pushed along that mode to one side the state falls back to the
# skyrmion, to the other side into the ferromagnet.

# %%
eigenvalues, modes = spin_modes(band.saddle, 3, tolerance=1e-4)
print("lowest eigenvalues at the saddle:", (1e3 * eigenvalues).round(3), "meV/rad^2")
ends = []
for side in (0.3, -0.3):
    frame = pushed(band.saddle, modes[0], side)
    Relaxation(frame).run(torque_max=1e-6)
    ends.append((1e3 * (frame.get_potential_energy() - ferromagnet.get_potential_energy()), topological_charge(frame)))
ends.sort()
for final_energy, charge in ends:
    print(f"pushed to one side: {final_energy:8.4f} meV above the ferromagnet, charge {round(charge)}")

# %% [markdown]
# ## Picture
#
# Skyrmion, saddle, and the energy along the path.


# %%
def draw():
    """Figure of the skyrmion, the saddle and the path."""
    import matplotlib.pyplot as plt

    from ase_spinml.plotting import energy_path, spin_texture

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.9), layout="constrained", width_ratios=(1, 1, 1.2))
    middle = N / 2 - 0.5
    for ax, frame, title in zip(axes, (skyrmion, band.saddle), ("skyrmion", "saddle"), strict=False):
        spin_texture(frame, ax=ax, colorbar=False)
        ax.set(xlim=(middle - 9, middle + 9), ylim=(middle - 9, middle + 9), title=title)
    figure.colorbar(axes[0].collections[0], ax=axes[:2], label="$e_z$", shrink=0.8)
    energy_path(path, ax=axes[2]).set(title="collapse")
    return figure


# %%
checks = {
    "relaxed": relaxed,
    "charge of a skyrmion with its core down": abs(topological_charge(skyrmion) + 1) < 1e-10,
    "energy above the ferromagnet": abs(energy - 10.5307) < 1e-3,
    "the skyrmion stays": max(abs(np.array(charges) + 1)) < 1e-10,
    "band converged": converged,
    "barrier": abs(barriers[14] - 38.834) < 1e-3,
    "barrier does not depend on the number of images": abs(barriers[8] - barriers[14]) < 1e-3,
    "one negative mode": eigenvalues[0] < 0 < eigenvalues[1],
    "ferromagnet on one side": abs(ends[0][0]) < 1e-3 and abs(ends[0][1]) < 1e-10,
    "skyrmion on the other": abs(ends[1][0] - energy) < 1e-3 and abs(ends[1][1] + 1) < 1e-10,
}
failed = [name for name, passed in checks.items() if not passed]
if failed:
    raise RuntimeError(f"this tutorial should have reached: {', '.join(failed)}")
print(f"all {len(checks)} checks passed")
