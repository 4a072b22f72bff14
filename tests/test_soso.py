"""SOSO features against sums over neighbours written out, their derivatives, symmetries and parameters."""

import itertools
import re
from functools import lru_cache

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from scipy.special import eval_legendre
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ase_spinml import SOSO, get_moments, get_spins, set_moments
from ase_spinml.descriptors import density, pairs
from ase_spinml.descriptors.basis import smeared_bessel, spin_smearing
from ase_spinml.descriptors.structure import Gradient, concatenate
from ase_spinml.electrons import spin_lattice
from ase_spinml.errors import InputError
from ase_spinml.moments import random_directions, rotate

SPECIES = ["Fe", "Ge", "Co"]
CUTOFF = 3.6
SMALL = {"cutoff": CUTOFF, "n_max": 4, "spin_l_max": 3, "n_max_angular": 3, "l_max": 3}
FULL = {**SMALL, "spin_orbit": True, "spin_l_max_angular": 3}


def frame(seed=3, pbc=True):
    """Random triclinic cell with two magnetic species, one that is not, and moments of unequal length."""
    rng = np.random.default_rng(seed)
    cell = 4.2 * np.eye(3) + rng.uniform(-0.5, 0.5, size=(3, 3))
    sites = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [0.5, 0.5, 0.5]])
    atoms = Atoms("Fe2GeCo2", scaled_positions=sites, cell=cell, pbc=pbc)
    atoms.positions += rng.normal(scale=0.15, size=atoms.positions.shape)
    lengths = np.array([2.2, 2.0, 0.0, 1.5, 1.4])
    set_moments(atoms, lengths[:, None] * random_directions(len(atoms), rng))
    return atoms


@lru_cache
def fitted(**parameters):
    """Descriptor that has seen the random cell; one for all tests, as nothing in them changes it."""
    return SOSO(SPECIES, **{**FULL, **parameters}).fit([frame()])


@pytest.fixture(scope="module")
def named():
    """Features of the random cell by name: name -> (N,)."""
    soso = fitted()
    return dict(zip(soso.get_feature_names_out(), soso(frame()).T, strict=True))


class Neighbours:
    """Per atom: species, unit vectors, radial functions and spins of its neighbours, from ASE's list."""

    def __init__(self, atoms, n_max=4):
        i, j, vectors = neighbor_list("ijD", atoms, CUTOFF)
        distance = np.linalg.norm(vectors, axis=1)
        h = smeared_bessel(distance, CUTOFF, n_max, 0.5)
        self.spins = get_spins(atoms)
        symbols = np.array(atoms.get_chemical_symbols())
        self.of = [[] for _ in atoms]
        for a, b, vector, d, row in zip(i, j, vectors, distance, h, strict=True):
            self.of[a].append((symbols[b], vector / d, row, self.spins[b]))

    def sum(self, function):
        """For every atom i: sum over neighbours j of function(e_i, species_j, unit vector, h_n, e_j)."""
        return np.array([sum(function(e, *n) for n in mine) for e, mine in zip(self.spins, self.of, strict=True)])


def channel(species, n, function):
    """Neighbour function: h_n(r_ij) f(e_i, r, e_j) for neighbours of one species."""

    def one(e, z, r, h, s):
        return (h[n - 1] if z == species else 0.0) * function(e, r, s)

    return one


A = spin_smearing("heat", 0.5, 3)


def legendre(order, e, s):
    """a_l P_l(e_i.e_j), zero where one of them is not magnetic."""
    return A[order] * eval_legendre(order, e @ s) * (order == 0 or (e.any() and s.any()))


# --- against sums over neighbours ---


def test_pair_features(named):
    neighbours = Neighbours(frame())
    labels = [re.fullmatch(r"pair (\w+) n=(\d) l=(\d)", name) for name in named if name.startswith("pair")]
    assert len(labels) == 4 * (4 + 1 + 4)
    for label in labels:
        z, n, order = label[1], int(label[2]), int(label[3])
        expected = neighbours.sum(channel(z, n, lambda e, r, s, order=order: legendre(order, e, s)))
        np.testing.assert_allclose(named[label[0]], expected, atol=1e-9, err_msg=label[0])


ANGLE = re.compile(r"angle l=(\d) ([A-Z][a-z])(\d)(.*)\*([A-Z][a-z])(\d)(.*)")


