# %% [markdown]
# # From a reference crystal to VASP jobs, labels and a model
#
# Sample spin states, keep the most diverse, write job folders for VASP, read the runs back, check that energies and
# fields agree, fit. About half a minute.
#
# VASP itself cannot run inside a tutorial. In its place a Heisenberg model with known constants answers the jobs, in
# the layout of VASP's OSZICAR and with its three decimals, so that everything before and after is what it would be
# with VASP, and the model can be compared with the truth. The check is then repeated on real density-functional labels.

# %%
import tempfile
from pathlib import Path

import numpy as np
import torch
from ase.build import bulk

from ase_spinml import SOSO, Heisenberg, SpinGAP, get_moments, get_spins, set_moments
from ase_spinml.demo import load_frames
from ase_spinml.io import check_labels, read_vasp, read_vasp_input, write_vasp
from ase_spinml.moments import transverse
from ase_spinml.sampling import (
    isotropic_strains,
    random_spins,
    rattles,
    regenerate,
    sample,
    select_diverse,
    spin_cones,
    spin_rotations,
    spin_spirals,
    thermal_spins,
    write_samples,
)

torch.set_num_threads(1)  # small systems: more threads only wait for each other
folder = tempfile.TemporaryDirectory()
work = Path(folder.name)

# %% [markdown]
# ## Sample
#
# The reference gives the crystal, the length of every moment, and the order that cones start from. Recipes are lists
# and add with `+`; every spin state is combined with every displacement and strain. `None` is the crystal as it is.

# %%
reference = bulk("Fe", a=2.83, cubic=True).repeat(2)
set_moments(reference, np.full(len(reference), 2.2), axis=(0, 0, 1))
states = (
    random_spins(12)
    + spin_cones([15, 40, 80], count=4)
    + spin_spirals([(0, 0, 1), (0, 1, 1)], angle=[45, 90])
    + spin_rotations(0, [30, 90, 150])
    + thermal_spins([300, 900], exchange=[0.02, 0.011], count=3, sweeps=50)
)
candidates = sample(reference, states, [None, *rattles(0.04)], [None, *isotropic_strains([-0.01, 0.01])], rng=0)
print(f"{len(candidates)} candidates, such as {candidates[-1].info['config_type']}")

# %% [markdown]
# ## Keep the most diverse
#
# Farthest points by SOSO features: the first n frames cover the most, and near-duplicates, rotated copies included,
# are gone. The manifest makes every frame again.

# %%
chosen = select_diverse(candidates, count=60)
manifest = write_samples(work / "samples", chosen, reference)
again = regenerate(manifest)
difference = max(np.abs(get_moments(a) - get_moments(b)).max() for a, b in zip(again, chosen, strict=True))
kinds = [frame.info["config_type"].split("+")[0] for frame in chosen]
print(", ".join(f"{kind} {kinds.count(kind)}" for kind in dict.fromkeys(kinds)))
print(f"distances from {chosen[1].info['distance']:.2f} down to {chosen[-1].info['distance']:.3f}")

# %% [markdown]
# ## Write the jobs
#
# One folder per frame: INCAR with MAGMOM, the constraint and its radii, POSCAR, and the order of the atoms. POTCAR is
# yours to add. `I_CONSTRAINED_M = 4` needs VASP 6.4; take a ladder of lambda first (`write_ladder`) to see how large it
# has to be.

# %%
LAMBDA = 10.0  # eV/mu_B
tags = {"ENCUT": 400, "EDIFF": 1e-7, "ISMEAR": 1, "SIGMA": 0.1, "ISYM": -1}
folders = write_vasp(work / "jobs", chosen, constraint=4, lam=LAMBDA, rwigs={"Fe": 1.3}, kpoints=(6, 6, 6), incar=tags)
print("\n".join(line[:90] for line in (folders[0] / "INCAR").read_text().splitlines()))
job = read_vasp_input(folders[0])
written = np.abs(get_moments(job) - get_moments(chosen[0])).max()

# %% [markdown]
# ## Run them
#
# This cell stands in for VASP: a Heisenberg model minimises its energy plus the penalty lambda sum (|M| - M0.M) of mode
# 4, so that every moment is turned a little from its target. Leave the cell out and put your own runs into `jobs`.

# %%
SHELLS = [0.0195, 0.0111, -0.0002]  # eV per pair
truth = Heisenberg(exchange=SHELLS, reference=reference)


def constrained_state(atoms):
    """Turn the moments of ``atoms`` to the minimum of energy and penalty; lambda times what is left across the targets.

    There the force of the penalty balances the field: lambda sin(angle) = H.
    """
    targets, across = get_spins(atoms), np.zeros((len(atoms), 3))
    for _ in range(6):
        along = np.sqrt(1 - np.sum(across**2, axis=1, keepdims=True))
        set_moments(atoms, 2.2 * (along * targets + across))
        field = transverse(truth.get_property("exchange_fields", atoms), targets)
        across = field / LAMBDA
    return LAMBDA * across


