"""Exchange tensors of known energies and trained models; stiffness and ordering temperatures in closed form."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.mixing import SumCalculator

from ase_spinml import (
    SOSO,
    Anisotropy,
    Heisenberg,
    SDModel,
    SlonczewskiTorque,
    SpinCalculator,
    SpinGAP,
    SpinNN,
    Zeeman,
    get_moments,
    set_moments,
)
from ase_spinml.analysis import (
    decompose,
    exchange_stiffness,
    exchange_tensors,
    mean_field_temperature,
    rpa_temperature,
    spin_stiffness,
)
from ase_spinml.analysis.exchange import reverse
from ase_spinml.errors import InputError
from ase_spinml.io.exchange.table import check_table, pair_energy, tensors
from ase_spinml.moments import magnetic_mask, random_directions, store_results

MOMENT = 2.2
WATSON = {"sc": 1.5163860591519780, "bcc": 1.3932039296856769}
"""Mean over the zone of 1 / (1 - gamma(q)), gamma the mean phase of nearest neighbours."""


def iron(direction=(0, 0, 1), cubic=False):
    atoms = bulk("Fe", a=2.86, cubic=cubic)
    set_moments(atoms, np.full(len(atoms), MOMENT), axis=direction)
    return atoms


def b20():
    """Chiral crystal of four magnetic iron and four germanium atoms, ferromagnetic along z."""
    corners = [
        [[u, u, u], [0.5 + u, 0.5 - u, -u], [-u, 0.5 + u, 0.5 - u], [0.5 - u, -u, 0.5 + u]] for u in (0.1352, 0.8414)
    ]
    atoms = Atoms("Fe4Ge4", scaled_positions=np.concatenate(corners) % 1, cell=[4.7] * 3, pbc=True)
    set_moments(atoms, [[0, 0, 1.2]] * 4 + [[0, 0, 0]] * 4)
    return atoms


def bonds(atoms, table):
    """Unit vectors (P, 3) and lengths (P,) of the pairs of a table."""
    i, j, S, _ = table
    vectors = atoms.positions[j] - atoms.positions[i] + S @ atoms.cell.array
    lengths = np.linalg.norm(vectors, axis=1)
    return vectors / lengths[:, None], lengths


@pytest.mark.parametrize("direction", [(0, 0, 1), (1, 1, 1), (0.3, 0.4, 2.0)])
def test_exchange_and_dmi_are_found_again(direction):
    """Constants by shell, of a cell with one atom, for ferromagnets along several axes."""
    atoms, exchange, dmi = iron(direction), np.array([0.02, 0.011, -0.003]), np.array([0.004, 0.002, 0.0])
    atoms.calc = Heisenberg(exchange, dmi=dmi)
    table = check_table(exchange_tensors(atoms, 4.5), 1)
    along, lengths = bonds(atoms, table)
    shell = np.searchsorted([2.6, 3.5], lengths)
    isotropic, found, anisotropic = decompose(table.J)
    assert len(shell) == 8 + 6 + 12
    np.testing.assert_allclose(isotropic, exchange[shell], atol=1e-7 * 0.02)
    np.testing.assert_allclose(found, dmi[shell, None] * along, atol=1e-7 * 0.02)
    np.testing.assert_allclose(anisotropic, 0, atol=1e-7 * 0.02)


def test_tensors_give_the_energy_of_any_state():
    """Bilinear energies are what their tensors say, whatever the state: 1/2 of the sum over pairs from both ends."""
    atoms = b20()
    atoms.calc = Heisenberg([0.012, -0.004], dmi=[0.003])
    table = exchange_tensors(atoms, 5.0)
    spins = np.where(magnetic_mask(atoms)[:, None], random_directions(8, 1), 0)
    set_moments(atoms, 1.2 * spins)
    assert pair_energy(table, spins) == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
    assert set(table[0]) == {0, 1, 2, 3}


def test_biquadratic_exchange_is_seen_from_the_reference():
    """J + 2 B between parallel spins, J - 2 B between opposite ones."""
    atoms = iron(cubic=True)
    atoms.calc = Heisenberg([0.02], biquadratic=[0.001])
    np.testing.assert_allclose(decompose(exchange_tensors(atoms, 2.6)[3])[0], 0.022, rtol=1e-6)
    set_moments(atoms, [MOMENT, -MOMENT], axis=(1, 0, 0))
    np.testing.assert_allclose(decompose(exchange_tensors(atoms, 2.6)[3])[0], 0.018, rtol=1e-6)


def test_noncollinear_reference():
    """Bilinear exchange is the same whatever the angles of the reference state."""
    atoms = iron(cubic=True)
    set_moments(atoms, [[MOMENT, 0, 0], [0.4, 1.3, 0.9]])
    atoms.calc = Heisenberg([0.02], dmi=[0.003])
    table = exchange_tensors(atoms, 2.6)
    isotropic, dmi, _ = decompose(table[3])
    np.testing.assert_allclose(isotropic, 0.02, rtol=1e-6)
    np.testing.assert_allclose(dmi, 0.003 * bonds(atoms, table)[0], atol=1e-8)


def test_sums_of_calculators_and_single_ions():
    """Terms of single spins leave J alone; weights count."""
    atoms = iron(cubic=True)
    atoms.calc = SumCalculator([Heisenberg([0.02]), Anisotropy(uniaxial=0.002), Zeeman((0, 0, 5.0))])
    table = exchange_tensors(atoms, 2.6)
    np.testing.assert_allclose(decompose(table[3])[0], 0.02, rtol=1e-6)
    np.testing.assert_allclose(table[3], table[3][reverse(*table[:3])].transpose(0, 2, 1), atol=1e-15)


@pytest.fixture(scope="module")
def chiral_model():
    """SpinGAP of 6 frames of 32 atoms, labels of exchange and DMI along the bonds."""
    rng, frames = np.random.default_rng(0), []
    for _ in range(6):
        frame = b20() * (2, 2, 1)
        moments = np.where(magnetic_mask(frame)[:, None], 1.2 * random_directions(len(frame), rng), 0)
        set_moments(frame, moments)
        frame.calc = Heisenberg([0.012], dmi=[0.002])
        frames.append(store_results(frame))
        for name in ("forces", "stress"):
            del frames[-1].calc.results[name]
    descriptor = SOSO(["Fe", "Ge"], cutoff=3.2, spin_l_max=1, body_order=2, spin_orbit=True, magnetic=["Fe"])
    return SpinGAP(descriptor, zeta=1, sigma_energy=1e-5, sigma_field=1e-5, rng=0).fit(frames)


def test_trained_kernel_model_knows_exchange_and_dmi(chiral_model):
    atoms = b20()
    atoms.calc = Heisenberg([0.012], dmi=[0.002])
    known = exchange_tensors(atoms, 3.2)
    atoms.calc = SpinCalculator(chiral_model)
    found = exchange_tensors(atoms, 3.2)
    exchange, dmi, _ = decompose(found[3] - known[3])
    assert np.abs(exchange).max() < 0.01 * 0.012
    assert np.abs(dmi).max() < 0.01 * 0.002
    differences = exchange_tensors(atoms, 3.2, automatic=False)
    np.testing.assert_allclose(differences[3], found[3], atol=1e-7 * 0.012)


@pytest.mark.parametrize("parameters", [{"zeta": 1}, {"zeta": 2, "n_sparse": 30}])
@pytest.mark.parametrize("reference", ["ferromagnet", "random"])
def test_automatic_derivatives_equal_differences(parameters, reference, fe_dft):
    descriptor = SOSO(["Fe"], cutoff=3.5, n_max_angular=3, l_max=2, spin_l_max_angular=2)
    model = SpinGAP(descriptor, optimize=None, rng=0, **parameters).fit(fe_dft[:20])
    atoms = bulk("Fe", a=2.83, cubic=True) * (2, 1, 1)
    set_moments(atoms, MOMENT * (random_directions(4, 3) if reference == "random" else np.tile([0, 0, 1.0], (4, 1))))
    atoms.calc = SpinCalculator(model)
    exact, differences = (exchange_tensors(atoms, 3.0, automatic=automatic)[3] for automatic in (True, False))
    assert np.abs(exact).max() > 1e-3
    np.testing.assert_allclose(differences, exact, atol=1e-6 * np.abs(exact).max())


def test_networks_and_electrons_by_differences(fe_dft):
    atoms = iron()
    descriptor = SOSO(["Fe"], cutoff=3.5, body_order=2)
    atoms.calc = SpinCalculator(SpinNN(descriptor, hidden=(4,), epochs=2).fit(fe_dft[:20]))
    table = check_table(exchange_tensors(atoms, 3.0), 1)
    assert np.ptp(decompose(table.J)[0][bonds(atoms, table)[1] < 2.6]) < 1e-8
    atoms.calc = SDModel(coupling=2.0, filling=1.0, temperature=0.1)
    table = check_table(exchange_tensors(atoms, 2.6), 1)
    assert decompose(table.J)[0].max() < 0  # a half-filled bipartite lattice is an antiferromagnet


def test_decompose_is_the_inverse_of_tensors():
    rng = np.random.default_rng(0)
    J = rng.normal(size=(5, 3, 3))
    isotropic, dmi, anisotropic = decompose(J)
    np.testing.assert_allclose(tensors(isotropic, dmi, anisotropic), J, atol=1e-15)
    a, b = rng.normal(size=(2, 3))
    np.testing.assert_allclose(
        np.einsum("a,pab,b->p", a, J, b), isotropic * (a @ b) + dmi @ np.cross(a, b) + anisotropic @ b @ a, atol=1e-14
    )


def test_stiffness_of_bcc_and_any_cell_of_it():
    """D = (2/m) J a^2 for nearest neighbours; A = J/a by the density of energy; cells do not matter."""
    for atoms in (iron(), iron(cubic=True)):
        atoms.calc = Heisenberg([0.02])
        table = exchange_tensors(atoms, 2.6)
        np.testing.assert_allclose(
            spin_stiffness(atoms, table), 2e3 / MOMENT * 0.02 * 2.86**2 * np.eye(3), rtol=1e-6, atol=1e-5
        )
        found = exchange_stiffness(atoms, table) * 1e-12 * units.J / units.m
        np.testing.assert_allclose(found, 0.02 / 2.86 * np.eye(3) * 1.0, rtol=1e-6, atol=1e-9)


def test_stiffness_of_a_chain_of_unequal_bonds():
    """Bonds in series: the phases of the two sublattices shift, J_eff = 2 J1 J2 / (J1 + J2) on the mean spacing."""
    atoms = Atoms("Fe2", positions=[[0, 0, 0], [2.2, 0, 0]], cell=[5.0, 0, 0], pbc=[True, False, False])
    set_moments(atoms, [MOMENT, MOMENT], axis=(0, 0, 1))
    atoms.calc = Heisenberg([0.03, 0.01])
    found = spin_stiffness(atoms, exchange_tensors(atoms, 3.0))[0, 0]
    series = 2 * 0.03 * 0.01 / (0.03 + 0.01)
    assert found == pytest.approx(2e3 / MOMENT * series * 2.5**2, rel=1e-6)


@pytest.mark.parametrize(("lattice", "neighbours"), [("sc", 6), ("bcc", 8)])
def test_temperatures_of_nearest_neighbours(lattice, neighbours):
    """Mean field z J / 3; random phases lower by Watson's integral."""
    atoms = bulk("Fe", lattice, a=2.86)
    set_moments(atoms, [[0, 0, MOMENT]])
    atoms.calc = Heisenberg([0.02])
    table = exchange_tensors(atoms, 2.9 if lattice == "sc" else 2.6)
    mean_field = neighbours * 0.02 / 3 / units.kB
    assert mean_field_temperature(table) == pytest.approx(mean_field, rel=1e-6)
    assert rpa_temperature(table) == pytest.approx(mean_field / WATSON[lattice], rel=1e-3)


