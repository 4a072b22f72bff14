"""Descriptors of spins on planar lattices: groups, irreps, invariance, derivatives, models on them."""

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.spatial.transform import Rotation

from ase_spinml import LatticeDescriptor, SpinCalculator, SpinGAP, SpinNN, get_spins, load_model, set_moments
from ase_spinml.descriptors.lattice_block import Variables
from ase_spinml.descriptors.point_groups import adapted_basis, couplings, find_group, orbits, permutation, point_group
from ase_spinml.descriptors.structure import Gradient, concatenate
from ase_spinml.electrons.lattices import spin_lattice
from ase_spinml.errors import InputError
from ase_spinml.moments import random_directions, rotate, transverse

NAMES = ["C1", "C2", "C3", "C4", "C6", "D1", "D2", "D3", "D4", "D6"]


def disc(lattice, radius):
    cell = spin_lattice(lattice, (1, 1)).cell.array[:2, :2]
    n = np.arange(-8, 9)
    points = np.array(list(itertools.product(n, n))) @ cell
    return points[(np.linalg.norm(points, axis=1) < radius + 1e-6) & (np.linalg.norm(points, axis=1) > 0)]


# -- groups ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_irreps_multiply_as_the_operations_do(name):
    group = point_group(name, 0.3)
    for a, b in itertools.product(range(len(group)), repeat=2):
        product = group.matrices[a] @ group.matrices[b]
        where = [k for k, matrix in enumerate(group.matrices) if np.allclose(matrix, product, atol=1e-12)]
        assert len(where) == 1
        for matrices in group.irreps.values():
            assert np.allclose(matrices[a] @ matrices[b], matrices[where[0]], atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_adapted_bases_are_complete_and_transform_like_their_irrep(name):
    group = point_group(name, 0.1)
    # a generic orbit, and one on a mirror line, as one representation
    starts = [[1.0, 0.31], [np.cos(0.1), np.sin(0.1)]]
    points = np.concatenate([np.array(group.matrices) @ start for start in starts])
    points = points[np.unique(np.round(points, 9), axis=0, return_index=True)[1]]
    moves = np.array([permutation(points, matrix) for matrix in group.matrices])
    found = {irrep: [] for irrep in group.irreps}
    for members in orbits(moves):
        local = np.searchsorted(members, moves[:, members])
        basis = adapted_basis(group, local, np.ones(local.shape), np.arange(1.0, 1.0 + len(members)))
        rows = np.concatenate([copies.reshape(-1, len(members)) for copies in basis.values()])
        assert np.allclose(rows @ rows.T, np.eye(len(members)), atol=1e-12)  # as many as variables, orthonormal
        for irrep, copies in basis.items():
            found[irrep] += list(copies)
            for g in range(len(group)):
                moved = np.zeros((len(members), len(members)))
                moved[local[g], np.arange(len(members))] = 1.0
                for copy in copies:
                    # f = copy . x turns into D f when x is moved
                    assert np.allclose(copy @ moved, group.irreps[irrep][g] @ copy, atol=1e-12)
    assert all(found[irrep] for irrep in group.irreps)


@pytest.mark.parametrize(
    ("lattice", "radius", "bonds", "chiralities"),
    [
        ("square", 2, [13, 5, 10, 8, 15], [7, 8, 9, 6, 18]),
        ("square", 3, [60, 38, 51, 47, 91], None),
        ("triangular", 2, [19, 8, 13, 11, 24, 27], [10, 14, 15, 12, 27, 24]),
    ],
)
def test_multiplicities_of_bonds_and_chiralities(lattice, radius, bonds, chiralities):
    """Against the characters of the (signed) permutations, and against numbers worked out by others of us."""
    points = disc(lattice, radius)
    group = find_group(points)
    variables = Variables(points, group, 2 * radius)
    between = [np.abs(basis[:, :, len(points) :]).max(axis=(1, 2)) > 0 for basis in variables.bonds.values()]
    assert [int(mask.sum()) for mask in between] == bonds
    if chiralities:
        assert [len(basis) for basis in variables.chiralities.values()] == chiralities


def test_the_group_of_a_lattice_is_found():
    for lattice, name in (("square", "D4"), ("triangular", "D6")):
        assert find_group(disc(lattice, 2.3)).name == name
    assert find_group(np.array([[1.0, 0], [-1, 0]])).name == "D2"
    assert find_group(np.array([[1.0, 0], [-0.5, 0.9]])).name in ("C1", "D1")
    turned = Rotation.from_euler("z", 17, degrees=True).as_matrix()[:2, :2]
    assert find_group(disc("triangular", 1.0) @ turned.T).name == "D6"


def test_couplings_are_invariant():
    group = point_group("D6")
    rng = np.random.default_rng(0)
    counted = 0
    for triple in itertools.combinations_with_replacement(group.irreps, 3):
        x = [rng.normal(size=group.irreps[name].shape[1]) for name in triple]
        for tensor in couplings(group, *triple):
            counted += 1
            values = [
                np.einsum("abc,a,b,c", tensor, *(group.irreps[name][g] @ v for name, v in zip(triple, x, strict=True)))
                for g in range(len(group))
            ]
            assert np.allclose(values, values[0], atol=1e-12)
            assert abs(values[0]) > 1e-6
    characters = {name: np.trace(m, axis1=1, axis2=2) for name, m in group.irreps.items()}
    triples = itertools.combinations_with_replacement(characters.values(), 3)
    assert counted == round(sum(np.mean(a * b * c) for a, b, c in triples))


# -- the descriptor ----------------------------------------------------------------------------------------------------


def fitted(lattice, **options):
    frames = [spin_lattice(lattice, 20 if lattice == "chain" else (6, 6), "random", rng=0)]
    options = {"radius": 2.0, "pair_radius": 1.5, "chirality": True, "cross": True} | options
    return LatticeDescriptor(**options).fit(frames)


LATTICES = ["chain", "square", "triangular", "honeycomb"]


@pytest.mark.parametrize("lattice", LATTICES)
def test_invariant_under_the_group_and_under_turns_of_the_spins(lattice):
    soso = fitted(lattice)
    atoms = spin_lattice(lattice, 20 if lattice == "chain" else (6, 6), "random", rng=1)
    features = soso(atoms)
    turned, flipped = atoms.copy(), atoms.copy()
    rotate(turned, Rotation.from_rotvec([0.4, -0.7, 0.2]).as_matrix())
    set_moments(flipped, -get_spins(atoms))
    odd = soso.blocks()["lattice"].odd.numpy()
    assert np.abs(features[:, odd]).max() > 0.1
    assert np.allclose(soso(turned), features, rtol=0, atol=1e-12)
    assert np.allclose(soso(flipped), features * np.where(odd, -1, 1), rtol=0, atol=1e-12)
    for matrix in soso.group_.matrices:
        moved = atoms.copy()  # the lattice turned about site 0, and the turned frame labelled by the old places
        full = np.eye(3)
        full[:2, :2] = matrix
        moved.positions = (atoms.positions - atoms.positions[0]) @ full.T
        moved.set_cell(atoms.cell.array @ full.T)
        assert np.allclose(soso(moved)[0], features[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("state", ["FM", "AFM", "120", "random"])
@pytest.mark.parametrize("centred", [False, True])
def test_derivatives_also_where_components_vanish(state, centred):
    lattice = "square" if state == "AFM" else "triangular"
    soso = fitted(lattice)
    atoms = spin_lattice(lattice, (6, 6), state, **({"rng": 2} if state == "random" else {}))
    structure, block = soso.structure(atoms), soso.blocks()["lattice"]
    weights = torch.as_tensor(np.random.default_rng(3).normal(size=(2, len(atoms), block.n_features)))

    def energies(spins):
        features = torch.cat([part.features for part in block.parts(structure.with_spins(torch.as_tensor(spins)))])
        return (weights * features).sum(2).numpy()

    gradient = Gradient(structure, 2, lattice=False, centred=centred)
    for part in block.parts(structure):
        part.pullback(weights[:, part.atoms], gradient)
    spins, h = get_spins(atoms), 1e-5
    for atom, axis in itertools.product((0, 7), range(3)):
        step = np.zeros_like(spins)
        step[atom, axis] = h
        change = (energies(spins + step) - energies(spins - step)) / (2 * h)
        expected = change[:, atom] if centred else change.sum(1)
        assert np.allclose(gradient.spins[:, atom, axis], expected, rtol=0, atol=2e-7)


def test_sizes_and_edges():
    """A larger lattice has the features of the smaller one repeated; missing sites are sites without a spin."""
    soso = fitted("triangular")
    small = spin_lattice("triangular", (6, 6), "random", rng=4)
    large = small.repeat((2, 3, 1))
    assert np.allclose(soso(large), np.tile(soso(small), (6, 1)), rtol=0, atol=1e-12)
    chain = fitted("chain")
    inside = spin_lattice("chain", 20, "random", rng=5)
    spins = get_spins(inside)
    spins[8:] = 0.0
    hole = inside.copy()
    hole.set_array("initial_magmoms", spins)
    cut = inside[:8]
    cut.pbc = False
    assert np.allclose(chain(cut)[2:], chain(hole)[2:8], rtol=0, atol=1e-12)
    assert chain.group_.name == "D2"


def test_several_frames_as_one_graph_and_single_precision():
    soso = fitted("square")
    frames = [spin_lattice("square", size, "random", rng=6) for size in ((6, 6), (5, 7))]
    joined = concatenate([soso.structure(atoms) for atoms in frames])
    found = torch.cat([part.features for part in soso.blocks()["lattice"].parts(joined)])
    expected = np.vstack([soso(atoms) for atoms in frames])
    assert np.allclose(found, expected, rtol=0, atol=1e-13)
    single = soso.blocks(torch.float32)["lattice"].parts(soso.structure(frames[0], torch.float32))
    assert np.allclose(torch.cat([p.features for p in single]), soso(frames[0]), rtol=0, atol=2e-5)


def test_less_symmetry_more_features():
    names = [fitted("square", group=group).get_feature_names_out() for group in ("D4", "D2", "D1", "C1")]
    linear = [sum(name.startswith("even bonds A") and len(name.split()) == 4 for name in each) for each in names]
    assert linear == sorted(set(linear))
    atoms = spin_lattice("square", (6, 6), "random", rng=7)
    mirrored = atoms.copy()
    mirrored.positions[:, 0] *= -1
    mirrored.set_cell(atoms.cell.array * [-1, 1, 1])
    biased = fitted("square", group="D1")  # a bias along x
    assert not np.allclose(biased(mirrored)[0], biased(atoms)[0], atol=1e-3)
    mirrored.positions = atoms.positions * [1, -1, 1]
    mirrored.set_cell(atoms.cell.array * [1, -1, 1])
    assert np.allclose(biased(mirrored)[0], biased(atoms)[0], rtol=0, atol=1e-12)


# -- models on it ------------------------------------------------------------------------------------------------------


def frames_of_a_model(count, size=(5, 5)):
    """Fields of E = sum over sites of a function of the bonds to first neighbours that no pair model has."""
    frames = []
    for seed in range(count):
        atoms = spin_lattice("square", size, "random", rng=seed)
        e = get_spins(atoms).reshape(*size, 3)
        around = [np.roll(e, shift, axis) for shift in (1, -1) for axis in (0, 1)]
        x = sum((e * other).sum(2) for other in around)
        slope = (0.1 + 0.1 * x)[..., None]
        total = sum(slope * other for other in around)
        total += sum(np.roll(slope * e, shift, axis) for shift in (1, -1) for axis in (0, 1))
        atoms.arrays["exchange_fields"] = transverse(-total.reshape(-1, 3), get_spins(atoms))
        frames.append(atoms)
    return frames


NETWORK = {"hidden": (16,), "epochs": 60, "batch_frames": 1, "learning_rate": 5e-3, "progress": False}


@pytest.mark.parametrize(
    ("make", "goal"),
    [
        (lambda d: SpinGAP(d, n_sparse=30, sigma_field=1e-3), 0.005),
        (lambda d: SpinNN(d, **NETWORK), 0.15),
        (lambda d: SpinNN(d, head="global", **NETWORK), 0.15),
    ],
)
def test_models_learn_on_a_small_lattice_and_run_on_a_large_one(make, goal, tmp_path):
    frames = frames_of_a_model(14)
    model = make(LatticeDescriptor(radius=1.0, pair_radius=1.0)).fit(frames)
    large = frames_of_a_model(1, (12, 10))
    scale = np.sqrt(np.mean(large[0].arrays["exchange_fields"] ** 2))
    assert model.evaluate(large)["field_rmse"] < goal * scale
    model.save(tmp_path / "lattice.model")
    again = load_model(tmp_path / "lattice.model")
    calculator = SpinCalculator(again)
    expected = model.predict(large[0])["exchange_fields"]
    assert np.allclose(calculator.get_property("exchange_fields", large[0]), expected, rtol=0, atol=1e-13)
    assert again.descriptor_.group_.name == "D4"


def test_a_model_may_depend_on_a_voltage(tmp_path):
    """Fields that grow with V and V^2, at a voltage between those of the training."""
    frames = []
    for k, atoms in enumerate(frames_of_a_model(12)):
        v = 0.5 * (k % 4)
        turn = np.cross(get_spins(atoms), atoms.arrays["exchange_fields"])
        atoms.arrays["exchange_fields"] = (1 + 0.3 * v**2) * atoms.arrays["exchange_fields"] + 0.4 * v * turn
        atoms.info["voltage"] = v
        frames.append(atoms)
    descriptor = LatticeDescriptor(radius=1.0, cross=True, pair_radius=1.5, parameters=["voltage"])
    model = SpinNN(descriptor, head="global", **(NETWORK | {"epochs": 1, "validation": 0.0})).fit(frames)
    longer = SpinNN(descriptor, head="global", **(NETWORK | {"epochs": 60, "max_inputs": 20})).fit(frames[:3])
    assert longer.history_[0][-1][0] < longer.history_[0][0][0]  # derivatives are stored for as many epochs
    model.save(tmp_path / "v.model")
    calculator = SpinCalculator(tmp_path / "v.model")
    atoms = frames[0].copy()
    found = []
    for v in (0.0, 0.75, 0.0):
        atoms.info["voltage"] = v
        found.append(calculator.get_property("exchange_fields", atoms))
        assert np.allclose(found[-1], model.predict(atoms)["exchange_fields"], rtol=0, atol=1e-13)
    assert np.array_equal(found[0], found[2])
    assert np.abs(found[0] - found[1]).max() > 0.01
    features = model.descriptor_(atoms)
    atoms.info["voltage"] = 2.0
    scaled = model.descriptor_(atoms)
    del atoms.info["voltage"]
    with pytest.raises(InputError) as error:
        model.predict(atoms)
    assert str(error.value) == (
        "Expected atoms.info['voltage'] to be a number, as the descriptor has parameters=['voltage'], got None: set it "
        "on every frame."
    )
    assert np.array_equal(scaled, np.hstack([features[:, : len(scaled[0]) // 3] * v for v in (1, 2, 4)]))


# -- wrong input -------------------------------------------------------------------------------------------------------


def test_refused():
    def message(function):
        with pytest.raises(InputError) as error:
            function()
        return str(error.value)

    square = spin_lattice("square", (6, 6))
    assert message(lambda: LatticeDescriptor(radius=0)) == "Expected radius to be a positive length in Angstrom, got 0."
    assert message(lambda: LatticeDescriptor(parameters="voltage")) == (
        "Expected parameters to be a list of names, got 'voltage': write ['voltage']."
    )
    assert message(lambda: LatticeDescriptor(group="D5")) == (
        "Expected group to be 'auto', C1, C2, C3, C4, C6, D1, D2, D3, D4 or D6, got 'D5'."
    )
    assert message(lambda: LatticeDescriptor(group="D6").fit([square])) == (
        "Expected a group of the lattice, got D6 with axis=0, which moves neighbours to places without any; the "
        "lattice has D4."
    )
    assert message(lambda: LatticeDescriptor(radius=0.5).fit([square])) == (
        "Expected neighbours within radius=0.5 Angstrom of a site, got none: raise it."
    )
    cubic = spin_lattice("cubic", (3, 3, 3))
    assert message(lambda: LatticeDescriptor().fit([cubic])) == (
        "Expected sites in one plane z = const, got a thicker lattice: use SOSO for it."
    )
    two = Atoms("FeCo", positions=[[0, 0, 0], [1, 0, 0]])
    set_moments(two, random_directions(2, np.random.default_rng(0)))
    assert message(lambda: LatticeDescriptor().fit([two])) == (
        "Expected sites of one element, got Co, Fe: use SOSO for unlike atoms."
    )
    amorphous = spin_lattice("amorphous", (12, 12), "random", rng=1)
    assert message(lambda: LatticeDescriptor(radius=2.0).fit([amorphous])).startswith(
        "Expected the sites of a lattice, got "
    )
    descriptor = LatticeDescriptor(radius=1.0).fit([square])
    assert message(lambda: descriptor(spin_lattice("triangular", (6, 6)))).startswith(
        "Expected the lattice that the descriptor was fitted to, got a neighbour of site "
    )
    assert message(lambda: descriptor.structure(Atoms())) == "a frame needs at least one atom, got an empty ase.Atoms"
    assert message(lambda: descriptor(two)) == "the descriptor knows sites of X, but the frame contains Co, Fe"
    assert message(lambda: descriptor.fit([])) == "at least one frame is needed, got an empty list"


@pytest.mark.parametrize(
    ("lattice", "size", "options"),
    [
        ("triangular", (5, 5), {"cross": True}),
        ("square", (6, 6), {"chirality": True}),
        ("chain", 8, {"chirality": True, "parameters": ["voltage"], "group": "C1"}),
    ],
)
def test_derivatives_along_turns_are_those_of_the_way_back(lattice, size, options):
    atoms = spin_lattice(lattice, size, "random", pbc=lattice != "chain", rng=0)
    atoms.info["voltage"] = 0.3
    descriptor = LatticeDescriptor(2.0, 1.0, **options).fit([atoms])
    structure = descriptor.structure(atoms)
    (part,) = descriptor.blocks()["lattice"].parts(structure)
    turns = torch.as_tensor(np.random.default_rng(1).normal(size=(3, len(atoms), 3)) * [[[1.0]], [[0.5]], [[0.0]]])
    turns[1, 4:] = 0
    sensitivity = torch.as_tensor(np.random.default_rng(2).normal(size=part.features.shape))
    gradient = Gradient(structure, 1, lattice=False)
    part.pullback(sensitivity.unsqueeze(0), gradient)
    expected = (gradient.spins * turns).sum((1, 2))
    torch.testing.assert_close((part.along(turns) * sensitivity).sum((1, 2)), expected, rtol=1e-12, atol=1e-12)
