"""Exchange parameters in one convention: factors, signs and reference numbers of TB2J, UppASD, Vampire and Spirit."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from spin_samples import SPIRIT, TB2J, UPPASD, VAMPIRE, VAMPIRE_MATERIALS, raw

from ase_spinml import Heisenberg, get_moments, set_moments
from ase_spinml.errors import InputError
from ase_spinml.io import (
    pair_energy,
    read_spirit,
    read_tb2j,
    read_uppasd,
    read_vampire,
    with_reverses,
    write_spirit,
    write_tb2j,
    write_uppasd,
    write_vampire,
)
from ase_spinml.io.exchange.table import ExchangeTable, check_table, exchange_sums, half_table, parts, tensors
from ase_spinml.io.exchange.uppasd import read_uppasd_couplings
from ase_spinml.io.exchange.vampire import read_vampire_materials
from ase_spinml.moments import random_directions
from ase_spinml.neighbors import NeighborList


@pytest.fixture
def crystal():
    """A rectangular crystal of two magnetic atoms, with random tensors on neighbours."""
    rng = np.random.default_rng(1)
    atoms = Atoms("MnFe", [[0, 0, 0], [1.4, 1.5, 1.6]], cell=[2.8, 3.0, 3.2], pbc=True)
    set_moments(atoms, [[0, 0, 3.0], [1.2, -1.6, 0]])
    neighbors = NeighborList(3.3)
    neighbors.update(atoms.positions, atoms.cell.array, atoms.pbc)
    J = tensors(rng.normal(0, 0.01, len(neighbors.i)), rng.normal(0, 1e-3, (len(neighbors.i), 3)))
    odd = rng.normal(0, 1e-4, J.shape)
    J = J + odd + odd.transpose(0, 2, 1)
    table = with_reverses((neighbors.i, neighbors.j, neighbors.shifts, J))
    return atoms, check_table(table, 2)


def isotropic(table):
    return table._replace(J=parts(table.J)[0][:, None, None] * np.eye(3))


def without_anisotropy(table):
    return table._replace(J=tensors(*parts(table.J)[:2]))


WRITERS = {
    "tb2j": (write_tb2j, read_tb2j),
    "vampire": (write_vampire, read_vampire),
    "uppasd": (write_uppasd, lambda path: read_uppasd(path, species=["Mn", "Fe"])),
    "spirit": (write_spirit, lambda path: read_spirit(path, species=["Mn", "Fe"])),
}


@pytest.mark.parametrize("program", WRITERS)
@pytest.mark.parametrize("kind", ["tensor", "dmi", "isotropic"])
def test_nothing_is_lost(program, kind, crystal, tmp_path):
    atoms, table = crystal
    table = {"tensor": lambda t: t, "dmi": without_anisotropy, "isotropic": isotropic}[kind](table)
    write, read = WRITERS[program]
    path = tmp_path / {"vampire": "a.ucf"}.get(program, "a")
    if program == "spirit" and kind == "tensor":
        with pytest.raises(InputError, match="Expected no symmetric anisotropic exchange, as Spirit has no place"):
            write(path, atoms, table)
        write(path, atoms, table, drop_anisotropy=True)
        table = without_anisotropy(table)
    else:
        write(path, atoms, table)
    other, found = read(path)
    assert list(other.symbols) == list(atoms.symbols)
    np.testing.assert_allclose(other.cell.array, atoms.cell.array, atol=1e-8)
    np.testing.assert_allclose(other.positions, atoms.positions, atol=1e-8)
    np.testing.assert_allclose(
        np.linalg.norm(get_moments(other), axis=1), np.linalg.norm(get_moments(atoms), axis=1), atol=1e-8
    )
    if program != "spirit":  # keeps lengths only
        np.testing.assert_allclose(get_moments(other), get_moments(atoms), atol=1e-8)
    for name in ("i", "j", "S"):
        np.testing.assert_array_equal(getattr(found, name), getattr(table, name))
    np.testing.assert_allclose(found.J, table.J, atol=1e-12)


def test_energy_is_that_of_the_heisenberg_calculator():
    """Isotropic exchange and Lifshitz DMI by shell, from the tensors and from the closed form."""
    atoms = bulk("Fe", cubic=True).repeat(2)
    set_moments(atoms, 2.2 * random_directions(len(atoms), 0))
    atoms.calc = Heisenberg([0.02], dmi=[0.004])
    neighbors = NeighborList(2.6)
    neighbors.update(atoms.positions, atoms.cell.array, atoms.pbc)
    i, j, S = neighbors.i, neighbors.j, neighbors.shifts
    vectors = atoms.positions[j] + S @ atoms.cell.array - atoms.positions[i]
    unit = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    table = check_table(with_reverses((i, j, S, tensors(np.full(len(i), 0.02), 0.004 * unit))), len(atoms))
    spins = get_moments(atoms) / 2.2
    assert pair_energy(table, spins) == pytest.approx(atoms.get_potential_energy(), abs=1e-12)


def test_parts_and_halves(crystal):
    _, table = crystal
    J, D, rest = parts(table.J)
    np.testing.assert_allclose(tensors(J, D, rest), table.J, atol=1e-18)
    half = half_table(table)
    assert 2 * len(half.i) == len(table.i)
    whole = check_table(with_reverses(half), 2)
    np.testing.assert_allclose(whole.J, table.J)
    np.testing.assert_allclose(exchange_sums(table, 2), [J[table.i == k].sum() for k in range(2)])


def test_what_each_number_means(tmp_path):
    """One bond of 1 unit in each file against the energy that the program's own formula gives, in eV per cell."""
    atoms, table = read_tb2j(put(tmp_path, "exchange.out", TB2J))
    assert atoms.get_chemical_formula() == "ClMn"
    x, y = np.eye(3)[:2]
    ferro = pair_energy(table, np.array([x, x]))
    assert ferro == pytest.approx(-2 * 1e-3 * (5.0 + 0.01))  # both orders of the bond: -2 J
    _, table = read_vampire(put(tmp_path, "a.ucf", VAMPIRE))
    assert pair_energy(table, np.array([x])) == pytest.approx(-1.6e-21 * units.J)
    _, table = read_spirit(put(tmp_path, "s.cfg", SPIRIT))
    assert pair_energy(table, np.array([y])) == pytest.approx(-1e-3 * (10.0 - 4.0))
    np.testing.assert_allclose(parts(half_table(table).J)[1], 1e-3 * np.array([[0, -2.0, 0], [0, 0, 0]]), atol=1e-15)
    for name, text in UPPASD.items():
        put(tmp_path, name, text)
    atoms, table = read_uppasd(tmp_path)
    assert atoms.cell[0, 0] == pytest.approx(2.5)
    assert len(table.i) == 2 * (8 + 6)
    assert exchange_sums(table, 2)[0] == pytest.approx(2 * 1e-3 * units.Ry * (8 * 1.3 + 6 * 0.7))