def test_temperatures_of_several_sublattices():
    """The antiferromagnet orders where the ferromagnet does; a larger cell changes nothing; unequal sublattices."""
    atoms = iron(cubic=True)
    atoms.calc = Heisenberg([0.02])
    ferromagnet = exchange_tensors(atoms, 2.6)
    antiferromagnet = (*ferromagnet[:3], -ferromagnet[3])
    for temperature in (mean_field_temperature, rpa_temperature):
        assert temperature(antiferromagnet) == pytest.approx(temperature(ferromagnet), rel=1e-6)
    doubled = atoms * (2, 1, 1)
    doubled.calc = atoms.calc
    assert rpa_temperature(exchange_tensors(doubled, 2.6), 12) == pytest.approx(rpa_temperature(ferromagnet), rel=2e-3)
    i, j, S, J = ferromagnet
    cube = np.concatenate([np.eye(3, dtype=int), -np.eye(3, dtype=int)])
    zero = np.zeros(6, int)
    ferrimagnet = (
        np.concatenate([i, zero]),
        np.concatenate([j, zero]),
        np.concatenate([S, cube]),
        np.concatenate([-J, np.tile(0.01 * np.eye(3), (6, 1, 1))]),
    )
    exact = np.linalg.eigvalsh([[0.06, -0.16], [-0.16, 0.0]])[-1]
    assert mean_field_temperature(ferrimagnet) == pytest.approx(exact / 3 / units.kB, rel=1e-6)
    assert rpa_temperature(ferrimagnet) < mean_field_temperature(ferrimagnet)


