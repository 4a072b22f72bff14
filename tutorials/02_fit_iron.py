# %% [markdown]
# # From density-functional labels to a running magnet: bcc iron
#
# Fit SOSO-GAP to the shipped frames of noncollinear iron, see how good it is and where it fails, ask how sure it is,
# save it, open it as an ASE calculator, and run atoms and spins together. Less than two minutes on two cores.

# %%
import tempfile
from pathlib import Path

import numpy as np
import torch
from ase import units
from ase.build import bulk
from ase.md.velocitydistribution import Stationary, thermalize_momenta

from ase_spinml import (
    SOSO,
    SpinCalculator,
    SpinGAP,
    SpinLatticeDynamics,
    get_moments,
    get_spins,
    load_model,
    set_moments,
)
from ase_spinml.demo import load_frames, split
from ase_spinml.moments import cone

torch.set_num_threads(1)  # small systems: more threads only wait for each other

# %% [markdown]
# ## The frames
#
# 88 frames of 2 or 4 atoms. Each has an energy, forces and, for every atom, the exchange field H = -dE/dm. Moments are
# vectors in `atoms.arrays["initial_magmoms"]`. A fifth of the frames is held out: whole frames, never single atoms,
# because atoms of one frame share one energy.

# %%
frames = load_frames()
train, test = split(frames, rng=0)
fields = np.concatenate([frame.arrays["exchange_fields"] for frame in frames])
lengths = np.concatenate([np.linalg.norm(get_moments(frame), axis=1) for frame in frames])
print(f"{len(train)} frames to train, {len(test)} held out")
print(f"moments from {lengths.min():.2f} to {lengths.max():.2f} mu_B")
print(f"largest field {np.linalg.norm(fields, axis=1).max():.3f} eV/mu_B")

# %% [markdown]
# ## The fit
#
# The sigmas say how closely each kind of label should be followed: 2 meV/atom, 30 meV/A and 3 meV/mu_B. How strong
# each block of the descriptor is comes out of the fit, by maximising the evidence.

# %%
model = SpinGAP(SOSO(["Fe"]), n_sparse=300, zeta=2, sigma_energy=2e-3, sigma_forces=0.03, sigma_field=3e-3, rng=0)
model.fit(train)
print("amplitudes in eV:", {block: round(value, 4) for block, value in model.amplitudes_.items()})
print("frames with suspicious labels:", model.outliers_ or "none")

# %% [markdown]
# ## Held-out errors, beside a pair model
#
# The pair model has J(r) e_i.e_j and V(r) and nothing else: body order 2, linear in e_i.e_j, linear kernel. It is
# fitted to the same labels with the same sigmas.

# %%
pair_descriptor = SOSO(["Fe"], body_order=2, spin_l_max=1)
pairs = SpinGAP(pair_descriptor, zeta=1, sigma_energy=2e-3, sigma_forces=0.03, sigma_field=3e-3, rng=0).fit(train)
errors = {"pair model": pairs.evaluate(test), "SOSO-GAP": model.evaluate(test)}
print(f"{'held-out RMSE':<14}{'energy (meV/atom)':>20}{'field m*H (meV)':>20}{'forces (meV/A)':>20}")
for name, error in errors.items():
    values = [1e3 * error[f"{kind}_rmse"] for kind in ("energy", "turning", "forces")]
    print(f"{name:<14}" + "".join(f"{value:>20.2f}" for value in values))

# %% [markdown]
# ## Where the residuals are
#
# By the mean angle between the spins of a frame. Errors of fields are smallest near the ferromagnet.


# %%
def mean_angle(frame):
    """Mean angle in degrees between all spins of a frame."""
    spins = get_spins(frame)
    cosines = (spins @ spins.T)[np.triu_indices(len(frame), 1)]
    return np.degrees(np.arccos(np.clip(cosines, -1, 1))).mean()


def field_errors(frame):
    """Errors of m*H in meV, (N, 3)."""
    difference = model.predict(frame)["exchange_fields"] - frame.arrays["exchange_fields"]
    return 1e3 * np.linalg.norm(get_moments(frame), axis=1, keepdims=True) * difference


