"""Driven electrons as the solver of a lattice model: slices of sites, currents, and a domain wall that moves."""

import numpy as np
import pytest
from ase.calculators.calculator import PropertyNotImplementedError
from ase.io import read

from ase_spinml import SDModel, SpinDynamics, get_spins, set_moments
from ase_spinml.electrons import Ensemble, SDHamiltonian, hopping_blocks, spin_lattice
from ase_spinml.electrons.driven import NEGF, bond_currents
from ase_spinml.electrons.junction import Junction
from ase_spinml.electrons.leads import SemiInfiniteLead, WideBandLead
from ase_spinml.electrons.negf import exchange_fields, steady_state
from ase_spinml.errors import InputError
from ase_spinml.moments import transverse

LEADS = SemiInfiniteLead(), SemiInfiniteLead()


def model(solver, **options):
    return SDModel(**{"coupling": 1.0, "chemical_potential": 0.3, "temperature": 0.02} | options, solver=solver)


def square_leads(width):
    """Leads that continue a ribbon of the square lattice, periodic across."""
    onsite = -(np.roll(np.eye(width), 1, 0) + np.roll(np.eye(width), -1, 0))
    return SemiInfiniteLead(onsite=onsite), SemiInfiniteLead(onsite=onsite)


def half_metal(length, voltage, centre, **options):
    """A wall in a chain with electrons of one spin only, up on the left, between leads that fit; anisotropy K."""
    atoms = spin_lattice("chain", length, pbc=False)
    x = (np.arange(length) - centre) / 3.0
    set_moments(atoms, np.stack([1 / np.cosh(x), 0 * x, -np.tanh(x)], axis=1))
    lead = SemiInfiniteLead(onsite=-2.0)
    solver = NEGF(leads=(lead, lead), voltage=voltage, accuracy=1e-6)
    settings = {"coupling": 2.0, "chemical_potential": -3.0, "temperature": 0.03, "anisotropy": 0.005}
    atoms.calc = SDModel(**settings, solver=solver)
    return atoms


def wall_position(atoms):
    """Site at which the wall sits, counted from 0: the sum of S_z counts sites on its left and right."""
    return 0.5 * (get_spins(atoms)[:, 2].sum() + len(atoms)) - 0.5


def move(atoms, steps, timestep=2.0, damping=0.1, **options):
    frozen = [0, 1, len(atoms) - 2, len(atoms) - 1]
    dynamics = SpinDynamics(
        atoms,
        timestep,
        damping=damping,
        gyromagnetic_ratio=-1.0,
        integrator="depondt",
        frozen_moments=frozen,
        **options,
    )
    dynamics.run(steps)


@pytest.mark.parametrize("voltage", [0.0, 0.5])
def test_fields_of_a_ribbon_are_those_of_its_matrices(voltage):
    atoms = spin_lattice("square", (5, 4), "random", pbc=(False, True), rng=1)
    leads = square_leads(4)
    atoms.calc = model(NEGF(leads=leads, width=4, voltage=voltage))
    fields = atoms.calc.get_property("exchange_fields", atoms)
    spins = get_spins(atoms)
    matrix = SDHamiltonian(20, *bonds_of(atoms), 1.0).dense(spins).reshape(5, 8, 5, 8)
    blocks = np.stack([matrix[n, :, n] for n in range(5)]), np.stack([matrix[n, :, n + 1] for n in range(4)])
    state = steady_state(Junction(*blocks, leads), 0.3, voltage, 0.02)
    expected = exchange_fields(state, 1.0).reshape(20, 3).numpy()
    assert fields == pytest.approx(transverse(expected, spins), abs=1e-10)
    assert atoms.calc.solve(atoms).currents == pytest.approx(state.currents.numpy(), abs=1e-12)
    assert atoms.calc.conservative == (voltage == 0)


def bonds_of(atoms):
    """Bonds of a square ribbon (5, 4) with t = 1, periodic across."""
    sites = np.arange(20).reshape(5, 4)
    i = np.concatenate([sites[:-1].ravel(), sites.ravel()])
    j = np.concatenate([sites[1:].ravel(), np.roll(sites, -1, axis=1).ravel()])
    return i, j, hopping_blocks(np.ones(len(i)))