def refused(sentence, function, *arguments):
    with pytest.raises(InputError) as error:
        function(*arguments)
    assert str(error.value) == sentence


def test_refused_states():
    atoms = iron()
    atoms.calc = Heisenberg([0.02])
    refused("Expected cutoff > 0 in Angstrom, got 0.", exchange_tensors, atoms, 0)
    refused(
        "Expected magnetic atoms closer than 2 Angstrom, got none: give a longer cutoff.", exchange_tensors, atoms, 2.0
    )
    atoms.calc = SumCalculator([Heisenberg([0.02]), SlonczewskiTorque((1, 0, 0), damping_like_T=0.01)])
    refused(
        "Expected fields that are derivatives of an energy, got torques that are not: second derivatives of an energy "
        "need a model with head='conservative', or terms without currents.",
        exchange_tensors,
        atoms,
        3.0,
    )
    set_moments(atoms, 0 * get_moments(atoms))
    atoms.calc = Heisenberg([0.02])
    refused("Expected a state with moments, got zero rows only: set moments first.", exchange_tensors, atoms, 3.0)
    refused("Expected exchange tensors of shape (P, 3, 3), got shape (3, 3).", decompose, np.eye(3))


def test_refused_tables():
    atoms = iron(cubic=True)
    atoms.calc = Heisenberg([0.02])
    table = exchange_tensors(atoms, 2.6)
    refused("Expected mesh to be an even number, 4 or more, got 7.", rpa_temperature, table, 7)
    set_moments(atoms, [MOMENT, -MOMENT], axis=(0, 0, 1))
    refused(
        "Expected a ferromagnet, got coupled spins that are not parallel: waves have no stiffness D.",
        spin_stiffness,
        atoms,
        table,
    )
    chain = (table[0], table[1], table[2] * [1, 0, 0], table[3])
    refused(
        "Expected couplings in three directions, got fewer: spins in a plane order at 0 K only.", rpa_temperature, chain
    )
    single = iron()
    single.calc = Heisenberg([-0.02])
    table = exchange_tensors(single, 2.6)
    refused(
        "Expected spins that order within one cell, got none that gain energy: give a magnetic cell.",
        mean_field_temperature,
        table,
    )
    single.calc = Heisenberg([0.01, -0.012])
    refused(
        "Expected an order that its waves leave stable, got another wave vector of lower energy: give the magnetic "
        "cell of the ground state.",
        rpa_temperature,
        exchange_tensors(single, 2.9),
    )
