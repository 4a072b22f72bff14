"""Small versions of the accuracy goals on density-functional data, and what the models of chiral FeGe must obey.

The full tables are printed by ``benchmarks/accuracy.py``. Energies in meV/atom, m*H in meV.
"""

import numpy as np
import pytest

from ase_spinml import SOSO, SpinCalculator, SpinGAP, get_moments, set_moments
from ase_spinml.moments import get_spins, rotate
from ase_spinml.neighbors import NeighborList

FE16 = {"sigma_energy": 1.2e-3, "sigma_field": 5e-3}
FE_DFT = {"sigma_energy": 2e-3, "sigma_forces": 0.03, "sigma_field": 3e-3}


def split(frames, n, seed=0):
    order = np.random.default_rng(seed).permutation(len(frames))
    return [frames[k] for k in order[:n]], [frames[k] for k in order[n:]]


def meV(errors, name):
    return 1e3 * errors[f"{name}_rmse"]


# --- bcc iron, paramagnetic ---


@pytest.fixture(scope="module")
def fe16(shared_frames):
    """Model of 25 frames, and the other 35."""
    training, test = split(shared_frames("fe16"), 25)
    return SpinGAP(SOSO(["Fe"], cutoff=5.5, l_max=3), n_sparse=400, zeta=2, **FE16).fit(training), test


@pytest.mark.data
def test_fe16_is_predicted_from_25_frames(fe16):
    model, test = fe16
    errors = model.evaluate(test)
    assert meV(errors, "energy") < 1.5
    assert meV(errors, "turning") < 9


def z_scores(model, frames):
    """Held-out errors over predicted standard deviations: energies, field components."""
    energies, fields = [], []
    for frame in frames:
        result, (energy_std, field_std) = model.predict(frame), model.uncertainty(frame)
        energies.append((result["energy"] - frame.get_potential_energy()) / energy_std)
        errors = result["exchange_fields"] - frame.arrays["exchange_fields"]
        fields.append(np.sum(errors**2, axis=1) / np.sum(field_std**2, axis=1))
    return np.sqrt(np.mean(np.square(energies))), np.sqrt(np.mean(np.concatenate(fields)))


@pytest.mark.data
def test_fe16_errors_are_as_large_as_predicted(fe16):
    energy, field = z_scores(*fe16)
    assert 0.8 < energy < 1.25
    assert 0.8 < field < 1.25


@pytest.mark.data
def test_fe16_beats_a_bilinear_pair_model(fe16, shared_frames):
    model, test = fe16
    training, _ = split(shared_frames("fe16"), 25)
    pairs = SpinGAP(SOSO(["Fe"], cutoff=5.5, body_order=2, spin_l_max=1), zeta=1, **FE16).fit(training)
    assert meV(model.evaluate(test), "turning") < 0.85 * meV(pairs.evaluate(test), "turning")


@pytest.mark.data
def test_fe16_carries_over_to_larger_cells_near_order(shared_frames):
    descriptor = SOSO(["Fe"], cutoff=4.5, n_max_angular=4, l_max=2)
    errors = SpinGAP(descriptor, zeta=1, **FE16).fit(shared_frames("fe16")).evaluate(shared_frames("fe128"))
    assert 1e3 * errors["energy_rmse_about_mean"] < 0.25
    assert meV(errors, "turning") < 12


@pytest.mark.data
def test_fe16_does_not_know_the_lattice(fe16):
    assert not fe16[0].lattice_fitted


# --- bcc iron, the set that the package ships ---


@pytest.fixture(scope="module")
def fe_dft_folds(fe_dft):
    """Pairs of a model and the fifth of the frames that it has not seen."""
    fold = np.random.default_rng(0).permutation(len(fe_dft)) % 5
    parts = [[frame for frame, f in zip(fe_dft, fold, strict=True) if f == k] for k in range(5)]
    models = []
    for k in range(5):
        training = [frame for j, part in enumerate(parts) if j != k for frame in part]
        models.append(SpinGAP(SOSO(["Fe"]), n_sparse=300, zeta=2, **FE_DFT).fit(training))
    return list(zip(models, parts, strict=True))