def test_dmi_turns_the_same_way_in_all_programs(crystal, tmp_path):
    """The energy of two perpendicular spins has the sign of D_z in every file."""
    atoms = Atoms("Mn", cell=[3, 3, 3], pbc=True)
    set_moments(atoms, [[0, 0, 3.0]])
    forward = (np.array([0]), np.array([0]), np.array([[1, 0, 0]]), tensors([0.0], [[0, 0, 0.002]]))
    table = check_table(with_reverses(forward), 1)
    x, y, _ = np.eye(3)
    assert x @ table.J[1] @ y == 0.002  # a gain of D_z when the second spin is turned from x to y
    write_tb2j(tmp_path / "a", atoms, table)
    assert "DMI: (0.000000000000 0.000000000000 1.000000000000)" in (tmp_path / "a").read_text()
    write_spirit(tmp_path / "b", atoms, table)
    assert "0 0 -1 0 0 0 0 0 -2\n" in (tmp_path / "b").read_text()
    write_uppasd(tmp_path / "c", atoms, table)
    assert f"1 1 1 0 0 0 0 {1 / units.Ry:.12f}"[:18] in (tmp_path / "c" / "dmfile").read_text()
    write_vampire(tmp_path / "d.ucf", atoms, table)
    last = (tmp_path / "d.ucf").read_text().splitlines()[-1].split()
    assert float(last[7]) * units.J == pytest.approx(0.002)  # J_xy


