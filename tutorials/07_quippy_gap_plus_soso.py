# %% [markdown]
# # A quippy GAP for the lattice, SOSO-GAP for the spins
#
# A Gaussian approximation potential of quippy knows positions only. It can still carry the lattice part of a magnet,
# when SOSO-GAP learns what is left: energy, forces and exchange fields of the spins. `SpinGAP(..., baseline=calc)` does
# this with any ASE calculator: its energies and forces are taken off the labels before the fit and added back in every
# prediction. Here the baseline is fitted with `gap_fit`, to the nearly ferromagnetic frames of the shipped bcc Fe data.
#
# Needs the extra `gap`: `pip install ase_spinml[gap]`. Runs in less than two minutes on one core.

# %%
import subprocess
import tempfile
from pathlib import Path

import ase.io
import numpy as np
import quippy
from quippy.potential import Potential

from ase_spinml import SOSO, NonMagnetic, SpinGAP, load_model
from ase_spinml.demo import labels, load_frames, predictions, split
from ase_spinml.moments import get_spins, store_results

train, test = split(load_frames(), rng=0)
print(f"{len(train)} frames for training, {len(test)} held out")

# %% [markdown]
# ## The lattice part
#
# A potential without spins can only learn one energy per lattice, so it is shown one kind of spin state: the frames
# whose moments are within 30 degrees of each other. `gap_fit` is the Fortran program inside quippy; it reads an
# extended XYZ file and leaves the potential as XML.


# %%
def fit_lattice_gap(frames, directory):
    """SOAP-GAP on energies and forces of the frames: a quippy Potential, which is an ASE calculator."""
    bare = []
    for frame in frames:
        copy = ase.Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=True)
        copy.info["dft_energy"] = frame.get_potential_energy()
        copy.arrays["dft_forces"] = frame.get_forces()
        bare.append(copy)
    ase.io.write(directory / "train.xyz", bare)
    command = [
        Path(quippy.__file__).with_name("gap_fit"),
        "at_file=train.xyz",
        "gap={soap atom_sigma=0.5 n_max=8 l_max=4 cutoff=5.0 cutoff_transition_width=1.0 zeta=2 delta=1.0 "
        "covariance_type=dot_product sparse_method=cur_points n_sparse=100}",
        "default_sigma={0.005 0.05 0 0}",
        "e0_method=average",
        "energy_parameter_name=dft_energy",
        "force_parameter_name=dft_forces",
        "sparse_separate_file=F",
        "rnd_seed=1",
        "gp_file=lattice.xml",
    ]
    subprocess.run(command, cwd=directory, check=True, capture_output=True)
    return Potential(param_filename=str(directory / "lattice.xml"))


def nearly_parallel(frame):
    spins = get_spins(frame)
    return (spins @ spins.T).min() > np.cos(np.radians(30))


ferromagnetic = [frame for frame in train if nearly_parallel(frame)]
print(f"{len(ferromagnetic)} of them are nearly ferromagnetic")
with tempfile.TemporaryDirectory() as directory:
    lattice = fit_lattice_gap(ferromagnetic, Path(directory))

# %% [markdown]
# ## The spins on top
#
# The same descriptor and kernel twice: once for everything, once for the remainder above the lattice potential.

# %%
descriptor = SOSO(species=["Fe"], cutoff=5.0, n_max=8, spin_l_max=3, body_order=3)
alone = SpinGAP(descriptor, n_sparse=300, zeta=2, rng=0).fit(train)
both = SpinGAP(descriptor, n_sparse=300, zeta=2, rng=0, baseline=lattice).fit(train)

# %% [markdown]
# ## Held-out errors
#
# The lattice potential has no fields, so its error in the field is the field itself.


# %%
def lattice_results(frame):
    """The frame with the lattice potential's energy and forces, and zero fields, in place of its labels."""
    frame = frame.copy()
    frame.calc = NonMagnetic(lattice)
    return store_results(frame)


reference = labels(test)
predicted = {
    "quippy GAP": labels([lattice_results(frame) for frame in test]),
    "SOSO-GAP": predictions(alone, test),
    "GAP + SOSO-GAP": predictions(both, test),
}
rmse = {
    name: {key: np.sqrt(np.mean((values[key] - reference[key]) ** 2)) for key in reference}
    for name, values in predicted.items()
}
print(f"{'held-out RMSE':<16}{'energy (meV/atom)':>20}{'field m*H (meV)':>20}{'forces (meV/A)':>20}")
for name, error in rmse.items():
    print(f"{name:<16}{error['energy']:>20.1f}{error['turn']:>20.1f}{error['forces']:>20.1f}")

# %% [markdown]
# The lattice potential alone is blind to what the spins do: its energy error is the spread of the magnetic energies.
# With SOSO-GAP on top, all three errors are about those of SOSO-GAP alone: on a set this small either can carry the
# lattice. A separate lattice potential pays when it is trained on many calculations without constrained moments.
#
# ## Saving
#
# A model file holds numbers, never a calculator: after loading, the baseline is attached again.

# %%
frame = test[0]
with tempfile.TemporaryDirectory() as directory:
    both.save(Path(directory) / "fe.model")
    loaded = load_model(Path(directory) / "fe.model")
loaded.baseline = lattice
difference = loaded.predict(frame)["energy"] - both.predict(frame)["energy"]
print(f"energy after loading differs by {abs(difference):.0e} eV")

# %% [markdown]
# ## Checked numbers

# %%
assert rmse["quippy GAP"]["energy"] > 100
for name in ("SOSO-GAP", "GAP + SOSO-GAP"):
    assert rmse[name]["energy"] < 8
    assert rmse[name]["turn"] < 12
    assert rmse[name]["forces"] < 60
assert abs(difference) < 1e-8
