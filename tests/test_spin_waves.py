"""Linear spin waves of known energies: closed forms, the motion itself, states that are refused."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.mixing import SumCalculator

from ase_spinml import Anisotropy, Heisenberg, SpinCalculator, SpinDynamics, SpinGAP, Zeeman, get_spins, set_moments
from ase_spinml.analysis import exchange_tensors, magnon_bands, spin_stiffness
from ase_spinml.analysis.curvature import Supercell
from ase_spinml.analysis.magnons import frequencies, stiffness_matrices
from ase_spinml.descriptors.soso import SOSO
from ase_spinml.dynamics.timestep import suggest_timestep
from ase_spinml.errors import InputError
from ase_spinml.moments import random_directions, store_results, unit_rows
from ase_spinml.units import HBAR, MU_B

MOMENT, EXCHANGE, ANISOTROPY = 2.2, 0.02, 0.001
X = np.linspace(0, 1, 13)  # along a reciprocal vector


def chain(cells=1, axis=(0, 0, 1)):
    positions = 2.5 * np.arange(cells)[:, None] * np.array([1.0, 0, 0])
    atoms = Atoms(f"Fe{cells}", positions, cell=[2.5 * cells, 0, 0], pbc=[True, False, False])
    set_moments(atoms, np.full(cells, MOMENT), axis=axis)
    return atoms


def along(x):
    return np.column_stack([x, np.zeros_like(x), np.zeros_like(x)])


def check(found, expected):
    np.testing.assert_allclose(np.ravel(found), np.ravel(expected), atol=1e-6 * np.max(expected))


def test_ferromagnetic_chain():
    atoms = chain()
    atoms.calc = Heisenberg([EXCHANGE, 0.005])
    expected = 4 / MOMENT * (EXCHANGE * (1 - np.cos(2 * np.pi * X)) + 0.005 * (1 - np.cos(4 * np.pi * X)))
    check(magnon_bands(atoms, along(X), 5.1), expected)


def test_ferromagnetic_square():
    atoms = Atoms("Fe", cell=[2.5, 2.5, 0], pbc=[True, True, False])
    set_moments(atoms, [[1.0, 2.0, 2.0]])
    atoms.calc = Heisenberg([EXCHANGE])
    q = np.random.default_rng(0).random((9, 3)) * [1, 1, 0]
    check(magnon_bands(atoms, q, 3.0), 4 / 3 * EXCHANGE * (2 - np.cos(2 * np.pi * q[:, :2]).sum(axis=1)))


def test_ferromagnetic_bcc_and_its_stiffness():
    atoms, a = bulk("Fe", a=2.86), 2.86
    set_moments(atoms, [[0, 0, MOMENT]])
    atoms.calc = Heisenberg([EXCHANGE])
    q = np.random.default_rng(0).random((9, 3))
    wave = 2 * np.pi * q @ np.linalg.inv(atoms.cell.array).T
    check(magnon_bands(atoms, q, 2.6), 16 / MOMENT * EXCHANGE * (1 - np.cos(0.5 * a * wave).prod(axis=1)))
    stiffness = spin_stiffness(atoms, exchange_tensors(atoms, 2.6))
    small = 1e-3 * wave
    found = 1e3 * magnon_bands(atoms, 1e-3 * q, 2.6)[:, 0]
    np.testing.assert_allclose(found, np.einsum("qa,ab,qb->q", small, stiffness, small), rtol=1e-4)


def test_anisotropy_and_field_open_a_gap():
    """g (2 K + mu_B m B) / m at q = 0, and as much everywhere."""
    atoms = chain()
    atoms.calc = SumCalculator([Heisenberg([EXCHANGE]), Anisotropy(uniaxial=ANISOTROPY), Zeeman((0, 0, 30.0))])
    gap = 2 / MOMENT * (2 * ANISOTROPY + MU_B * MOMENT * 30.0)
    check(magnon_bands(atoms, along(X), 3.0), gap + 4 / MOMENT * EXCHANGE * (1 - np.cos(2 * np.pi * X)))


def test_anisotropy_of_one_atom_of_the_cell():
    atoms = chain(2)
    atoms.calc = SumCalculator([Heisenberg([EXCHANGE]), Anisotropy(uniaxial=ANISOTROPY, indices=[1])])
    mean, half = 2 * EXCHANGE + ANISOTROPY, np.hypot(2 * EXCHANGE * np.cos(np.pi * X), ANISOTROPY)
    check(magnon_bands(atoms, along(X), 3.0), 2 / MOMENT * np.column_stack([mean - half, mean + half]))


@pytest.mark.parametrize("cutoff", [3.0, 8.0, 25.0])
def test_large_cells_fold_the_bands(cutoff):
    """Eight sites, wrapped anyhow, in a cell larger or smaller than twice the cutoff."""
    atoms = chain(8)
    atoms.positions[3, 0] += 40.0
    atoms.positions[5, 0] -= 20.0
    atoms.calc = Heisenberg([EXCHANGE])
    q = 0.3
    folded = 4 / MOMENT * EXCHANGE * (1 - np.cos(2 * np.pi * (q + np.arange(8)) / 8))
    check(magnon_bands(atoms, along(np.array([q])), cutoff), np.sort(folded))


@pytest.mark.parametrize("anisotropy", [0.0, ANISOTROPY])
def test_antiferromagnetic_chain(anisotropy):
    """Two bands alike; linear at small q without anisotropy, above a gap with it."""
    atoms = chain(2)
    set_moments(atoms, [MOMENT, -MOMENT], axis=(0, 0, 1))
    atoms.calc = Heisenberg([-EXCHANGE])
    if anisotropy:
        atoms.calc = SumCalculator([atoms.calc, Anisotropy(uniaxial=anisotropy)])
    field = 2 * EXCHANGE + 2 * anisotropy
    expected = 2 / MOMENT * np.sqrt(np.clip(field**2 - (2 * EXCHANGE * np.cos(np.pi * X)) ** 2, 0, None))
    found = magnon_bands(atoms, along(X), 3.0)
    np.testing.assert_allclose(found, np.column_stack([expected, expected]), atol=1e-5 * expected.max())


def test_antiferromagnetic_square():
    a = 2.5
    atoms = Atoms("Fe2", [[0, 0, 0], [a, 0, 0]], cell=[[a, a, 0], [a, -a, 0], [0, 0, 0]], pbc=[True, True, False])
    set_moments(atoms, [MOMENT, -MOMENT], axis=(1, 0, 2))
    atoms.calc = Heisenberg([-EXCHANGE])
    q = np.random.default_rng(0).random((9, 3)) * [1, 1, 0]
    wave = np.pi * np.column_stack([q[:, 0] + q[:, 1], q[:, 0] - q[:, 1]])
    expected = 8 / MOMENT * EXCHANGE * np.sqrt(1 - np.cos(wave).mean(axis=1) ** 2)
    np.testing.assert_allclose(magnon_bands(atoms, q, 3.0), np.column_stack([expected] * 2), rtol=1e-6)


def test_spiral_of_competing_exchange():
    """J1 > 0 and J2 < -J1/4: cos k = -J1/(4 J2), of no cell; waves in the rotating frame."""
    atoms, first, second = chain(axis=(0, 1, 0)), EXCHANGE, -0.011
    atoms.calc = Heisenberg([first, second])
    k = np.arccos(-first / (4 * second)) / (2 * np.pi)

    def coupling(x):
        return 2 * first * np.cos(2 * np.pi * x) + 2 * second * np.cos(4 * np.pi * x)

    across = coupling(k) - 0.5 * (coupling(X + k) + coupling(X - k))
    expected = 2 / MOMENT * np.sqrt(np.clip(across * (coupling(k) - coupling(X)), 0, None))
    found = magnon_bands(atoms, along(X), 5.1, spiral=([k, 0, 0], [0, 0, 1]))
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-5 * expected.max())


def test_spiral_in_its_cell_has_the_same_waves():
    """A spiral of four sites: the rotating frame at q is the magnetic cell at 4 q, all four bands together."""
    single, four, spiral = chain(axis=(1, 0, 0)), chain(4), ([0.25, 0, 0], [0, 0, 1])
    set_moments(four, MOMENT * np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]]))
    terms = [Heisenberg([0.0, -EXCHANGE]), Anisotropy(uniaxial=-ANISOTROPY)]
    single.calc = four.calc = SumCalculator(terms)
    q = 0.037
    frame = magnon_bands(single, along(q + 0.25 * np.arange(4)), 5.1, spiral)
    cell = magnon_bands(four, along(np.array([4 * q])), 5.1)
    np.testing.assert_allclose(cell[0], np.sort(frame.ravel()), rtol=1e-5)


def test_spiral_of_dzyaloshinskii_and_moriya():
    """tan k = D/J; bonds have sqrt(J^2 + D^2) in the plane and J across it."""
    dmi = 0.006
    atoms = chain(axis=(0, 1, 0))
    atoms.calc = Heisenberg([EXCHANGE], dmi=[dmi])
    k, strong = np.arctan2(dmi, EXCHANGE) / (2 * np.pi), np.hypot(EXCHANGE, dmi)
    phase = np.cos(2 * np.pi * X)
    expected = 4 / MOMENT * np.sqrt(strong * (1 - phase) * (strong - EXCHANGE * phase))
    found = magnon_bands(atoms, along(X), 3.0, spiral=([k, 0, 0], [1, 0, 0]))
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-5 * expected.max())


def test_waves_of_a_chiral_ferromagnet_run_one_way():
    """An easy axis holds the ferromagnet along the vectors D: energies differ by 8 D sin q / m between q and -q."""
    atoms, dmi = chain(axis=(1, 0, 0)), 0.003
    atoms.calc = SumCalculator([Heisenberg([EXCHANGE], dmi=[dmi]), Anisotropy(uniaxial=0.002, axis=(1, 0, 0))])
    q = 2 * np.pi * X
    expected = 2 / MOMENT * (2 * EXCHANGE * (1 - np.cos(q)) + 0.004 + 2 * dmi * np.sin(q))
    check(magnon_bands(atoms, along(X), 3.0), expected)


@pytest.mark.parametrize("mode", [2, 22])
def test_frequency_and_direction_are_those_of_the_motion(mode):
    """The wave exp(i q x - i omega t) turns e_y + i e_z as exp(i omega t - i q x), in a chiral ferromagnet along x."""
    atoms, single = chain(24, axis=(1, 0, 0)), chain(axis=(1, 0, 0))
    terms = [Heisenberg([EXCHANGE], dmi=[0.003]), Anisotropy(uniaxial=0.002, axis=(1, 0, 0))]
    single.calc, atoms.calc = SumCalculator(terms), SumCalculator(terms)
    expected = magnon_bands(single, along(np.array([mode / 24])), 3.0)[0, 0] / HBAR
    phase = 2 * np.pi * mode / 24 * np.arange(24)
    wave = 0.01 * np.column_stack([np.zeros(24), np.cos(phase), -np.sin(phase)])
    set_moments(atoms, MOMENT * unit_rows(wave + np.array([1, 0, 0])))
    seen, step = [], suggest_timestep(atoms, 0.001)

    def record():
        e = get_spins(atoms)
        seen.append(np.angle(np.sum((e[:, 1] + 1j * e[:, 2]) * np.exp(1j * phase))))

    dynamics = SpinDynamics(atoms, step)
    dynamics.attach(record)
    dynamics.run(60)
    measured = np.polyfit(step * np.arange(61), np.unwrap(seen), 1)[0]
    assert measured == pytest.approx(expected, rel=3e-3)


def test_trained_model_of_a_ferromagnet():
    """No gap at q = 0, the stiffness of its own exchange, and the same bands from one cell or two."""
    rng, frames = np.random.default_rng(0), []
    for _ in range(4):
        frame = bulk("Fe", a=2.83, cubic=True) * 2
        set_moments(frame, MOMENT * random_directions(16, rng))
        frame.calc = Heisenberg([EXCHANGE, 0.01])
        frames.append(store_results(frame))
    model = SpinGAP(SOSO(["Fe"], cutoff=3.5, n_max_angular=3, l_max=2), zeta=1, optimize=None, rng=0).fit(frames)
    primitive, cubic = bulk("Fe", a=2.83), bulk("Fe", a=2.83, cubic=True)
    for atoms in (primitive, cubic):
        set_moments(atoms, np.full(len(atoms), MOMENT), axis=(0, 0, 1))
        atoms.calc = SpinCalculator(model)
    stiffness = spin_stiffness(primitive, exchange_tensors(primitive, 7.0))[0, 0]
    q = np.array([[0, 0, 0], [0.02, 0, 0]])
    folded = 1e3 * magnon_bands(cubic, q, 7.0)
    assert abs(folded[0, 0]) < 1e-6
    assert folded[1, 0] == pytest.approx(stiffness * (2 * np.pi * 0.02 / 2.83) ** 2, rel=5e-3)
    found = 1e3 * magnon_bands(primitive, q @ np.linalg.inv(cubic.cell.array).T @ primitive.cell.array.T, 7.0)
    np.testing.assert_allclose(folded[:, 0], found[:, 0], atol=1e-3 * folded[0, 1])


def refused(sentence, function, *arguments):
    with pytest.raises(InputError) as error:
        function(*arguments)
    assert str(error.value) == sentence


def test_refused_waves():
    atoms = chain()
    atoms.calc = Heisenberg([EXCHANGE])
    refused("Expected q of shape (Q, 3), finite numbers, got shape (3,).", magnon_bands, atoms, [0, 0, 0], 3.0)
    refused(
        "Expected q zero along directions that are not periodic, got others: waves need a crystal.",
        magnon_bands,
        atoms,
        [[0, 0.1, 0]],
        3.0,
    )
    refused(
        "Expected a spiral as (k, axis), its wave vector in units of the reciprocal cell, zero where the crystal is "
        "not periodic, and an axis other than zero, got something else.",
        magnon_bands,
        atoms,
        [[0, 0, 0]],
        3.0,
        ([0.1, 0, 0], [0, 0, 0]),
    )


def test_refused_states():
    atoms = chain()
    atoms.calc = Heisenberg([-EXCHANGE])
    refused(
        "Expected a stable state, got one whose energy falls by 0.04 eV/rad^2 in a wave of q = [0.5, 0.0, 0.0]: relax "
        "the spins, or find the wave vector of the ground state.",
        magnon_bands,
        atoms,
        along(X),
        3.0,
    )
    atoms = chain(2)
    set_moments(atoms, [[MOMENT, 0, 0], [0, MOMENT, 0]])
    atoms.calc = Heisenberg([EXCHANGE])
    refused(
        "Expected spins at rest, got fields across them of m H = 0.04 eV: relax the spins.",
        magnon_bands,
        atoms,
        along(X),
        3.0,
    )
    atoms = chain(axis=(1, 0, 0))
    atoms.calc = SumCalculator([Heisenberg([0.0, -EXCHANGE]), Anisotropy(uniaxial=ANISOTROPY, axis=(1, 0, 0))])
    refused(
        "Expected spins at rest, got fields across them of m H = 0.000757 eV: relax the spins, or take a longer "
        "cutoff and an axis of the energy for the spiral.",
        magnon_bands,
        atoms,
        along(X),
        5.1,
        ([0.25, 0, 0], [0, 0, 1]),
    )


def test_refused_derivatives():
    """Those of a spiral whose couplings reach over the boundary of its supercell, or of a noisy calculator."""
    atoms = chain()
    atoms.calc = Heisenberg([EXCHANGE])
    supercell = Supercell(atoms, 3.0)
    noise = np.random.default_rng(0).normal(size=(1, 2, len(supercell.frame), 2))
    refused(
        "Expected second derivatives that repeat from cell to cell, got others: use a longer cutoff, and a spiral only "
        "for an energy that does not change when all spins turn about its axis.",
        stiffness_matrices,
        supercell,
        noise,
        along(X),
    )


def test_frequencies_of_a_moment_in_an_elliptic_well():
    """g sqrt(K1 K2) / m, Kittel's formula."""
    found = frequencies(np.diag([0.002, 0.008])[None].astype(complex), np.array([MOMENT]), np.zeros((1, 3)))
    assert found[0, 0] == pytest.approx(2 / MOMENT * 0.004)