def test_cross_validation_of_the_shipped_data(fe_dft_folds):
    """All labels of all folds together: folds have unlike numbers of atoms, so their errors are pooled by number."""
    predicted, frames = [], []
    for model, part in fe_dft_folds:
        predicted += [model.predict(frame) for frame in part]
        frames += part

    def rms(errors):
        return 1e3 * np.sqrt(np.mean(np.concatenate(errors) ** 2))

    pairs = list(zip(predicted, frames, strict=True))
    assert rms([[(p["energy"] - f.get_potential_energy()) / len(f)] for p, f in pairs]) < 5
    assert rms([p["forces"] - f.get_forces() for p, f in pairs]) < 45
    lengths = [np.linalg.norm(get_moments(f), axis=1)[:, None] for f in frames]
    turning = [
        m * (p["exchange_fields"] - f.arrays["exchange_fields"]) for m, (p, f) in zip(lengths, pairs, strict=True)
    ]
    assert rms(turning) < 11


def test_errors_on_the_shipped_data_are_as_large_as_predicted(fe_dft_folds):
    scores = np.array([z_scores(model, part) for model, part in fe_dft_folds])
    energy, field = np.sqrt(np.mean(scores**2, axis=0))
    assert 0.8 < energy < 1.25
    assert 0.8 < field < 1.25


# --- chiral FeGe ---

CHIRAL = {"cutoff": 4.0, "n_max_angular": 3, "l_max": 2, "magnetic": ["Fe"]}


def fege_model(frames, **parameters):
    descriptor = SOSO(["Fe", "Ge"], **CHIRAL, **parameters)
    return SpinGAP(descriptor, zeta=1, optimize=None, sigma_energy=1e-4, sigma_field=2e-3).fit(frames)


@pytest.fixture(scope="module")
def fege(shared_frames):
    """Model of four frames with the spin-orbit block."""
    return fege_model(split(shared_frames("fege64"), 4)[0], spin_orbit=True)


def turned_fields(calc, crystal, spins):
    trial = crystal.copy()
    set_moments(trial, spins)
    return calc.get_property("exchange_fields", trial)


def dmi(model, crystal, sites, angle=0.02):
    """D_ij (4, N, 3) in eV of E = sum D_ij.(e_i x e_j) between some sites and all atoms, from the response of fields.

    In a ferromagnet along n = u x v the turn of e_j by a small angle toward u or v changes the field of atom i, and the
    antisymmetric part of that response is D_ij.n.
    """
    calc, out = SpinCalculator(model), np.zeros((len(sites), len(crystal), 3))
    magnetic = (crystal.symbols == "Fe")[:, None]
    for axis in range(3):
        n, u, v = (np.eye(3)[(axis + k) % 3] for k in range(3))
        for k, site in enumerate(sites):
            response = {}
            for name, direction in (("u", u), ("v", v)):
                sides = []
                for sign in (1, -1):
                    spins = magnetic * n
                    spins[site] = np.cos(angle) * n + sign * np.sin(angle) * direction
                    sides.append(turned_fields(calc, crystal, spins))
                response[name] = (sides[0] - sides[1]) / (2 * np.sin(angle))  # -d2E/de_i de_site
            # E = D.(e_i x e_j): -dE/de_i = D x e_j, so u.(D x v) = -D.n and v.(D x u) = D.n
            out[k, :, axis] = 0.5 * (response["u"] @ v - response["v"] @ u)
    return out


def symmetries(crystal):
    """Proper rotations R about the origin with the permutations they and a translation make of the atoms: (R, p).

    Found from the positions alone: R R_i + t = R_p(i) up to lattice vectors.
    """
    cell, positions, numbers = crystal.cell.array, crystal.positions, crystal.numbers
    found = []
    for signs in np.ndindex(2, 2, 2):
        for order in ([0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1], [2, 1, 0], [1, 0, 2]):
            q = (1 - 2.0 * np.array(signs))[:, None] * np.eye(3)[order]
            if np.linalg.det(q) < 0:
                continue
            turned = positions @ q.T
            for target in np.flatnonzero(numbers == numbers[0]):
                apart = (turned + positions[target] - turned[0])[:, None] - positions
                apart -= np.round(apart @ np.linalg.inv(cell)) @ cell
                hit = np.linalg.norm(apart, axis=2) < 1e-3
                permutation = hit.argmax(axis=1)
                if hit.any(axis=1).all() and (numbers[permutation] == numbers).all():
                    found.append((q, permutation))
    return found


@pytest.fixture(scope="module")
def bonds(fege, shared_frames):
    """Crystal, its four sites that no lattice translation connects, and D from them to all atoms."""
    crystal = shared_frames("fege64")[0]
    operations = symmetries(crystal)
    translations = [p for q, p in operations if np.allclose(q, np.eye(3))]
    iron = np.flatnonzero(crystal.symbols == "Fe")
    sites = sorted({min(p[i] for p in translations) for i in iron})
    return crystal, sites, operations, dmi(fege, crystal, sites)


