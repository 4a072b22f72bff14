"""The chirality block of SOSO against sums written out, its derivatives and its symmetries."""

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list
from scipy.spatial.transform import Rotation
from scipy.special import eval_legendre

from ase_spinml import SOSO, SpinGAP, SpinNN, get_spins, set_moments
from ase_spinml.descriptors.basis import smeared_bessel, spin_smearing
from ase_spinml.descriptors.structure import Gradient, concatenate
from ase_spinml.errors import InputError
from ase_spinml.moments import random_directions, rotate

CUTOFF, N_MAX, L_MAX = 4.4, 3, 2


def frame(seed=3):
    rng = np.random.default_rng(seed)
    cell = 3.6 * np.eye(3) + rng.uniform(-0.4, 0.4, size=(3, 3))
    atoms = Atoms("Fe2GeCo", scaled_positions=rng.uniform(size=(4, 3)), cell=cell, pbc=True)
    atoms.set_scaled_positions([[0, 0, 0], [0.5, 0.5, 0.1], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
    set_moments(atoms, np.array([2.2, 2.0, 0.0, 1.5])[:, None] * random_directions(4, rng))
    return atoms


@pytest.fixture(scope="module")
def soso():
    options = {"cutoff": CUTOFF, "n_max_angular": N_MAX, "l_max": L_MAX, "n_max": 3}
    return SOSO(["Fe", "Ge", "Co"], body_order=2, chirality=True, **options).fit([frame()])


def chirality(soso, atoms):
    """Features of the block alone, (N, F)."""
    names = soso.get_feature_names_out()
    return soso(atoms)[:, [name.startswith("chirality") for name in names]]


def test_features_are_the_sums_over_pairs_of_neighbours(soso):
    atoms = frame()
    spins, symbols = get_spins(atoms), np.array(atoms.get_chemical_symbols())
    i, j, vectors = neighbor_list("ijD", atoms, CUTOFF)
    distances = np.linalg.norm(vectors, axis=1)
    h = smeared_bessel(distances, CUTOFF, N_MAX, 0.5)
    a1 = spin_smearing("heat", 0.5, 1)[1]
    found = dict(zip(soso.get_feature_names_out(), soso(atoms).T, strict=True))
    rows = [(z, n) for z in ("Fe", "Co") for n in range(N_MAX)]
    checked = 0
    for l in range(L_MAX + 1):
        for (za, na), (zb, nb) in itertools.combinations(rows, 2):
            expected = np.zeros(len(atoms))
            for centre in range(len(atoms)):
                mine = np.flatnonzero(i == centre)
                for p, q in itertools.product(mine, mine):
                    if symbols[j[p]] == za and symbols[j[q]] == zb:
                        angle = vectors[p] @ vectors[q] / (distances[p] * distances[q])
                        triple = spins[centre] @ np.cross(spins[j[p]], spins[j[q]])
                        expected[centre] += h[p, na] * h[q, nb] * a1**2 * eval_legendre(l, angle) * triple
            expected *= np.sqrt(2 * l + 1) / (4 * np.pi)  # addition theorem, and 1 / sqrt(2 l + 1)
            assert np.allclose(found[f"chirality l={l} {za}{na + 1}*{zb}{nb + 1}"], expected, rtol=0, atol=1e-12)
            checked += np.abs(expected).max() > 1e-6
    assert checked > 20


def test_odd_under_time_reversal_and_blind_to_the_axes(soso):
    atoms = frame()
    plain = chirality(soso, atoms)
    flipped, turned, twisted, inverted = (atoms.copy() for _ in range(4))
    set_moments(flipped, -atoms.arrays["initial_magmoms"])
    turned.rotate(50, (1, -2, 3), rotate_cell=True)
    rotate(twisted, Rotation.from_rotvec([0.3, -0.8, 0.5]).as_matrix())
    inverted.set_cell(-atoms.cell.array)
    inverted.positions = -atoms.positions
    assert np.abs(plain).max() > 1e-4
    assert np.allclose(chirality(soso, flipped), -plain, rtol=0, atol=1e-12)
    for other in (turned, twisted, inverted):
        assert np.allclose(chirality(soso, other), plain, rtol=0, atol=1e-12)


@pytest.mark.parametrize("centred", [False, True])
def test_derivatives(soso, centred):
    """Against central differences; centred ones move one spin, without images, and look at its own features alone."""
    atoms = frame()
    atoms.pbc = not centred
    spins = soso.structure(atoms).spins.numpy()
    block = soso.blocks()["chirality"]
    structure = soso.structure(atoms)
    weights = torch.as_tensor(np.random.default_rng(0).normal(size=(2, len(atoms), block.n_features)))

    def energies(spins=None, positions=None):
        changed = structure
        if spins is not None:
            changed = changed.with_spins(torch.as_tensor(spins))
        if positions is not None:
            changed = changed.with_positions(torch.as_tensor(positions))
        features = torch.cat([part.features for part in block.parts(changed)])
        return (weights * features).sum(2).numpy()

    gradient = Gradient(structure, 2, lattice=not centred, centred=centred)
    for part in block.parts(structure):
        part.pullback(weights[:, part.atoms], gradient)
    h = 1e-5
    for atom, axis in itertools.product(range(len(atoms)), range(3)):
        step = np.zeros_like(spins)
        step[atom, axis] = h
        change = (energies(spins + step) - energies(spins - step)) / (2 * h)
        expected = change[:, atom] if centred else change.sum(1)
        assert np.allclose(gradient.spins[:, atom, axis], expected, rtol=0, atol=2e-8)
        if not centred:
            moved = (energies(positions=atoms.positions + step) - energies(positions=atoms.positions - step)) / (2 * h)
            assert np.allclose(gradient.positions[:, atom, axis], moved.sum(1), rtol=0, atol=2e-8)


def test_several_frames_as_one_graph(soso):
    frames = [frame(3), frame(4)]
    joined = concatenate([soso.structure(atoms) for atoms in frames])
    features = torch.cat([part.features for part in soso.blocks()["chirality"].parts(joined)])
    assert np.allclose(features, np.vstack([chirality(soso, atoms) for atoms in frames]), rtol=0, atol=1e-13)


def test_who_takes_it():
    with pytest.raises(InputError) as error:
        SpinGAP(SOSO(["Fe"], chirality=True))
    assert str(error.value) == (
        "SpinGAP gives energies that are even under time reversal, and chirality=True adds odd features to the "
        "descriptor: leave it out, or use SpinNN"
    )
    assert SpinNN(SOSO(["Fe"], chirality=True)).parity == "equilibrium"