def put(folder, name, text):
    (folder / name).write_text(text)
    return folder / name


def test_tables_that_are_none(crystal):
    atoms, table = crystal
    i, j, S, J = table
    for bad, message in (
        (None, r"Expected \(i, j, S, J\) as the table, got something else"),
        ((i, j, S), r"Expected \(i, j, S, J\) as the table"),
        ((i, j, S, J[:, 0]), r"Expected the table of shapes \(P,\), \(P,\), \(P, 3\), \(P, 3, 3\), got"),
        ((i, j, S + 0.5, J), "Expected finite tensors and whole cell shifts in the table"),
        ((i + 1, j, S, J), "Expected pairs among 2 atoms in the table"),
        ((i, i, 0 * S, J), "Expected pairs of different atoms in the table, got an atom coupled to itself"),
        ([part[:-1] for part in table], "Expected every pair from both its ends in the table, got some from one end"),
        ([np.concatenate([part, part]) for part in table], "Expected every pair once from each end in the table"),
        ((i, j, S, J + np.arange(len(J))[:, None, None]), "Expected J_ji to be the transpose of J_ij in the table"),
    ):
        with pytest.raises(InputError, match=message):
            check_table(bad, len(atoms))


def test_atoms_without_a_moment_are_left_out(crystal, tmp_path):
    atoms, _ = crystal
    table = with_reverses((np.array([1]), np.array([1]), np.array([[1, 0, 0]]), tensors([0.01])))
    set_moments(atoms, [[0, 0, 0], [0, 2, 0]])
    write_vampire(tmp_path / "a.ucf", atoms, table)
    sites, found = read_vampire(tmp_path / "a.ucf")
    assert sites.get_chemical_formula() == "Fe"
    assert found.i.tolist() == [0, 0]
    set_moments(atoms, [[0, 2, 0], [0, 0, 0]])
    with pytest.raises(InputError, match="Expected a moment on every coupled atom, got atoms without"):
        write_spirit(tmp_path / "a.cfg", atoms, table)
    atoms.set_cell([[2.8, 0, 0], [0.1, 3, 0], [0, 0, 3.2]])
    with pytest.raises(InputError, match="Expected an orthogonal cell along x, y, z, as Vampire has no other"):
        write_vampire(tmp_path / "b.ucf", atoms, table)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("J_iso: 5.0000", "J_iso: 5.1000", "Expected J_iso of 5.0, as in the line of the pair"),
        ("( 3.000,  0.000", "( 3.100,  0.000", "Expected a vector and distance that fit cell and positions"),
        ("Mn1   Mn1   (  1", "Mn1   Mn7   (  1", "Expected atoms of the list above"),
        ("DMI: (-0.1000", "DMI: (-0.2000", "Expected J_ji to be the transpose of J_ij"),
        ("Exchange:\n", "Nothing:\n", "Expected exchange.out of TB2J with a section 'Exchange:'"),
        ("Total ", "Tot ", "Expected an atom such as Fe1, or Total"),
    ],
)
def test_damaged_tb2j_is_refused(old, new, message, tmp_path):
    assert old in TB2J
    with pytest.raises(InputError, match=message):
        read_tb2j(put(tmp_path, "exchange.out", TB2J.replace(old, new, 1)))


def test_collinear_tb2j_has_the_isotropic_part_only(tmp_path):
    text = TB2J.replace("non-collinear", "collinear")
    _, table = read_tb2j(put(tmp_path, "a", text))
    np.testing.assert_allclose(table.J, np.broadcast_to(0.01 * np.eye(3), (2, 3, 3)))
    assert parts(read_tb2j(tmp_path / "a", anisotropic=True)[1].J)[1].any()
    text = TB2J.replace("Input from", "The DMI component parallel to the spins should be disregarded\nInput from")
    with pytest.warns(UserWarning, match="lacks components of DMI and anisotropy along the spins"):
        read_tb2j(put(tmp_path, "b", text))