@pytest.mark.data
def test_spin_orbit_features_improve_the_fields_of_fege(shared_frames):
    training, test = split(shared_frames("fege64"), 15)
    errors = {}
    for spin_orbit in (False, True):
        descriptor = SOSO(["Fe", "Ge"], **{**CHIRAL, "cutoff": 5.0}, spin_orbit=spin_orbit)
        model = SpinGAP(descriptor, n_sparse=100, sigma_energy=1e-4, sigma_field=2e-3).fit(training)
        errors[spin_orbit] = model.evaluate(test)["field_rmse"]
    assert errors[True] < 0.99 * errors[False] < 3e-3  # spread of the labels: 35 meV/mu_B


@pytest.mark.data
def test_the_crystal_has_the_point_group_of_b20(bonds):
    _, sites, operations, _ = bonds
    assert len(sites) == 4
    assert len(operations) == 12 * 8  # 23 times the translations of a 2x2x2 cell


@pytest.mark.data
def test_dmi_of_fege_is_not_zero(bonds):
    assert np.abs(bonds[3]).max() > 1e-5


@pytest.mark.data
def test_dmi_of_fege_has_the_symmetry_of_the_crystal(bonds):
    """Every operation carries the axial vector of a bond into that of its image."""
    _, sites, operations, d = bonds
    checked = 0
    for q, permutation in operations:
        for k, site in enumerate(sites):
            if permutation[site] in sites:
                image = d[sites.index(permutation[site])][permutation]
                np.testing.assert_allclose(image, d[k] @ q.T, atol=1e-4 * np.abs(d).max())
                checked += 1
    assert checked == 12 * 4


@pytest.mark.data
def test_dmi_is_odd_in_the_order_of_its_atoms(bonds):
    _, sites, _, d = bonds
    for k, site in enumerate(sites):
        for other, partner in enumerate(sites):
            if partner != site:
                np.testing.assert_allclose(d[k, partner], -d[other, site], atol=1e-6 * np.abs(d).max())


def along_nearest_bonds(crystal, sites, d):
    """D_ij.r_ij over |r_ij| of the nearest Fe-Fe bonds, each seen from its first site."""
    pairs = NeighborList(3.2)
    pairs.update(crystal.positions, crystal.cell.array, crystal.pbc)
    vectors, out = pairs.vectors(crystal.positions, crystal.cell.array), []
    for i, j, v in zip(pairs.i, pairs.j, vectors, strict=True):
        if i in sites and crystal.symbols[j] == "Fe":
            out.append(d[sites.index(i), j] @ v / np.linalg.norm(v))
    return np.array(out)


@pytest.mark.data
def test_all_nearest_bonds_turn_the_same_way(bonds):
    """B20 has one handedness: D along the bond has one sign and one size on all six bonds of every site."""
    crystal, sites, _, d = bonds
    along = along_nearest_bonds(crystal, sites, d)
    np.testing.assert_allclose(along, along.mean(), atol=1e-4 * np.abs(d).max())
    assert abs(along.mean()) > 0.01 * np.abs(d).max()


@pytest.mark.data
def test_the_mirror_image_turns_the_other_way(fege, bonds):
    crystal, sites, _, d = bonds
    image = crystal.copy()
    rotate(image, -np.eye(3), positions=True)
    d_image = dmi(fege, image, sites[:1])
    np.testing.assert_allclose(d_image, d[:1], atol=1e-7 * np.abs(d).max())  # axial: untouched by inversion
    np.testing.assert_allclose(  # bonds are not
        along_nearest_bonds(image, sites[:1], d_image), -along_nearest_bonds(crystal, sites[:1], d), rtol=1e-4
    )


@pytest.mark.data
def test_the_mirror_image_with_axial_moments_has_the_same_energy(fege, shared_frames):
    frame = shared_frames("fege64")[3]
    image, turned = frame.copy(), frame.copy()
    rotate(image, -np.eye(3), positions=True)
    rotate(turned, [[0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    energy = fege.predict(frame)["energy"]
    assert fege.predict(image)["energy"] == pytest.approx(energy, abs=1e-9)
    assert abs(fege.predict(turned)["energy"] - energy) > 1e-5  # with spin-orbit coupling spins alone do not turn


@pytest.mark.data
def test_induced_moments_of_germanium_do_not_count(fege, shared_frames):
    frame = shared_frames("fege64")[3].copy()
    energy = fege.predict(frame)["energy"]
    moments = get_moments(frame)
    moments[frame.symbols == "Ge"] = 0
    set_moments(frame, moments)
    assert fege.predict(frame)["energy"] == energy
    assert not fege.predict(frame)["exchange_fields"][~get_spins(frame).any(axis=1)].any()