def test_angle_features(named):
    """Each is sum_jk h_n h_n' P_l(angle jik) times the spin functions, (j, k) over all pairs and j = k."""
    neighbours = Neighbours(frame())
    factors = {"": 0, "(ei.ej)": 1, "P2(ei.ej)": 2, "P3(ei.ej)": 3}
    labels = [ANGLE.fullmatch(name) for name in named if name.startswith("angle")]
    assert len(labels) == 4 * (27 * 28 // 2 + 6 * 7 // 2)
    for label in labels[:: max(1, len(labels) // 150)]:
        order, zj, nj, fj, zk, nk, fk = (int(x) if x.isdigit() else x for x in label.groups())
        expected = np.zeros(5)
        for i, (e, mine) in enumerate(zip(neighbours.spins, neighbours.of, strict=True)):
            for (za, ra, ha, sa), (zb, rb, hb, sb) in itertools.product(mine, mine):
                if (za, zb) != (zj, zk):
                    continue
                if fj == fk == "(ej)":
                    spin = A[1] ** 2 * (sa @ sb)
                else:
                    spin = legendre(factors[fj], e, sa) * legendre(factors[fk], e, sb)
                expected[i] += ha[nj - 1] * hb[nk - 1] * spin * eval_legendre(order, ra @ rb)
        expected *= np.sqrt(2 * order + 1) / (4 * np.pi)
        if (zj, nj, fj) != (zk, nk, fk):
            expected *= np.sqrt(2)  # stands for (j, k) and (k, j)
        np.testing.assert_allclose(named[label[0]], expected, atol=1e-9, err_msg=label[0])


def test_every_kind_of_spin_coupling_is_among_the_angle_features(named):
    kinds = {tuple(sorted((m[4], m[7]))) for m in map(ANGLE.fullmatch, named) if m}
    scalar = ["", "(ei.ej)", "P2(ei.ej)", "P3(ei.ej)"]
    expected = {tuple(sorted(p)) for p in itertools.combinations_with_replacement(scalar, 2)} | {("(ej)", "(ej)")}
    assert kinds == expected


def p4(x):
    return eval_legendre(4, x)


SINGLE = {
    "single-ion l=2": lambda e, r, s: (e @ r) ** 2 - e @ e / 3,
    "single-ion l=4": lambda e, r, s: 9 / (4 * np.pi) * p4(e @ r) * e.any(),
    "anisotropic exchange": lambda e, r, s: A[1] * ((e @ r) * (s @ r) - e @ s / 3),
}


@pytest.mark.parametrize("kind", SINGLE)
def test_spin_orbit_features_of_pairs(named, kind):
    neighbours = Neighbours(frame())
    names = [name for name in named if name.startswith(kind)]
    assert len(names) == 4 * (2 if kind == "anisotropic exchange" else 3)
    for name in names:
        z, n = re.fullmatch(rf"{kind} ([A-Z][a-z])(\d)", name).groups()
        np.testing.assert_allclose(named[name], neighbours.sum(channel(z, int(n), SINGLE[kind])), atol=1e-9)


def row(text):
    """(species, n) from its label."""
    return text[:-1], int(text[-1])


def test_axial_dmi_features(named):
    """3 a_1 / 4 pi times sum_jk h_n h_n' (r_ij x r_ik).(e_i x e_j)."""
    neighbours = Neighbours(frame())
    names = [name for name in named if name.startswith("axial DMI")]
    assert len(names) == 8 * 12
    for name in names[::5]:
        (za, na), (zb, nb) = map(row, name.removeprefix("axial DMI ").split("*"))
        v = neighbours.sum(channel(zb, nb, lambda e, r, s: r))
        vectors = neighbours.sum(channel(za, na, lambda e, r, s: np.cross(np.cross(e, s), r)))
        # (r x v).(e x s) = ((e x s) x r).v
        np.testing.assert_allclose(named[name], 3 * A[1] / (4 * np.pi) * np.sum(v * vectors, axis=1), atol=1e-9)


def octupole(r):
    d = np.eye(3)
    rd = [np.einsum(f"a,bc->{out}", r, d) for out in ("abc", "bac", "bca")]
    return np.einsum("a,b,c->abc", r, r, r) - sum(rd) / 5


def test_chiral_dmi_features(named):
    """A pseudoscalar of three neighbour densities times sum_j h r_ij.(e_i x e_j)."""
    neighbours = Neighbours(frame())
    levi = np.zeros((3, 3, 3))
    for p in itertools.permutations(range(3)):
        levi[p] = np.linalg.det(np.eye(3)[list(p)])
    shapes = {
        "v": lambda e, r, s: r,
        "Q": lambda e, r, s: np.outer(r, r) - np.eye(3) / 3,
        "O": lambda e, r, s: octupole(r),
    }
    forms = {"vvv": "abc,na,nb,nc->n", "vQQ": "abc,na,nbd,ncd->n", "vOO": "abc,na,nbde,ncde->n"}
    unit = np.sqrt(3 / (4 * np.pi))
    names = [name for name in named if name.startswith("chiral DMI")]
    assert len(names) == 8 * (20 + 6 * 15 + 6 * 15)
    for name in names[::37]:
        spin, kind, rows = re.fullmatch(r"chiral DMI (\w+)\*(vvv|vQQ|vOO)\(([\w,]+)\)", name).groups()
        parts = [neighbours.sum(channel(*row(r), shapes[k])) for k, r in zip(kind, rows.split(","), strict=True)]
        pseudoscalar = np.einsum(forms[kind], levi, *parts) * unit ** kind.count("v")
        lifshitz = unit * A[1] * neighbours.sum(channel(*row(spin), lambda e, r, s: r @ np.cross(e, s)))
        np.testing.assert_allclose(named[name], pseudoscalar * lifshitz, atol=1e-9, err_msg=name)


def test_the_non_magnetic_atom_has_no_spin_features(named):
    for name, values in named.items():
        if "DMI" in name or "exchange" in name or "single" in name or re.search(r"l=[123]$|\(ei", name):
            assert values[2] == 0, name


def test_von_mises_fisher_smearing_scales_the_exchange_features():
    parameters = {"body_order": 2, "spin_orbit": False}
    column = list(fitted(**parameters).get_feature_names_out()).index("pair Fe n=2 l=1")
    smeared = fitted(spin_smearing="von-mises-fisher", spin_width=0.4, **parameters)(frame())
    point = fitted(spin_width=0.0, **parameters)(frame())
    k = 1 / 0.4**2
    assert smeared[0, column] / point[0, column] == pytest.approx(1 / np.tanh(k) - 1 / k)


# --- derivatives ---


def energy_and_gradient(soso, block, atoms, weights):
    """Sum over atoms of weights times features of one block, and its derivatives."""
    structure = soso.structure(atoms)
    gradient, energy = Gradient(structure, 1), 0.0
    for part in block.parts(structure):
        mine = weights[part.atoms]
        energy += float((mine * part.features).sum())
        part.pullback(mine.unsqueeze(0), gradient)
    return energy, gradient


def directional(soso, block, weights, change, step=5e-4):
    """Derivative of that sum along change(atoms, t), by five points: errors of the fourth order in the step."""

    def energy(t):
        atoms = frame()
        change(atoms, t)
        parts = block.parts(soso.structure(atoms))
        return sum(float((weights[part.atoms] * part.features).sum()) for part in parts)

    return (8 * (energy(step) - energy(-step)) - (energy(2 * step) - energy(-2 * step))) / (12 * step)


CASES = [("pair", {}), ("angle", {"spin_l_max_angular": 1}), ("angle", {"spin_l_max_angular": 3}), ("spin-orbit", {})]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join([case[0], *map(str, case[1].values())]))
def gradient_case(request):
    """Descriptor, block, random weights on every feature of every atom, and the analytic gradient."""
    name, parameters = request.param
    soso = fitted(**parameters)
    block = soso.blocks()[name]
    weights = torch.as_tensor(np.random.default_rng(8).normal(size=(5, block.n_features)))
    return soso, block, weights, energy_and_gradient(soso, block, frame(), weights)[1]


def test_derivatives_in_positions(gradient_case):
    soso, block, weights, gradient = gradient_case
    exact = gradient.positions[0].numpy()
    for atom, axis in [(0, 0), (1, 2), (2, 1), (4, 0)]:

        def move(atoms, t, atom=atom, axis=axis):
            atoms.positions[atom, axis] += t

        number = directional(soso, block, weights, move)
        assert abs(number - exact[atom, axis]) <= 1e-7 * np.abs(exact).max()


def test_derivatives_in_strain(gradient_case):
    soso, block, weights, gradient = gradient_case
    exact = gradient.virial[0, 0].numpy()
    for a, b in [(0, 0), (2, 2), (0, 1), (1, 0), (1, 2)]:

        def strain(atoms, t, a=a, b=b):
            matrix = np.eye(3)
            matrix[a, b] += t  # r -> r + t e_a (e_b.r)
            atoms.set_cell(atoms.cell.array @ matrix.T, scale_atoms=True)

        number = directional(soso, block, weights, strain)
        assert abs(number - exact[a, b]) <= 1e-7 * np.abs(exact).max()


def test_derivatives_in_spins(gradient_case):
    """Along rotations of single spins: directions are all that a frame can hold."""
    soso, block, weights, gradient = gradient_case
    exact = gradient.spins[0].numpy()
    spins = get_spins(frame())
    for atom, axis in [(0, 0), (1, 1), (3, 2), (4, 0)]:
        tangent = np.cross(np.eye(3)[axis], spins[atom])

        def turn(atoms, t, atom=atom, tangent=tangent):
            moments = get_moments(atoms)
            sine = np.linalg.norm(tangent)
            direction = np.cos(t) * spins[atom] + np.sin(t) * tangent / sine
            moments[atom] = np.linalg.norm(moments[atom]) * direction
            set_moments(atoms, moments)

        number = directional(soso, block, weights, turn) * np.linalg.norm(tangent)
        assert abs(number - exact[atom] @ tangent) <= 1e-7 * np.abs(exact).max()


def test_several_sensitivities_at_once_give_each_gradient(gradient_case):
    soso, block, weights, expected = gradient_case
    structure = soso.structure(frame())
    gradient = Gradient(structure, 3)
    for part in block.parts(structure):
        mine = weights[part.atoms]
        part.pullback(torch.stack([torch.zeros_like(mine), mine, -2 * mine]), gradient)
    for name in ("positions", "spins", "virial"):
        value, one = getattr(gradient, name), getattr(expected, name)[0]
        torch.testing.assert_close(value, torch.stack([0 * one, one, -2 * one]), rtol=1e-10, atol=1e-10)


def test_spins_alone_give_the_same_spin_derivatives(gradient_case):
    soso, block, weights, expected = gradient_case
    structure = soso.structure(frame())
    gradient = Gradient(structure, 1, lattice=False)
    for part in block.parts(structure):
        part.pullback(weights[part.atoms].unsqueeze(0), gradient)
    assert gradient.positions is None
    torch.testing.assert_close(gradient.spins, expected.spins, rtol=1e-12, atol=1e-12)


# --- symmetries ---


def turned(atoms, lattice=None, spins=None):
    """Frame with the lattice turned by one orthogonal matrix and the moments by another."""
    atoms = atoms.copy()
    if lattice is not None:
        atoms.set_cell(atoms.cell.array @ lattice.T)
        atoms.positions = atoms.positions @ lattice.T
    if spins is not None:
        set_moments(atoms, get_moments(atoms) @ spins.T)
    return atoms


def rotation(seed, improper=False):
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q *= np.linalg.det(q)
    return -q if improper else q


def assert_same_features(soso, atoms, expected, tolerance=1e-10):
    np.testing.assert_allclose(soso(atoms), expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.fixture(scope="module")
def exchange_only():
    soso = fitted(spin_orbit=False)
    return soso, soso(frame())


@pytest.mark.parametrize(
    ("lattice", "spins"),
    [
        (rotation(1), None),
        (rotation(2, improper=True), None),
        (-np.eye(3), None),
        (None, rotation(3)),
        (None, -np.eye(3)),
        (rotation(4), rotation(5)),
    ],
    ids=["lattice rotation", "lattice rotoinversion", "inversion", "spin rotation", "time reversal", "both"],
)
def test_without_spin_orbit_space_and_spins_turn_separately(exchange_only, lattice, spins):
    soso, expected = exchange_only
    assert_same_features(soso, turned(frame(), lattice, spins), expected)


@pytest.mark.parametrize("spin_orbit", [False, True])
def test_translation_and_wrapping(spin_orbit):
    soso, atoms = fitted(spin_orbit=spin_orbit), frame()
    expected = soso(atoms)
    atoms.positions += [0.3, -11.0, 5.7]
    assert_same_features(soso, atoms, expected)
    atoms.wrap()
    assert_same_features(soso, atoms, expected)


@pytest.mark.parametrize("spin_orbit", [False, True])
def test_permutation(spin_orbit):
    soso, order = fitted(spin_orbit=spin_orbit), [3, 1, 4, 0, 2]
    assert_same_features(soso, frame()[order], soso(frame())[order])


@pytest.mark.parametrize("spin_orbit", [False, True])
def test_the_length_of_a_moment_does_not_matter(spin_orbit):
    soso, atoms = fitted(spin_orbit=spin_orbit), frame()
    set_moments(atoms, 1.7 * get_moments(atoms))
    assert_same_features(soso, atoms, soso(frame()), 1e-12)


@pytest.mark.parametrize("improper", [False, True])
def test_with_spin_orbit_space_and_axial_moments_turn_together(improper):
    soso, atoms = fitted(), frame()
    rotate(atoms, rotation(6, improper), positions=True)
    assert_same_features(soso, atoms, soso(frame()))


def test_with_spin_orbit_time_reversal_changes_nothing():
    soso = fitted()
    assert_same_features(soso, turned(frame(), spins=-np.eye(3)), soso(frame()))


@pytest.mark.parametrize(("lattice", "spins"), [(rotation(7), None), (None, rotation(7))])
def test_with_spin_orbit_a_turn_of_space_or_spins_alone_changes_every_kind(lattice, spins):
    soso = fitted()
    before = soso(frame())
    change = np.abs(soso(turned(frame(), lattice, spins)) - before).max(axis=0)
    names = soso.get_feature_names_out()
    for kind in ("single-ion l=2", "single-ion l=4", "anisotropic exchange", "axial DMI", "chiral DMI"):
        columns = [name.startswith(kind) for name in names]
        assert change[columns].max() > 0.1 * np.abs(before[:, columns]).max()
    assert change[[name.startswith(("pair", "angle")) for name in names]].max() < 1e-10


def test_chiral_dmi_changes_sign_in_the_mirror_image():
    """Inversion changes both r_ij and the pseudoscalar, so it is e_i x e_j that must turn to change the feature."""
    soso = fitted()
    columns = [name.startswith("chiral") for name in soso.get_feature_names_out()]
    atoms = frame()
    moments = get_moments(atoms)
    moments[1:] = [0, 0, 2.0]
    moments[2] = 0  # atom 0 sees parallel neighbours only
    set_moments(atoms, moments)
    image = turned(atoms, -np.eye(3))
    e, axis = get_spins(atoms)[0], np.array([0, 0, 1.0])
    moments[0] = 2.2 * (2 * (e @ axis) * axis - e)  # e_0 x e_j reversed, e_0.e_j kept
    set_moments(image, moments)
    before, after = (soso(x)[0, columns] for x in (atoms, image))
    assert np.abs(before).max() > 0
    np.testing.assert_allclose(after, -before, atol=1e-10 * np.abs(before).max())


def iron(repeat=1, a=2.87):
    atoms = bulk("Fe", a=a, cubic=True) * repeat
    set_moments(atoms, 2.2 * random_directions(len(atoms), 4))
    return atoms


def test_bcc_has_no_dmi():
    """Every bond has an inversion centre: r_ij.(e_i x e_j) alone, which would not vanish, must not appear."""
    soso = SOSO(["Fe"], cutoff=4.5, spin_orbit=True, body_order=2)
    atoms = iron(2)
    values = np.abs(soso(atoms)).max(axis=0)
    names = soso.get_feature_names_out()
    assert values[["DMI" in name for name in names]].max() < 1e-12 * values.max()
    assert values[[name.startswith("anisotropic") for name in names]].max() > 1e-2


def antisymmetric_exchange(soso, atoms, weights):
    """D_ij of the sum of w.x over atoms, (N, N, 3): the antisymmetric part of d2E/de_i de_j, bilinear in the spins."""
    structure, block = soso.structure(atoms), soso.blocks()["spin-orbit"]
    n = len(atoms)
    hessian = np.zeros((n, 3, n, 3))
    for atom, axis in np.ndindex(n, 3):
        for sign in (1, -1):
            spins = structure.spins.clone()
            spins[atom, axis] += sign
            turned_structure = structure.with_spins(spins)
            gradient = Gradient(turned_structure, 1)
            for part in block.parts(turned_structure):
                part.pullback(weights.expand(1, len(part.features), -1), gradient)
            hessian[atom, axis] += sign * gradient.spins[0].numpy() / 2
    part = hessian.transpose(0, 2, 1, 3)
    part = part - part.transpose(0, 1, 3, 2)
    return 0.5 * np.stack([part[..., 1, 2], part[..., 2, 0], part[..., 0, 1]], axis=-1)


def dmi_weights(soso, seed=0):
    names = [name for name in soso.get_feature_names_out() if not name.startswith(("pair", "angle"))]
    size = np.array([1.0 * ("axial" in name) + 1e5 * ("chiral" in name) for name in names])  # of like weight
    return torch.as_tensor(np.random.default_rng(seed).normal(size=len(names)) * size)


def inversion_pair():
    """Low crystal with one inversion centre: half way between its two atoms, and nowhere on them."""
    rng = np.random.default_rng(1)
    u, g = np.array([0.17, 0.21, 0.13]), np.array([0.35, -0.2, 0.4])
    cell = 4.0 * np.eye(3) + rng.uniform(-0.4, 0.4, size=(3, 3))
    atoms = Atoms("Fe2Ge2", scaled_positions=[u, -u, g, -g], cell=cell, pbc=True)
    moments = 2.0 * random_directions(4, rng)
    moments[2:] = 0
    set_moments(atoms, moments)
    return atoms


def chiral_crystal():
    """The same without the inversion centre."""
    atoms = inversion_pair()
    atoms.positions[2] += 0.3
    return atoms


@pytest.fixture(scope="module")
def with_dmi():
    soso = SOSO(["Fe", "Ge"], spin_orbit=True, magnetic=["Fe"], **SMALL)
    weights = dmi_weights(soso)
    return lambda atoms: antisymmetric_exchange(soso, atoms, weights)


def test_no_dmi_across_an_inversion_centre(with_dmi):
    d, d_chiral = with_dmi(inversion_pair()), with_dmi(chiral_crystal())
    assert np.abs(d[0, 1]).max() < 1e-10 * np.abs(d_chiral[0, 1]).max()


def test_dmi_changes_sign_with_the_order_of_its_atoms(with_dmi):
    d = with_dmi(chiral_crystal())
    np.testing.assert_allclose(d[0, 1], -d[1, 0], atol=1e-12 * np.abs(d).max())


def test_dmi_turns_as_an_axial_vector(with_dmi):
    """Mirror image of a crystal without inversion: D -> det(Q) Q D, so along its bond it changes sign."""
    atoms, image, q = chiral_crystal(), chiral_crystal(), rotation(9, improper=True)
    rotate(image, q, positions=True)
    d, d_image = with_dmi(atoms)[0, 1], with_dmi(image)[0, 1]
    np.testing.assert_allclose(d_image, -q @ d, atol=1e-9 * np.abs(d).max())
    bond = atoms.positions[1] - atoms.positions[0]
    assert abs(d @ bond) > 0.05 * np.linalg.norm(d) * np.linalg.norm(bond)


# --- sizes ---


def test_a_repeated_cell_has_the_features_of_the_small_one():
    soso, atoms = fitted(), frame()
    assert_same_features(soso, atoms * (2, 2, 2), np.tile(soso(atoms), (8, 1)))


def test_more_atoms_than_one_chunk_are_worked_on_piece_by_piece(monkeypatch):
    soso, atoms = fitted(), frame()
    weights = torch.as_tensor(np.random.default_rng(0).normal(size=(5, soso.n_features)))

    def everything():
        out, start = [soso(atoms)], 0
        for block in soso.blocks().values():
            end = start + block.n_features
            energy, gradient = energy_and_gradient(soso, block, atoms, weights[:, start:end])
            out += [energy, gradient.positions, gradient.spins, gradient.virial]
            start = end
        return out

    whole = everything()
    monkeypatch.setattr(density, "CHUNK", 2)
    monkeypatch.setattr(pairs, "CHUNK", 7)
    for value, expected in zip(everything(), whole, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-10)


def test_several_frames_as_one_graph_are_the_frames_one_by_one(monkeypatch):
    soso, frames = fitted(), [frame(), frame(seed=5) * (2, 1, 1), frame(seed=4, pbc=False)]
    structures = [soso.structure(atoms) for atoms in frames]
    joined = concatenate(structures)
    monkeypatch.setattr(density, "CHUNK", 4)
    assert joined.n_frames == 3
    assert np.bincount(joined.frames).tolist() == [5, 10, 5]
    for block in soso.blocks().values():
        features = torch.cat([part.features for part in block.parts(joined)])
        one_by_one = [torch.cat([part.features for part in block.parts(structure)]) for structure in structures]
        torch.testing.assert_close(features, torch.cat(one_by_one), rtol=1e-12, atol=1e-12)
        weights = torch.as_tensor(np.random.default_rng(1).normal(size=features.shape))
        gradient = Gradient(joined, 1)
        for part in block.parts(joined):
            part.pullback(weights[part.atoms].unsqueeze(0), gradient)
        start = 0
        for k, structure in enumerate(structures):
            own, alone = slice(start, start + len(structure)), Gradient(structure, 1)
            for part in block.parts(structure):
                part.pullback(weights[own][part.atoms].unsqueeze(0), alone)
            close = {"rtol": 1e-10, "atol": 1e-10}
            for name in ("positions", "spins"):
                torch.testing.assert_close(getattr(gradient, name)[:, own], getattr(alone, name), **close)
            torch.testing.assert_close(gradient.virial[:, k], alone.virial[:, 0], **close)
            start = own.stop


@pytest.mark.parametrize("pbc", [False, (True, False, True)])
def test_atoms_of_open_systems_see_only_real_neighbours(pbc):
    """The same atoms in a cell so long that images along open directions are out of reach."""
    atoms = frame(pbc=pbc)
    cell = atoms.cell.array
    cell[~atoms.pbc] *= 10
    big = atoms.copy()
    big.set_cell(cell)
    big.pbc = True
    soso = fitted()
    assert_same_features(soso, atoms, soso(big))


def test_an_atom_alone_has_zero_features():
    atom = Atoms("Fe")
    set_moments(atom, [[0, 0, 2.2]])
    features = SOSO(["Fe"], spin_orbit=True, **SMALL)(atom)
    assert features.shape[0] == 1
    assert not features.any()


def test_features_are_smooth_where_a_neighbour_leaves():
    """Across the cutoff the features of a pair fall to zero as the fourth power of the distance left."""
    soso = SOSO(["Fe"], **SMALL)

    def features(gap):
        pair = Atoms("Fe2", positions=[[0, 0, 0], [0, 0, CUTOFF - gap]])
        set_moments(pair, [[0, 0, 2], [1, 0, 1]])
        return np.abs(soso(pair)).max()

    assert features(0.02) < 20 * (0.02 / 0.2) ** 4 * features(0.2)
    assert features(-1e-6) == 0.0


# --- the scikit-learn face ---


def test_clone_keeps_every_parameter():
    soso = SOSO(["Fe", "Ge"], cutoff=4.0, n_max=3, spin_orbit=True, magnetic=["Fe"], spin_width=0.3)
    assert clone(soso).get_params() == soso.get_params()


def test_set_params_takes_effect():
    soso = SOSO(["Fe"], body_order=2)
    before = soso.n_features
    soso.set_params(n_max=5)
    assert (before, soso.n_features) == (8 * 4, 5 * 4)
    assert soso(iron()).shape == (2, 20)


def test_transform_stacks_the_atoms_of_all_frames():
    soso, frames = fitted(), [frame(), frame(seed=4)[:3], frame(seed=5)]
    features = soso.transform(frames)
    assert features.shape == (13, soso.n_features)
    np.testing.assert_array_equal(features[5:8], soso(frames[1]))


def test_a_pipeline_of_scikit_learn():
    frames = [frame(seed) for seed in range(3)]
    scaled = make_pipeline(SOSO(SPECIES, body_order=2, **{k: SMALL[k] for k in ("cutoff", "n_max")}), StandardScaler())
    np.testing.assert_allclose(scaled.fit_transform(frames).mean(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize("parameters", [{"body_order": 2, "spin_orbit": False}, {"spin_orbit": False}, {}])
def test_names_tell_every_feature_apart(parameters):
    soso = fitted(**parameters)
    names = soso.get_feature_names_out()
    assert len(names) == len(set(names)) == soso.n_features == soso(frame()).shape[1]
    assert all(re.search(r"(Fe|Ge|Co)( n=\d l=\d|\d)", name) for name in names)


def test_fit_finds_the_magnetic_elements():
    assert fitted().magnetic_species() == ["Fe", "Co"]


def test_elements_outside_magnetic_count_without_their_moments():
    atoms, bare = frame(), frame()
    moments = get_moments(bare)
    moments[3:] = 0
    set_moments(bare, moments)
    np.testing.assert_array_equal(
        SOSO(SPECIES, magnetic=["Fe"], **FULL)(atoms), SOSO(SPECIES, **FULL).fit([bare])(bare)
    )


def test_transform_wants_fit_first():
    with pytest.raises(ValueError, match="not fitted yet"):
        SOSO(["Fe"]).transform([iron()])


# --- errors ---


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"species": "Fe"}, r"species must be a list of different element symbols, got 'Fe'"),
        ({"species": []}, r"species must be a list of different element symbols, got \[\]"),
        ({"species": ["Fe", "Fe"]}, r"species must be a list of different element symbols, got \['Fe', 'Fe'\]"),
        ({"body_order": 4}, r"body_order must be 2 or 3, got 4"),
        ({"n_max": 0}, r"n_max must be an integer >= 1, got 0"),
        ({"n_max": 2.5}, r"n_max must be an integer >= 1, got 2\.5"),
        ({"spin_l_max": -1}, r"spin_l_max must be an integer >= 0, got -1"),
        ({"n_max_angular": 0}, r"n_max_angular must be an integer >= 1, got 0"),
        ({"l_max": -1}, r"l_max must be an integer >= 0, got -1"),
        ({"spin_l_max_angular": 0}, r"spin_l_max_angular must be an integer >= 1, got 0"),
        ({"cutoff": 0.0}, r"cutoff must be a positive length in Angstrom, got 0\.0"),
        ({"cutoff": np.nan}, r"cutoff must be a positive length in Angstrom, got nan"),
        ({"width": -0.5}, r"width must be a positive length in Angstrom, got -0\.5"),
        ({"magnetic": ["Fe", "Co"]}, r"magnetic= names Co, which species= does not contain"),
        ({"spin_width": -1.0}, r"width of a spin on the sphere must be >= 0 radian, got -1\.0"),
        ({"spin_smearing": "box"}, r"spin smearing is 'heat' or 'von-mises-fisher', got 'box'"),
    ],
)
def test_refuses_bad_parameters(parameters, message):
    with pytest.raises(InputError, match=message):
        SOSO(**{"species": ["Fe"], **parameters})


def test_refuses_an_unknown_species():
    with pytest.raises(InputError, match=r"knows the species Fe, but the frame contains Co, Ge; add them to species="):
        SOSO(["Fe"])(frame())


def test_refuses_an_empty_frame():
    with pytest.raises(InputError, match=r"a frame needs at least one atom, got an empty ase\.Atoms"):
        SOSO(["Fe"])(Atoms())


def test_refuses_collinear_moments():
    with pytest.raises(InputError, match=r"got collinear moments of shape \(1,\)"):
        SOSO(["Fe"])(bulk("Fe"))


@pytest.mark.parametrize("size", [(4, 4), (3, 3, 3)])
def test_sites_without_an_element_are_atoms_in_other_units_of_length(size):
    sites = spin_lattice("amorphous", size, "random", rng=0)
    atoms = Atoms(f"Fe{len(sites)}", sites.positions * 2.5, cell=sites.cell * 2.5, pbc=sites.pbc)
    set_moments(atoms, get_moments(sites))
    small = {"n_max": 3, "n_max_angular": 2, "l_max": 2}
    lattice = SOSO(["X"], 1.6, width=0.2, **small).fit([sites])
    crystal = SOSO(["Fe"], 4.0, width=0.5, **small).fit([atoms])
    pairs = np.char.startswith(lattice.get_feature_names_out().astype(str), "pair")
    scale = np.where(pairs, 2.5**-1.5, 2.5**-3)  # radial functions have the dimension length^(-3/2)
    assert np.allclose(crystal(atoms), lattice(sites) * scale, rtol=1e-6, atol=1e-9)


def test_refuses_a_frame_without_moments():
    with pytest.raises(InputError, match=r"Expected a frame with moments in arrays\['initial_magmoms'\], got Fe "):
        SOSO(["Fe"])(Atoms("Fe"))


def test_refuses_positions_that_are_not_numbers():
    atoms = frame()
    atoms.positions[0, 0] = np.nan
    with pytest.raises(InputError, match=r"positions and cell must be finite numbers in Angstrom"):
        fitted()(atoms)


def test_refuses_an_empty_list_of_frames():
    with pytest.raises(InputError, match=r"at least one frame is needed, got an empty list"):
        SOSO(["Fe"]).fit([])


def test_refuses_an_element_that_is_magnetic_on_some_atoms_only():
    atoms = frame()
    moments = get_moments(atoms)
    moments[1] = 0
    set_moments(atoms, moments)
    with pytest.raises(InputError, match=r"Fe has moments on some atoms and zero moments on others: give every Fe "):
        SOSO(SPECIES).fit([atoms])


def test_refuses_an_element_named_magnetic_whose_moments_are_all_zero():
    with pytest.raises(InputError, match=r"magnetic= names Ge, but every Ge atom has a zero moment: set its moments"):
        SOSO(SPECIES, magnetic=["Fe", "Ge"]).fit([frame()])