def stand_in(path):
    """Answer a job folder with an OSZICAR of one ionic step."""
    atoms = read_vasp_input(path)
    targets = get_spins(atoms)
    fields = constrained_state(atoms)
    moments = get_moments(atoms)
    penalty = LAMBDA * (2.2 * len(atoms) - np.sum(moments * targets))
    energy = 16 * -8.2 + truth.get_property("energy", atoms) + penalty
    moment_rows = "".join(
        f"{k:3d}" + "".join(f"{x:7.3f}" for x in m) + "  " + "".join(f"{x:7.3f}" for x in 1.05 * m) + "\n"
        for k, m in enumerate(moments, 1)
    )
    field_rows = "".join(f"{k:3d}" + "".join(f"  {x:12.5E}" for x in h) + "\n" for k, h in enumerate(fields, 1))
    head = f"\n E_p = {penalty:12.5E}  lambda = {LAMBDA:10.3E}\n"
    total = "".join(f"{x:10.4f}" for x in moments.sum(axis=0))
    (path / "OSZICAR").write_text(
        "       N       E                     dE             d eps       ncg     rms          rms(c)\n"
        f"{head}<lVp>= {0:12.5E}\n DBL = {0:12.5E}\n ion        MW_int                 M_int\n{moment_rows}"
        f"DAV:  20    {energy:18.12E}    0.10000E-08   -0.10000E-08 10000   0.100E-05\n"
        f"   1 F= {energy:.8E} E0= {energy:.8E}  d E =0.000000E+00  mag={total}\n"
        f"{head} ion             lambda*MW_perp\n{field_rows}"
    )


for path in folders:
    stand_in(path)

# %% [markdown]
# ## Read
#
# `read_vasp` takes the mode of the constraint from INCAR, turns `lambda*MW_perp` into fields with the factor of that
# mode, subtracts the penalty from the energy, and warns of what looks wrong.

# %%
frames = [frame for path in folders for frame in read_vasp(path)]
largest = max(np.linalg.norm(frame.arrays["exchange_fields"], axis=1).max() for frame in frames)
penalty = max(frame.info["penalty_energy"] / len(frame) for frame in frames)
print(f"{len(frames)} frames, largest field {largest:.3f} eV/mu_B, largest penalty {1e3 * penalty:.2f} meV/atom")

# %% [markdown]
# ## Check
#
# An exchange model of the fields alone implies energies; the check regresses the labels on them. Here the factor should
# be 1. A run with mode 1 read as if it were mode 4 would lack a factor 2:

# %%
found = check_labels(frames)
print(found["message"])


def scaled(frames, change):
    """Copies with changed fields."""
    out = []
    for frame in frames:
        copy = frame.copy()
        copy.calc = frame.calc
        copy.arrays["exchange_fields"] = change(frame)
        out.append(copy)
    return out


halved = check_labels(scaled(frames, lambda frame: 0.5 * frame.arrays["exchange_fields"]))
print(halved["message"])

# %% [markdown]
# The same on real labels, the shipped frames of density-functional theory, right and with three usual mistakes.

# %%
iron = load_frames()
rng = np.random.default_rng(0)
verdicts = {
    "as shipped": check_labels(iron),
    "flipped": check_labels(scaled(iron, lambda frame: -frame.arrays["exchange_fields"])),
    "shuffled": check_labels(scaled(iron, lambda frame: rng.permutation(frame.arrays["exchange_fields"]))),
    "m times H": check_labels(
        scaled(iron, lambda f: np.linalg.norm(get_moments(f), axis=1)[:, None] * f.arrays["exchange_fields"])
    ),
}
for name, verdict in verdicts.items():
    print(f"{name}: {verdict['message']}")

# %% [markdown]
# ## Fit
#
# A linear model of pairs and triplets on the first 40 frames, the most diverse; the last 20 are held out. Energies
# carry the noise of moments with three decimals.

# %%
descriptor = SOSO(["Fe"], cutoff=4.5, n_max_angular=3, l_max=2)
model = SpinGAP(descriptor, zeta=1, sigma_energy=2e-4, sigma_field=1e-3, rng=0).fit(frames[:40])
errors = model.evaluate(frames[40:])
spread = np.std([frame.get_potential_energy() / 16 for frame in frames[40:]])
print(f"held-out energy {1e3 * errors['energy_rmse']:.2f} meV/atom of a spread of {1e3 * spread:.1f}")
print(f"held-out field m*H {1e3 * errors['turning_rmse']:.2f} meV")

# %% [markdown]
# The stand-in is known, so the model can be asked for what it was made of: turning one spin of the ferromagnet over
# costs 2 J0, twice the sum of all its bonds.

# %%
turned = reference.copy()
moments = get_moments(turned)
moments[0] *= -1
set_moments(turned, moments)
cost = model.predict(turned)["energy"] - model.predict(reference)["energy"]
expected = 2 * (8 * SHELLS[0] + 6 * SHELLS[1] + 12 * SHELLS[2])
print(f"turning one spin over: {cost:.4f} eV, exactly {expected:.4f} eV")
folder.cleanup()

# %% [markdown]
# ## Checked numbers

# %%
checks = {
    "the manifest makes the same frames": difference == 0,
    "the job holds the moments": written < 1e-7,
    "all runs read": len(frames) == len(chosen),
    "labels agree": found["ok"] is True and abs(found["factor"] - 1) < 0.05,
    "a missing factor 2 is found": halved["ok"] is False and abs(halved["factor"] - 0.5) < 0.05,
    "real labels agree": verdicts["as shipped"]["ok"] is True and abs(verdicts["as shipped"]["factor"] - 1) < 0.1,
    "mistakes in real labels are found": all(verdicts[name]["ok"] is False for name in list(verdicts)[1:]),
    "energy below 1 meV/atom": errors["energy_rmse"] < 1e-3,
    "field m*H below 5 meV": errors["turning_rmse"] < 5e-3,
    "one spin turned over": abs(cost / expected - 1) < 0.05,
}
failed = [name for name, passed in checks.items() if not passed]
if failed:
    raise RuntimeError(f"this tutorial should have reached: {', '.join(failed)}")
print(f"all {len(checks)} checks passed")