@pytest.mark.parametrize(("lattice", "size", "ends"), [("chain", (6,), 150), ("square", (3, 2), 60)])
def test_without_voltage_it_is_a_long_lattice(lattice, size, ends):
    """Densities and bonds are those of exact diagonalisation with long ends in place of leads."""
    width = size[-1] if len(size) > 1 else 1
    middle = spin_lattice(lattice, size, "random", pbc=False, rng=3)
    whole = spin_lattice(lattice, (size[0] + 2 * ends, *size[1:]), pbc=False)
    first = ends * width
    part = slice(first, first + len(middle))
    moments = np.zeros((len(whole), 3))
    moments[part] = get_spins(middle)
    set_moments(whole, moments)
    lead = SemiInfiniteLead(onsite=0.0 if width == 1 else np.eye(2) - 1)
    middle.calc = model(NEGF(leads=(lead, lead), width=width), temperature=0.1)
    whole.calc = model("exact", temperature=0.1)
    assert middle.calc.solve(middle).site == pytest.approx(whole.calc.solve(whole).site[part], abs=1e-7)
    i, j, _, energies = whole.calc.bond_energies(whole)
    reference = dict(zip(zip(i - first, j - first, strict=True), energies, strict=True))
    i, j, _, energies = middle.calc.bond_energies(middle)
    assert energies == pytest.approx([reference[pair] for pair in zip(i, j, strict=True)], abs=1e-7)
    assert len(energies) == (5 if width == 1 else 7)


def test_solver_by_name_in_a_run(tmp_path, capsys):
    """No energy: logs say nan, trajectories keep the moments."""
    atoms = half_metal(12, 0.5, 5.5)
    by_hand = atoms.calc.get_property("exchange_fields", atoms)
    lead = SemiInfiniteLead(onsite=-2.0)
    options = {"coupling": 2.0, "chemical_potential": -3.0, "temperature": 0.03, "anisotropy": 0.005}
    atoms.calc = SDModel(**options, solver="negf", leads=(lead, lead), voltage=0.5, accuracy=1e-6)
    assert atoms.calc.get_property("exchange_fields", atoms) == pytest.approx(by_hand, abs=1e-12)
    assert not atoms.calc.conservative
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_potential_energy()
    move(atoms, 2, logfile="-", trajectory=str(tmp_path / "wall.traj"))
    assert "nan" in capsys.readouterr().out
    assert get_spins(read(tmp_path / "wall.traj")) == pytest.approx(get_spins(atoms), abs=1e-12)
    with pytest.raises(InputError, match=r"Expected leads=\(left, right\) for solver 'negf', got none"):
        SDModel(chemical_potential=0.0, solver="negf")


def test_several_sets_of_spins_at_once():
    sites = [spin_lattice("chain", 4, "random", pbc=False, rng=seed) for seed in (1, 2)]
    hamiltonian = SDHamiltonian(4, [0, 1, 2], [1, 2, 3], hopping_blocks(np.ones(3)), 1.0)
    solver, ensemble = NEGF(leads=LEADS, voltage=0.5), Ensemble(0.02, chemical_potential=0.3)
    both = solver(hamiltonian, np.stack([get_spins(atoms) for atoms in sites]), ensemble, density="bond")
    for k, atoms in enumerate(sites):
        one = solver(hamiltonian, get_spins(atoms), ensemble, density="bond")
        for name in ("site", "bond", "currents", "n_electrons"):
            assert getattr(both, name)[k] == pytest.approx(getattr(one, name))
    assert solver(hamiltonian, get_spins(atoms), ensemble, density=None).site is None


