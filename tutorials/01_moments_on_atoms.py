# %% [markdown]
# # Moments on Atoms
#
# Where a spin state lives on `ase.Atoms`, how it is set, turned, repeated and stored, what ASE does to it, and which
# signs and units hold. At the end one spin turns in a field. A few seconds.

# %%
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.mixing import SumCalculator
from ase.io import read, write

from ase_spinml import Heisenberg, SpinDynamics, Zeeman, get_moments, get_spins, set_moments
from ase_spinml.errors import InputError
from ase_spinml.moments import magnetic_mask, random_directions, rotate, spin_spiral, store_results
from ase_spinml.units import G_FACTOR, HBAR, MU_B

# %% [markdown]
# ## One vector per atom
#
# The state is the array `atoms.arrays["initial_magmoms"]` with a moment vector in Bohr magnetons for every atom. Its
# direction is the spin, its length the moment; a zero row is a non-magnetic atom. No other array will do: ASE compares
# this one before it reuses results, and writes it to files.

# %%
oxide = bulk("NiO", "rocksalt", a=4.17)
set_moments(oxide, [[0, 0, 1.7], [0, 0, 0]])
print("moments of", oxide.symbols, get_moments(oxide).tolist(), "magnetic:", magnetic_mask(oxide).tolist())

# %% [markdown]
# `bulk("Fe")` comes with one number per atom, after which ASE refuses vectors. `set_moments` removes it first. Numbers
# alone say nothing about a direction: they are refused, or laid along an axis that you name.

# %%
iron = bulk("Fe", cubic=True)
preset = iron.get_initial_magnetic_moments()
refusals = []
for attempt in (lambda: get_moments(iron), lambda: set_moments(iron, preset)):
    try:
        attempt()
    except InputError as error:
        refusals.append(str(error))
        print("refused:", error)
set_moments(iron, preset, axis=(1, 1, 0))
lifted = get_moments(iron)
print(f"laid along (1, 1, 0): {lifted.round(4).tolist()}")

# %% [markdown]
# ## Turning
#
# Moments are axial vectors, m -> det(Q) Q m. `rotate` turns the moments alone, or crystal and moments together;
# `Atoms.rotate` of ASE leaves moments where they were. An energy without spin-orbit coupling does not notice either.

# %%
quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # 90 degrees about z
turned = iron.copy()
rotate(turned, quarter)
together = iron.copy()
rotate(together, quarter, positions=True)
by_ase = iron.copy()
by_ase.rotate(90, "z", rotate_cell=True)
mirrored = iron.copy()
rotate(mirrored, -np.eye(3), positions=True)
print("moments turned by rotate", turned.arrays["initial_magmoms"][0].round(3).tolist())
print("           by Atoms.rotate", by_ase.arrays["initial_magmoms"][0].round(3).tolist(), "(as before)")

# %% [markdown]
# ## Supercells and spirals
#
# A repeated frame repeats its moments. `spin_spiral` gives directions e = cos(2 pi q.s) u + sin(2 pi q.s) v with s the
# fractional coordinates: q in units of the reciprocal cell, whole numbers where the cell is periodic.

# %%
row = bulk("Fe", a=2.87, cubic=True).repeat((1, 1, 8))
set_moments(row, 2.2 * spin_spiral(row, q=(0, 0, 1), axis=(0, 0, 1)))
step = np.degrees(np.arccos(get_spins(row)[0] @ get_spins(row)[2]))
long = row * (1, 1, 2)
print(
    f"{step:.1f} degrees from cell to cell, {len(long)} atoms with a mean spin of "
    f"{np.linalg.norm(get_spins(long).mean(axis=0)):.0e}"
)
try:
    spin_spiral(row, q=(0, 0, 0.5))
except InputError as error:
    refusals.append(str(error))
    print("refused:", error)

# %% [markdown]
# ## Files
#
# Trajectories of ASE keep moments in full, extended XYZ keeps eight decimals. `get_spins` divides by the length, so
# that spins are unit vectors whatever the file. Results that ASE has no name for, the exchange fields, are moved into a
# column by `store_results`: extended XYZ keeps it, `.traj` does not.

# %%
disordered = bulk("Fe", a=2.87, cubic=True).repeat(2)
set_moments(disordered, 2.2 * random_directions(len(disordered), rng=0))
disordered.calc = Heisenberg([0.02])
kept = {}
with tempfile.TemporaryDirectory() as folder:
    for name in ("state.traj", "state.extxyz"):
        write(Path(folder) / name, store_results(disordered))
        frame = read(Path(folder) / name)
        change = np.abs(get_moments(frame) - get_moments(disordered)).max()
        unit = np.abs(np.linalg.norm(get_spins(frame), axis=1) - 1).max()
        kept[name] = (change, unit, "exchange_fields" in frame.arrays, frame.get_potential_energy())
        print(
            f"{name:<14} moments changed by {change:.0e} mu_B, spins by {unit:.0e} from unit length, "
            f"column of fields: {kept[name][2]}"
        )

# %% [markdown]
# `Atoms` that differ in moments only are equal to ASE: split and de-duplicate frames by their index.

# %%
other = disordered.copy()
set_moments(other, -get_moments(disordered))
equal = other == disordered
print("opposite moments, equal Atoms:", equal)

# %% [markdown]
# ## Energies and fields
#
# Positive J is ferromagnetic, E = -sum over pairs of J e_i.e_j in eV, and a moment is lowest along a magnetic field.
# Terms add up with ASE's `SumCalculator`. `exchange_fields` is H_i = -dE/dm_i in eV per Bohr magneton. A term that
# depends on directions only, as exchange does, gives the part across the moment; `Zeeman` gives its full field.

