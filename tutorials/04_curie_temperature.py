# %% [markdown]
# # The Curie temperature of a magnet
#
# Magnetisation, heat capacity and Binder cumulant of a bcc ferromagnet against temperature, and its Curie temperature
# from two cells. The magnet is the classical Heisenberg model, whose Curie temperature is known; any calculator with
# energies and exchange fields goes the same way, a fitted model for instance. About a minute on one core.

# %%
import os
import tempfile
from pathlib import Path

from ase import units
from ase.build import bulk

from ase_spinml import Heisenberg, set_moments
from ase_spinml.analysis import curie_temperature

J = 0.025  # eV for each pair of nearest neighbours
iron = bulk("Fe", a=2.83, cubic=True)
set_moments(iron, [[0, 0, 2.2], [0, 0, 2.2]])  # the ordered state
iron.calc = Heisenberg([J])
mean_field = 8 * J / (3 * units.kB)
exact = 2.054 * J / units.kB  # K. Chen, A. M. Ferrenberg and D. P. Landau, Phys. Rev. B 48, 3249 (1993)
print(f"mean field would say {mean_field:.0f} K, the transition is at {exact:.0f} K")

# %% [markdown]
# ## The runs
#
# Cells of 3^3 and 5^3 cubes, 54 and 250 spins, at six temperatures. Two are far below the transition, the others
# about it, close enough for the energies of neighbouring runs to overlap. Every finished point is in the file, so that
# a run that was stopped goes on where it was; `n_jobs` runs points side by side.

# %%
temperatures = [60, 250, 540, 595, 650, 720]
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "points.npz"
    result = curie_temperature(iron, temperatures, sizes=(3, 5), steps=4000, path=path, progress=False)
    again = curie_temperature(iron, temperatures, sizes=(3, 5), steps=4000, path=path, progress=False)  # reads the file

print(f"{'spins':>6}{'T (K)':>8}{'|m|':>18}{'C (k_B)':>18}{'U':>18}{'samples':>9}")
for size in result.sizes:
    for point in result.averages[size]:
        estimates = (point.magnetisation, point.heat_capacity, point.binder)
        texts = "".join(f"{f'{e.value:.3f} +- {e.error:.3f}':>18}" for e in estimates)
        print(f"{point.n_spins:>6}{point.temperature_K:>8.0f}{texts}{point.n_samples:>9}")

# %% [markdown]
# ## The crossing
#
# The larger cell has the larger cumulant below the transition and the smaller one above. Where they cross, the magnet
# is critical, up to corrections that small cells leave: here some percent, as 54 spins are few. The error is
# statistical and knows nothing of them; longer runs make it smaller, larger cells the corrections.

# %%
critical = result.critical_temperature_K
deviation = 100 * (critical.value / exact - 1)
print(f"{result.method} at {critical.value:.0f} +- {critical.error:.0f} K, {deviation:+.1f} % from the exact value")

# %% [markdown]
# ## A picture
#
# `FIGURES=folder` saves it.

# %%
if "FIGURES" in os.environ:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 4.0), layout="constrained", dpi=120)
    left, right = figure.subplots(1, 2)
    for k, size in enumerate(result.sizes):
        label, colour = f"{result.averages[size][0].n_spins} spins", f"C{k}"
        value, error = result.values("magnetisation", size)
        left.errorbar(result.temperatures_K, value, error, fmt="o-", ms=4, color=colour, label=label)
        value, error = result.values("binder", size)
        right.errorbar(result.temperatures_K[2:], value[2:], error[2:], fmt="o", ms=4, color=colour)
        grid, curve = result.curves[size]
        right.plot(grid[grid >= 540], curve[grid >= 540], color=colour, label=label)
    for ax in (left, right):
        ax.axvspan(critical.value - critical.error, critical.value + critical.error, color="0.85", label="crossing")
        ax.axvline(exact, color="k", ls=":", label="exact")
        ax.set_xlabel("temperature (K)")
    left.set(ylabel="magnetisation", xlim=(0, None), ylim=(0, 1))
    right.set(ylabel="Binder cumulant")
    left.legend(loc="lower left")
    figure.savefig(Path(os.environ["FIGURES"]) / "curie.png")

# %% [markdown]
# ## Checked numbers
#
# At low temperature the classical heat capacity is one k_B per spin, and spin waves take |m| down by
# k_B T/8J times Watson's sum 1.393, less in a small cell. Quantum magnets differ there: their heat capacity vanishes.

# %%
coldest, hottest = result.averages[(5, 5, 5)][0], result.averages[(5, 5, 5)][-1]
spin_waves = 1 - 1.393 * units.kB * 60 / (8 * J)
checks = {
    "the crossing is right within 5 percent": abs(critical.value - exact) < 0.05 * exact,
    "its error is below 3 percent": critical.error < 0.03 * exact,
    "well below mean field": critical.value < 0.9 * mean_field,
    "spin waves at 60 K": abs(coldest.magnetisation.value - spin_waves) < 0.01,
    "one k_B per spin at 60 K": abs(coldest.heat_capacity.value - 1) < 0.25,
    "cumulant of an ordered magnet": abs(coldest.binder.value - 2 / 3) < 0.001,
    "cumulant falls above the transition": hottest.binder.value < 0.6,
    "the file gives the same": again.critical_temperature_K == critical,
}
failed = [name for name, passed in checks.items() if not passed]
if failed:
    raise RuntimeError(f"this tutorial should have reached: {', '.join(failed)}")
print(f"all {len(checks)} checks passed")