def test_bonds_carry_the_current():
    """All bonds between two slices together; electrons that reach a site leave it, angular momentum turns its spin."""
    atoms = spin_lattice("square", (5, 4), "random", pbc=(False, True), rng=4)
    atoms.calc = model(NEGF(leads=square_leads(4), width=4, voltage=0.5))
    spins, solution = get_spins(atoms), atoms.calc.solve(atoms, "bond")
    i, j, _, _ = atoms.calc.bond_energies(atoms)
    flows = bond_currents(np.tile(-np.eye(2), (len(i), 1, 1)), solution.bond)
    for n in range(4):
        between = (i // 4 == n) & (j // 4 == n + 1)
        assert between.sum() == 4
        assert flows[between].sum(0) == pytest.approx(solution.currents[n + 1], abs=1e-10)
    arriving = np.zeros((20, 4))
    np.add.at(arriving, j, flows)
    np.subtract.at(arriving, i, flows)
    inner = slice(4, 16)
    assert arriving[inner, 0] == pytest.approx(np.zeros(12), abs=1e-10)
    fields = atoms.calc.get_property("exchange_fields", atoms)
    assert arriving[inner, 1:] == pytest.approx(np.cross(spins, fields)[inner], abs=1e-10)
    assert np.abs(flows[:, 0]).max() > 1e-3


def test_potential_drop_tilts_the_density():
    """Site energies that fall to the right draw electrons there."""
    atoms = spin_lattice("chain", 20, pbc=False)
    set_moments(atoms, np.tile([0.0, 0.0, 1.0], (20, 1)))
    wide = WideBandLead(2.0)
    means = []
    for drop in (False, True):
        atoms.calc = model(NEGF(leads=(wide, wide), voltage=1.0, potential_drop=drop, bath=0.5))
        density = atoms.calc.get_property("site_density", atoms)
        means.append(density[10:].mean() - density[:10].mean())
    assert means[1] > means[0] + 0.05


def test_density_of_states_holds_two_levels_per_site():
    atoms = spin_lattice("chain", 6, "random", pbc=False, rng=4)
    atoms.calc = model(NEGF(leads=LEADS))
    energies, density = atoms.calc.density_of_states(atoms, width=0.01, points=4000)
    assert (density > 0).all()
    assert density.sum() * (energies[1] - energies[0]) == pytest.approx(2.0, abs=0.02)


def test_a_wall_follows_the_electrons():
    """Electrons of one spin give each angular momentum 1 to the wall, which takes 2 to move by a site: v = I/2."""
    atoms = half_metal(24, 0.5, 9.0)
    current = atoms.calc.solve(atoms).currents[0, 0]
    assert current == pytest.approx(0.5 / (2 * np.pi), rel=0.01)
    move(atoms, 20, damping=0.1)
    expected = 9.0 + 40 * current / (2 * 1.01)
    assert wall_position(atoms) == pytest.approx(expected, abs=0.02)


def test_angular_momentum_of_a_moving_wall():
    """What the spins gain along z is what electrons bring less what damping takes."""
    atoms = half_metal(36, 1.0, 16.0)
    move(atoms, 3, timestep=1.0)
    before, currents = get_spins(atoms), atoms.calc.solve(atoms).currents
    move(atoms, 1, timestep=0.1)
    change = get_spins(atoms) - before
    damping = 0.1 * np.cross(before, change)[:, 2].sum()
    brought = 0.1 * (currents[0, 3] - currents[-1, 3])
    assert change[:, 2].sum() == pytest.approx(brought - damping, rel=1e-3)
    assert damping > 0.002 * brought


def test_no_wall_moves_without_voltage():
    atoms = half_metal(24, 0.0, 11.0)
    move(atoms, 20)
    assert wall_position(atoms) == pytest.approx(11.0, abs=1e-3)


@pytest.mark.physical
@pytest.mark.parametrize("length", [32, 48])
def test_a_wall_moves_ten_sites(length):
    atoms = half_metal(length, 1.0, 10.0)
    positions = []
    for _ in range(5):
        move(atoms, 14)
        positions.append(wall_position(atoms))
    assert positions[-1] - 10.0 > 10.0
    assert np.diff(positions) == pytest.approx(28 * 1.0 / (4 * np.pi * 1.01), rel=0.01)


def test_messages():
    atoms = spin_lattice("chain", 4, "random", pbc=False, rng=1)
    with pytest.raises(InputError, match=r"Expected leads=\(left, right\) for solver 'negf', got none: give two"):
        NEGF()
    with pytest.raises(InputError, match="Expected voltage to be a finite number, got inf"):
        NEGF(leads=LEADS, voltage=np.inf)
    with pytest.raises(InputError, match="Expected width to be a whole number of sites above zero, got 0"):
        NEGF(leads=LEADS, width=0)
    with pytest.raises(InputError, match="Expected device to be one that torch knows"):
        NEGF("tpu?", leads=LEADS)
    cases = [
        (NEGF(leads=LEADS), {"chemical_potential": None, "filling": 1.0}, "Expected chemical_potential with solver"),
        (NEGF(leads=LEADS), {"coupling": np.inf}, "Expected a finite coupling with solver 'negf', got double"),
        (NEGF(leads=LEADS, width=3), {}, "Expected slices of width=3 sites, got 4 in all: set width"),
        (NEGF(leads=LEADS), {"hopping": [1.0, 0.2]}, "and to the next ones, got some over 3 slices: number sites"),
        (NEGF(leads=LEADS, bath=-1), {}, "Expected a bath of width >= 0"),
    ]
    for solver, options, message in cases:
        atoms.calc = model(solver, **options)
        with pytest.raises(InputError, match=message):
            atoms.calc.get_property("exchange_fields", atoms)
    ring = spin_lattice("chain", 4, "random", rng=1)
    ring.calc = model(NEGF(leads=LEADS))
    with pytest.raises(InputError, match="got some over 4 slices: number sites from lead to lead, open that boundary"):
        ring.calc.get_property("exchange_fields", ring)
    ring.calc = model(NEGF(leads=LEADS), kpts=(4, 1, 1))
    with pytest.raises(
        InputError, match="Expected no kpts with solver 'negf', got some: make the ribbon wider instead"
    ):
        ring.calc.get_property("exchange_fields", ring)