def test_vampire_materials(tmp_path):
    path = put(tmp_path, "a.ucf", VAMPIRE)
    assert read_vampire(path)[0].get_chemical_formula() == "X"
    put(tmp_path, "a.mat", VAMPIRE_MATERIALS)
    atoms, _ = read_vampire(path)
    assert atoms.get_chemical_formula() == "Mn"
    np.testing.assert_allclose(get_moments(atoms), [[0, 3, 0]])
    put(tmp_path, "a.mat", VAMPIRE_MATERIALS.replace("3.0 !muB", "2.78220302e-23 !J/T"))
    np.testing.assert_allclose(get_moments(read_vampire(path)[0]), [[0, 3, 0]], atol=1e-4)
    normalised = VAMPIRE.replace("isotropic", "normalised-isotropic").replace("1.6e-21", "0.5")
    with pytest.raises(InputError, match="Expected exchange-matrix constants for the normalised interactions"):
        read_vampire(put(tmp_path, "b.ucf", normalised))
    put(tmp_path, "b.mat", VAMPIRE_MATERIALS + "material[1]:exchange-matrix[1]=2e-21\n")
    assert read_vampire(tmp_path / "b.ucf")[1].J[0, 0, 0] == pytest.approx(1e-21 * units.J)
    with pytest.raises(InputError, match="Expected material:num-materials and as many materials"):
        read_vampire_materials(put(tmp_path, "c.mat", "material[1]:material-name=Mn\n"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2 isotropic", "2 biquadratic", "Expected interactions of type isotropic, vectorial or tensorial"),
        ("2 isotropic", "3 isotropic", "Expected 3 interactions in .*, got the end of the file"),
        ("2 isotropic", "1 isotropic", "Expected the end of the file in"),
        ("0.0 1.0 0.0", "0.1 1.0 0.0", "Expected an orthogonal cell in"),
        ("1 0 0 -1", "1 0 1 -1", "Expected id i j dx dy dz of interaction 1"),
        ("1 0 0 -1 0 0 1.6e-21", "1 0 0 -1 0 0 1.6e-20", "Expected J_ji to be the transpose of J_ij"),
    ],
)
def test_damaged_vampire_is_refused(old, new, message, tmp_path):
    assert old in VAMPIRE
    with pytest.raises(InputError, match=message):
        read_vampire(put(tmp_path, "a.ucf", VAMPIRE.replace(old, new, 1)))


def test_uppasd_inputs(tmp_path):
    for name, text in UPPASD.items():
        put(tmp_path, name, text)
    put(tmp_path, "inpsd.dat", UPPASD["inpsd.dat"].replace("alat 2.5e-10\n", ""))
    with pytest.raises(InputError, match=r"Expected alat in .*, got none: give lattice_constant= in Angstrom"):
        read_uppasd(tmp_path)
    atoms, _ = read_uppasd(tmp_path, lattice_constant=2.8, species=["Fe", "Fe"])
    assert atoms.cell[0, 0] == 2.8
    np.testing.assert_allclose(get_moments(atoms), [[2.2, 0, 0]] * 2)
    with pytest.raises(InputError, match="Expected a species for each of 2 sites, got 1"):
        read_uppasd(tmp_path, 2.8, species=["Fe"])
    with pytest.raises(InputError, match="Expected Sym 0, 1, 2 or 3, got '4'"):
        read_uppasd(tmp_path, 2.8, sym=4)
    with pytest.raises(InputError, match="Expected every pair from both its ends"):
        read_uppasd(tmp_path, 2.8, sym=0)
    put(tmp_path, "jfile", UPPASD["jfile"] + "1 1 0.0 1.0 0.0 0.7 1.000\n")
    with pytest.raises(InputError, match=r"Expected every coupling once in ./jfile, got one several times: check Sym"):
        read_uppasd(tmp_path, 2.8)
    put(tmp_path, "jfile", "1 1 0.3 0.3 0.3 1.0\n")
    with pytest.raises(InputError, match=r"Expected sites at the end of coupling .*, got none: check maptype"):
        read_uppasd(tmp_path, 2.8)
    put(tmp_path, "inpsd.dat", "cell 1 0 0\n0 1 0\n0 0 1\n")
    with pytest.raises(InputError, match="Expected cell, posfile and exchange in"):
        read_uppasd(tmp_path)