# %%
pair = Atoms("Fe2", [[0, 0, 0], [2.5, 0, 0]])
set_moments(pair, [[2, 0, 0], [0, 3, 0]])
pair.calc = SumCalculator([Heisenberg([0.030]), Zeeman((0, 0, 100))])
fields = pair.calc.get_property("exchange_fields", pair)
expected = [[0, 0.030 / 2, 100 * MU_B], [0.030 / 3, 0, 100 * MU_B]]
print(f"energy {pair.get_potential_energy():.6f} eV, fields in eV/mu_B:")
print(fields.round(6))
set_moments(pair, [[0, 0, 2], [0, 0, 3]])
aligned = pair.get_potential_energy()
print(f"parallel and along the field {aligned:.6f} eV = -J - 5 mu_B B")

# %% [markdown]
# The torque m x H is the derivative of the energy by a turn of the spin. Compare a small turn about x:

# %%
set_moments(pair, [[0, 2, 0], [0, 0, 3]])
torque = np.cross(get_moments(pair), pair.calc.get_property("exchange_fields", pair))[0]
sides = []
for angle in (1e-4, -1e-4):
    frame = pair.copy()
    set_moments(frame, [[0, 2 * np.cos(angle), 2 * np.sin(angle)], [0, 0, 3]])
    frame.calc = pair.calc
    sides.append(frame.get_potential_energy())
slope = (sides[0] - sides[1]) / 2e-4
print(f"torque about x {torque[0]:.8f} eV, -dE/d(angle) {-slope:.8f} eV")

# %% [markdown]
# ## One spin in a field
#
# dm/dt = -gamma m x H with gamma = g/hbar: the moment of an electron turns counter-clockwise seen from the tip of the
# field, whatever its length, at the Larmor frequency g mu_B B / hbar, 28 GHz per tesla. Times are in units of ASE;
# multiply by `units.fs`. Across the field a midpoint step turns by 2 asin(omega dt / 2), too far by (omega dt)^2 / 24.

# %%
frequencies = []
for moment in (1.0, 2.2):
    single = Atoms("Fe")
    set_moments(single, [[moment, 0, 0]])
    single.calc = Zeeman((0, 0, 50))
    angles, time_step = [], 2 * units.fs
    dynamics = SpinDynamics(single, time_step)
    dynamics.attach(lambda spin=single, angles=angles: angles.append(np.arctan2(*get_spins(spin)[0, 1::-1])))
    dynamics.run(500)
    slope_in_time = np.polyfit(time_step * np.arange(501), np.unwrap(angles), 1)[0]
    frequencies.append(slope_in_time * units.second / (2e12 * np.pi))
larmor = G_FACTOR * MU_B * 50 / HBAR * units.second / (2e12 * np.pi)
turn = G_FACTOR * MU_B * 50 / HBAR * time_step
too_far = 2 * np.arcsin(turn / 2) / turn
print(f"{frequencies[0]:.6f} and {frequencies[1]:.6f} THz for moments of 1.0 and 2.2 mu_B, Larmor {larmor:.6f} THz")

# %% [markdown]
# Damping turns the moment into the field: cos(theta) = tanh(alpha omega t / (1 + alpha^2)) from 90 degrees on.

# %%
set_moments(single, [[2.2, 0, 0]])
dynamics = SpinDynamics(single, time_step, damping=0.1)
dynamics.run(500)
height = get_spins(single)[0, 2]
closed_form = np.tanh(0.1 / (1 + 0.1**2) * 500 * turn)
print(f"after 1 ps e_z = {height:.6f}, closed form {closed_form:.6f}")

# %% [markdown]
# ## Checked numbers

# %%
checks = {
    "three refusals": len(refusals) == 3 and all(text.startswith("Expected") for text in refusals),
    "collinear moments along the axis": np.allclose(lifted, preset[:, None] * np.array([1, 1, 0]) / np.sqrt(2)),
    "a quarter turn": np.allclose(get_moments(turned)[:, 0], -lifted[:, 1]),
    "crystal and moments": np.allclose(together.cell.array, iron.cell.array @ quarter.T)
    and np.allclose(get_moments(together), get_moments(turned)),
    "ASE leaves moments alone": np.array_equal(get_moments(by_ase), lifted),
    "inversion leaves moments alone": np.allclose(get_moments(mirrored), lifted),
    "spiral": abs(step - 45) < 1e-9,
    "trajectories keep everything": kept["state.traj"][0] == 0 and not kept["state.traj"][2],
    "extended XYZ keeps eight decimals and fields": kept["state.extxyz"][0] < 1e-8 and kept["state.extxyz"][2],
    "spins are unit vectors": max(unit for _, unit, *_ in kept.values()) < 1e-15,
    "equal to ASE": equal,
    "fields": np.allclose(fields, expected, atol=1e-12),
    "energies": abs(aligned + 0.030 + 5 * 100 * MU_B) < 1e-12,
    "torque": abs(torque[0] + slope) < 1e-9,
    "Larmor frequency, counter-clockwise": np.allclose(frequencies, larmor * too_far, rtol=1e-8, atol=0),
    "damping": abs(height - closed_form) < 1e-4,
}
failed = [name for name, passed in checks.items() if not passed]
if failed:
    raise RuntimeError(f"this tutorial should have reached: {', '.join(failed)}")
print(f"all {len(checks)} checks passed")