angles = np.array([mean_angle(frame) for frame in test])
squares = np.array([np.mean(field_errors(frame) ** 2) for frame in test])
by_angle = {}
for low, high in ((0, 20), (20, 60), (60, 181)):
    inside = (angles >= low) & (angles < high)
    by_angle[low] = np.sqrt(squares[inside].mean())
    print(f"{low:>3} to {high:>3} degrees: {inside.sum():>2} frames, field error {by_angle[low]:.2f} meV")

# %% [markdown]
# ## How sure it is
#
# The posterior, and the noise that frames left out of the fit have shown, give standard deviations. An error divided by
# the predicted one is a z-score; over many held-out values these should scatter by about one.

# %%
z = []
for frame in test:
    _, field_std = model.uncertainty(frame)
    error = model.predict(frame)["exchange_fields"] - frame.arrays["exchange_fields"]
    z.append(np.sum(error**2, axis=1) / np.sum(field_std**2, axis=1))
z_std = np.sqrt(np.mean(np.concatenate(z)))
print(f"standard deviation of the z-scores of fields: {z_std:.2f}")

# %% [markdown]
# ## Save, open, calculate
#
# A model file holds arrays and a JSON header, never code. `SpinCalculator` takes the path or the model.

# %%
with tempfile.TemporaryDirectory() as folder:
    model.save(Path(folder) / "fe.model")
    loaded = load_model(Path(folder) / "fe.model")
before, after = model.predict(test[0])["energy"], loaded.predict(test[0])["energy"]
calculator = SpinCalculator(loaded)
turned = test[int(np.argmax(angles * (angles < 150)))].copy()  # the most disordered one, but not an antiferromagnet
turned.calc = calculator
print(f"energy {turned.get_potential_energy():.6f} eV, and exchange fields in eV/mu_B:")
print(calculator.get_property("exchange_fields", turned).round(4))

# %% [markdown]
# ## Atoms and spins together
#
# 16 atoms with their spins in a cone of 15 degrees and the velocities of 300 K, without any bath: the sum of kinetic
# and potential energy has to stay, every moment keeps its length, and the total moment stays what it was.

# %%
rng = np.random.default_rng(1)
atoms = bulk("Fe", a=2.83, cubic=True) * 2
set_moments(atoms, 2.2 * cone(np.tile([0.0, 0.0, 1.0], (len(atoms), 1)), 15, rng, filled=True))
thermalize_momenta(atoms, 300, rng=rng)
Stationary(atoms)
atoms.calc = calculator
dynamics = SpinLatticeDynamics(atoms, 0.5 * units.fs)
energies, spin_sum = [], []
dynamics.attach(lambda: energies.append(1e3 * atoms.get_total_energy() / len(atoms)))
dynamics.attach(lambda: spin_sum.append(get_moments(atoms).sum(axis=0)))
dynamics.run(200)
wander = np.ptp(energies)
moment_change = np.abs(np.linalg.norm(get_moments(atoms), axis=1) - 2.2).max()
total_change = np.abs(np.array(spin_sum) - spin_sum[0]).max()
kinetic = 1e3 * atoms.get_kinetic_energy() / len(atoms)
print(f"100 fs without baths: total energy within {wander:.3f} meV/atom, kinetic energy {kinetic:.1f} meV/atom")
print(f"moment lengths kept to {moment_change:.0e} mu_B, total moment to {total_change:.0e} mu_B")
print(f"{dynamics.evaluations / 100:.1f} evaluations per fs")

# %% [markdown]
# ## Checked numbers

# %%
checks = {
    "energy below 5 meV/atom": 1e3 * errors["SOSO-GAP"]["energy_rmse"] < 5,
    "field m*H below 11 meV": 1e3 * errors["SOSO-GAP"]["turning_rmse"] < 11,
    "forces below 60 meV/A": 1e3 * errors["SOSO-GAP"]["forces_rmse"] < 60,
    "better than pairs": errors["SOSO-GAP"]["turning_rmse"] < 0.6 * errors["pair model"]["turning_rmse"],
    "z-scores near one": 0.6 < z_std < 1.5,
    "saving changes nothing": abs(before - after) < 1e-9,
    "energy kept": wander < 0.5,
    "moment lengths kept": moment_change < 1e-12,
    "total moment kept": total_change < 1e-9,
}
failed = [name for name, passed in checks.items() if not passed]
if failed:
    raise RuntimeError(f"this tutorial should have reached: {', '.join(failed)}")
print(f"all {len(checks)} checks passed")