def test_hexagonal_and_square_symmetry():
    from ase_spinml.io.exchange.uppasd_symmetry import operations

    assert len(operations("1", np.array([0.1, 0.2, 0.3]))) == 48
    assert len(operations("3", np.array([0.1, 0.2, 0.3]))) == 24
    assert len(operations("3", np.array([1.0, 0, 0]))) == 6
    assert len(operations("2", np.array([1.0, 0, 0]))) == 4
    assert len(operations("2", np.array([1.0, 0.5, 0]))) == 8


def test_spirit_inputs(tmp_path):
    shells = "hamiltonian heisenberg_neighbours\nbravais_lattice bcc\nlattice_constant 2.0\nmu_s 2\n"
    shells += "n_shells_exchange 2\njij 10.0 5.0\nn_shells_dmi 1\ndij 3.0\n"
    atoms, table = read_spirit(put(tmp_path, "a.cfg", shells))
    assert abs(atoms.get_volume()) == pytest.approx(4.0)
    assert len(table.i) == 8 + 6
    assert exchange_sums(table, 1)[0] == pytest.approx(1e-3 * (80 + 30))
    vectors = table.S @ atoms.cell.array
    near = np.linalg.norm(vectors, axis=1) < 1.8
    np.testing.assert_allclose(parts(table.J)[1][near], 3e-3 * vectors[near] / np.sqrt(3), atol=1e-12)
    for text, message in (
        (shells.replace("heisenberg_neighbours", "gaussian"), "Expected heisenberg_pairs or heisenberg_neighbours"),
        (shells + "dm_chirality 2\n", "Expected dm_chirality 1 or -1 in .*, got 2: list the pairs instead"),
        (shells.replace("jij 10.0 5.0", "jij 10.0"), "Expected 2 constants jij in .*, got 1"),
        (SPIRIT.replace("lattice sc", "lattice fcc"), "Expected bravais_vectors or a lattice among"),
        (SPIRIT.replace("pairs 2", "pairs 3"), "Expected 3 pairs of 10 numbers"),
        (SPIRIT.replace("Jij", "Kij"), "Expected columns i j da db dc Jij Dij"),
        (SPIRIT.replace("0 0 0 1 0 -4", "0 0 -1 0 0 -4"), "Expected every pair once from each end"),
        ("nothing 1\n", r"Expected a configuration file of Spirit with bravais_lattice or bravais_vectors, got"),
    ):
        with pytest.raises(InputError, match=message):
            read_spirit(put(tmp_path, "b.cfg", text))


def reference(atoms, table, moment):
    """J_0 (meV, half of the sum here), mean-field T_C (K) and stiffness (meV A^2) of a one-sublattice ferromagnet."""
    total = exchange_sums(table, len(atoms))[0]
    vectors = atoms.positions[table.j] + table.S @ atoms.cell.array - atoms.positions[table.i]
    stiffness = (parts(table.J)[0] * (vectors**2).sum(axis=1)).sum() / len(atoms) / (3 * moment)
    return 500 * total, total / (3 * units.kB), 1e3 * stiffness


@pytest.mark.data
def test_real_tables_give_the_reference_numbers():
    atoms, table = read_uppasd(raw("uppasd/examples/SimpleSystems/bccFe"), 2.8665, species=["Fe", "Fe"])
    np.testing.assert_allclose(reference(atoms, table, 2.23), (168.8, 1306, 177.6), rtol=5e-4)
    atoms, table = read_tb2j(raw("tb2j/Siesta/bccFe/TB2J_results/exchange.out"))
    assert len(table.i) == 240
    np.testing.assert_allclose(reference(atoms, table, 2.32), (213.4, 1651, 323), rtol=5e-3)
    atoms, table = read_vampire(raw("vampire/SimpleCubic.ucf"), raw("vampire/tests/curie-temperature/Co.mat"))
    assert 1.443 * table.J[0, 0, 0] / units.kB == pytest.approx(1170, abs=1)
    np.testing.assert_allclose(get_moments(atoms), [[0, 0, 1.72]])


@pytest.mark.data
def test_real_shells_of_lammps():
    """Two-column files r, J of the convention -sum over both orders, as a table of twice J."""
    for name, lattice, moment, expected in (
        ("bcc_iron", bulk("Fe", a=2.8665), 2.2, (219.8, 1700, 443.8)),
        ("fcc_cobalt", bulk("Co", "fcc", a=3.54), 1.72, (217.8, 1685, 710)),
    ):
        shells = np.loadtxt(raw(f"lammps_spin/exchange/exchange_{name}.dat"))
        neighbors = NeighborList(shells[-1, 0] + 0.05)
        neighbors.update(lattice.positions, lattice.cell.array, lattice.pbc)
        distance = np.linalg.norm(neighbors.shifts @ lattice.cell.array, axis=1)
        nearest = np.argmin(np.abs(distance[:, None] - shells[:, 0]), axis=1)
        half = (neighbors.i, neighbors.j, neighbors.shifts, tensors(2 * shells[nearest, 1]))
        np.testing.assert_allclose(reference(lattice, with_reverses(half), moment), expected, rtol=2e-3)


@pytest.mark.data
def test_real_files_of_all_programs(tmp_path):
    counts = {}
    for name in ("Abacus/CrI3/DFT", "Siesta/BiFeO3", "Wannier/CrI3_VASP_Wannier", "Wannier/SrMnO3_VASP_Wannier"):
        atoms, table = read_tb2j(raw(f"tb2j/{name}/TB2J_results/exchange.out"))
        counts[name.split("/")[1]] = len(table.i)
        write_tb2j(tmp_path / "a", atoms, table)
        np.testing.assert_allclose(read_tb2j(tmp_path / "a")[1].J, table.J, atol=1e-12)
    assert counts == {"CrI3": 194, "BiFeO3": 52, "CrI3_VASP_Wannier": 194, "SrMnO3_VASP_Wannier": 160}
    atoms, table = read_tb2j(raw("tb2j/Siesta/BiFeO3/TB2J_results/exchange.out"))
    (row,) = np.flatnonzero((table.i == 3) & (table.j == 2) & (table.S == [0, 1, 1]).all(axis=1))
    J, D, _ = parts(table.J)
    assert J[row] == pytest.approx(2e-3 * (-26.7976 + (-0.034 - 0.046 - 0.032) / 3))
    np.testing.assert_allclose(D[row], 2e-3 * np.array([0.1580, 0.0931, 0.3252]))
    atoms, table = read_tb2j(raw("tb2j/Abacus/Fe_no_SOC/TB2J_results/exchange.out.gz"))
    assert len(table.i) == 1370
    assert exchange_sums(table, 2)[0] == pytest.approx(2e-3 * 206.1977)
    assert len(read_vampire(raw("vampire/samples/UC.ucf"))[1].i) == 48
    folder = raw("uppasd/examples/Mappings/bccFe-variants")
    assert len(read_uppasd(folder, exchange="jASD1", maptype=1)[1].i) == 258
    with pytest.raises(InputError, match="Expected every coupling once in jASD1S"):  # (0, -1, -2) twice, 3 % apart
        read_uppasd(folder, exchange="jASD1S", maptype=1, sym=1)
    assert len(read_uppasd_couplings(raw("uppasd/examples/SimpleSystems/fccCo/jfile"))[0]) == 5
    for name in ("core/test/input/fd_pairs.cfg", "core/test/input/physics_larmor.cfg", "input/input.cfg"):
        atoms, table = read_spirit(raw(f"spirit/{name}"))
        np.testing.assert_allclose(get_moments(atoms), [[0, 0, 2]])
        J, D, _ = parts(table.J)
        np.testing.assert_allclose(J, 0.01)
        np.testing.assert_allclose(D, 6e-3 * table.S, atol=1e-15)


def test_tables_are_tuples():
    assert ExchangeTable._fields == ("i", "j", "S", "J")
