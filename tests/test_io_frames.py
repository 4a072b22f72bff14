"""Frames in and out of extended XYZ, MACE, GPUMD, DeePMD, MLIP and LAMMPS: signs, units, nothing lost."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from spin_samples import labelled_frames, raw

from ase_spinml import Heisenberg, get_moments, set_moments
from ase_spinml.errors import InputError
from ase_spinml.io import (
    read_any,
    read_deepmd,
    read_dialect,
    read_frames,
    read_lammps_data,
    read_lammps_dump,
    read_mtp,
    write_any,
    write_deepmd,
    write_dialect,
    write_frames,
    write_lammps_data,
    write_lammps_dump,
    write_mtp,
)
from ase_spinml.io.canonical import contents, lift
from ase_spinml.io.codes.lammps import HBAR
from ase_spinml.moments import random_directions

QUANTITIES = ("moments", "fields", "energy", "forces", "stress")


@pytest.fixture(scope="module")
def frames():
    return labelled_frames()


def assert_same(frames, others, quantities=QUANTITIES, atol=1e-8):
    assert len(frames) == len(others)
    for atoms, other in zip(frames, others, strict=True):
        assert list(atoms.numbers) == list(other.numbers)
        assert list(atoms.pbc) == list(other.pbc)
        np.testing.assert_allclose(other.cell.array, atoms.cell.array, atol=atol)
        np.testing.assert_allclose(other.positions, atoms.positions, atol=atol)
        found, expected = contents(other), contents(atoms)
        for quantity in quantities:
            value = getattr(expected, quantity)
            if value is None:
                assert getattr(found, quantity) is None, quantity
            else:
                np.testing.assert_allclose(getattr(found, quantity), value, atol=atol, err_msg=quantity)


@pytest.mark.parametrize("name", ["extxyz", "traj", "mace", "gpumd", "deepmd", "deepmd-raw", "mtp"])
def test_nothing_is_lost(name, frames, tmp_path):
    write_any(tmp_path / "file", frames, name)
    assert_same(frames, read_any(tmp_path / "file", name))


def test_magnetic_forces_have_the_sign_of_the_file(frames, tmp_path):
    """The number in each file against a central difference of the energy by a moment."""
    atoms = frames[0].copy()
    atoms.calc = Heisenberg([0.02, 0.01], dmi=[0.003], tolerance=0.1)
    moments, step = get_moments(atoms), 1e-5
    energies = []
    for sign in (1, -1):
        moved = moments.copy()
        moved[1, 2] += sign * step
        set_moments(atoms, moved)
        energies.append(atoms.get_potential_energy())
    slope = (energies[0] - energies[1]) / (2 * step)
    write_deepmd(tmp_path / "deepmd", frames[:1])
    assert np.load(tmp_path / "deepmd" / "set.000" / "force_mag.npy")[0, 5] == pytest.approx(-slope, abs=1e-8)
    write_mtp(tmp_path / "a.cfg", frames[:1])
    table = [line.split() for line in (tmp_path / "a.cfg").read_text().splitlines()]
    (titles,) = [words for words in table if words[:1] == ["AtomData:"]]
    assert float(table[table.index(titles) + 2][titles.index("en_der_mz") - 1]) == pytest.approx(slope, abs=1e-8)
    for dialect, column in (("mace", "REF_magforces"), ("gpumd", "mforce")):
        write_dialect(tmp_path / "a.xyz", frames[:1], dialect)
        assert read_frames(tmp_path / "a.xyz")[0].arrays[column][1, 2] == pytest.approx(-slope, abs=2e-8)


def test_virials_are_minus_stress_times_volume(frames, tmp_path):
    stress, volume = frames[0].get_stress(), frames[0].get_volume()
    write_deepmd(tmp_path / "deepmd", frames[:1])
    virial = np.load(tmp_path / "deepmd" / "set.000" / "virial.npy")[0].reshape(3, 3)
    np.testing.assert_allclose(virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]], -stress * volume)
    write_mtp(tmp_path / "a.cfg", frames[:1])
    lines = (tmp_path / "a.cfg").read_text().splitlines()
    row = lines[next(k for k, line in enumerate(lines) if "PlusStress" in line) + 1]
    np.testing.assert_allclose([float(word) for word in row.split()], -stress * volume, atol=1e-12)


def test_free_energy_is_what_other_formats_get(frames, tmp_path):
    atoms = frames[0].copy()
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, free_energy=-1.5)
    write_frames(tmp_path / "a.xyz", atoms)
    (found,) = read_frames(tmp_path / "a.xyz")
    assert (found.calc.results["energy"], found.calc.results["free_energy"]) == (-1.0, -1.5)
    write_mtp(tmp_path / "a.cfg", atoms)
    assert read_mtp(tmp_path / "a.cfg")[0].get_potential_energy() == -1.5


def test_unknown_fields_stay_unknown(frames, tmp_path):
    atoms = frames[0].copy()
    atoms.arrays["exchange_fields"][2] = np.nan
    write_frames(tmp_path / "a.xyz", atoms)
    assert np.isnan(read_frames(tmp_path / "a.xyz")[0].arrays["exchange_fields"]).any(axis=1).tolist() == [
        False,
        False,
        True,
        False,
    ]
    for name in ("deepmd", "mace", "gpumd", "mtp", "lammps-dump"):
        with pytest.raises(InputError, match=r"Expected a field on every magnetic atom, as .* got 1 unknown rows"):
            write_any(tmp_path / "refused", [atoms], name)
        assert not (tmp_path / "refused").exists()
    atoms.arrays["exchange_fields"][:] = np.nan
    write_deepmd(tmp_path / "deepmd", atoms)
    assert not (tmp_path / "deepmd" / "set.000" / "force_mag.npy").exists()


def test_a_zero_moment_has_a_zero_field(frames, tmp_path):
    atoms = frames[0].copy()
    moments = get_moments(atoms)
    moments[2] = 0
    set_moments(atoms, moments)
    atoms.arrays["exchange_fields"][2] = np.nan
    write_mtp(tmp_path / "a.cfg", atoms)
    assert not read_mtp(tmp_path / "a.cfg")[0].arrays["exchange_fields"][2].any()


def test_missing_labels_stay_missing(tmp_path):
    atoms = Atoms("NiO", [[0, 0, 0], [2, 0, 0]])
    set_moments(atoms, [[0, 1.5, 0], [0, 0, 0]])
    for name in ("extxyz", "mace", "gpumd", "deepmd", "deepmd-raw", "mtp", "traj"):
        write_any(tmp_path / name, [atoms], name)
        (found,) = read_any(tmp_path / name, name)
        assert found.calc is None
        assert "exchange_fields" not in found.arrays
        assert_same([atoms], [found])


@pytest.mark.parametrize("name", ["extxyz", "mace", "gpumd", "deepmd", "deepmd-raw", "mtp", "traj"])
def test_a_single_atom(name, tmp_path):
    atoms = Atoms("Fe", cell=[3, 3, 3], pbc=True)
    set_moments(atoms, [[0, 1.0, 2.0]])
    atoms.set_array("exchange_fields", np.array([[0.1, 0, 0]]))
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=[[0, 0, 0.5]])
    write_any(tmp_path / "a", [atoms], name)
    assert_same([atoms], read_any(tmp_path / "a", name))


def test_collinear_moments_are_never_vectors(tmp_path):
    atoms = bulk("Fe", cubic=True)
    write_frames(tmp_path / "a.xyz", atoms)
    (found,) = read_frames(tmp_path / "a.xyz")
    assert "initial_magmoms" not in found.arrays
    np.testing.assert_allclose(found.arrays["collinear_magmoms"], [2.3, 2.3])
    np.testing.assert_allclose(get_moments(lift(found, (0, 1, 1))), 2.3 * np.array([[0, 1, 1]] * 2) / np.sqrt(2))
    (lifted,) = read_frames(_written(tmp_path, atoms, "initial_magmoms"), axis=(1, 0, 0))
    np.testing.assert_allclose(get_moments(lifted), [[2.3, 0, 0]] * 2)
    with pytest.raises(InputError, match="collinear moments"):
        write_dialect(tmp_path / "b.xyz", atoms, "mace")
    with pytest.raises(InputError, match=r"Expected axis to be one non-zero vector of shape \(3,\), got"):
        lift(read_frames(tmp_path / "a.xyz")[0], (0, 0, 0))


def _written(folder, atoms, column):
    text = (folder / "a.xyz").read_text().replace("collinear_magmoms", column)
    (folder / "b.xyz").write_text(text)
    return folder / "b.xyz"


@pytest.mark.parametrize("alias", ["moment", "Spins", "SPIN"])
def test_aliases_of_gpumd(alias, tmp_path):
    text = f'1\nlattice="3 0 0 0 3 0 0 0 3" properties=species:S:1:pos:R:3:{alias}:R:3:magnetic_force:R:3 energy=-1.5\n'
    (tmp_path / "a.xyz").write_text(text + "Fe 0 0 0 0 0 2 0.1 0.2 0.3\n")
    (atoms,) = read_dialect(tmp_path / "a.xyz", "gpumd")
    np.testing.assert_allclose(get_moments(atoms), [[0, 0, 2]])
    np.testing.assert_allclose(atoms.arrays["exchange_fields"], [[0.1, 0.2, 0.3]])
    assert atoms.get_potential_energy() == -1.5
    assert atoms.pbc.all()
    (tmp_path / "b.xyz").write_text(text.replace("magnetic_force", "mforce:R:3:forces_mag") + "Fe" + " 0.1" * 12 + "\n")
    with pytest.raises(InputError, match="Expected one column of fields, got mforce and forces_mag: remove"):
        read_dialect(tmp_path / "b.xyz", "gpumd")


def test_systems_of_deepmd(frames, tmp_path):
    other = Atoms("FeO", [[0, 0, 0], [2, 0, 0]])
    set_moments(other, [[0, 1.5, 0], [0, 0, 0]])
    write_deepmd(tmp_path / "both", [*frames, other])
    assert sorted(item.name for item in (tmp_path / "both").iterdir()) == ["000-Fe4", "001-Fe1O1"]
    assert (tmp_path / "both" / "001-Fe1O1" / "type_map.raw").read_text() == "Fe\nO\n"
    assert (tmp_path / "both" / "001-Fe1O1" / "nopbc").exists()
    assert_same([*frames, other], read_deepmd(tmp_path / "both"))
    with pytest.raises(InputError, match="Expected a new or empty folder for a DeePMD system"):
        write_deepmd(tmp_path / "both", frames)
    (tmp_path / "both" / "000-Fe4" / "type_map.raw").unlink()
    with pytest.raises(
        InputError, match=r"Expected the symbols of the types, got .*000-Fe4 without type_map.raw: give"
    ):
        read_deepmd(tmp_path / "both")
    assert read_deepmd(tmp_path / "both" / "000-Fe4", species=["Co"])[0].get_chemical_formula() == "Co4"
    (tmp_path / "both" / "000-Fe4" / "set.000" / "box.npy").unlink()
    with pytest.raises(InputError, match=r"Expected coord.npy and box.npy in"):
        read_deepmd(tmp_path / "both" / "000-Fe4", species=["Co"])
    with pytest.raises(InputError, match=r"Expected a DeePMD system, a folder with type.raw, got"):
        read_deepmd(tmp_path / "nowhere")


def test_deepmd_refuses_pickles_and_other_numbers(frames, tmp_path):
    write_deepmd(tmp_path / "a", frames)
    folder = tmp_path / "a" / "set.000"
    np.save(folder / "spin.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(InputError, match=r"Expected an array of floats in .*spin.npy, got a damaged file"):
        read_deepmd(tmp_path / "a")
    np.save(folder / "spin.npy", np.zeros((3, 9)))
    with pytest.raises(InputError, match=r"Expected rows of 12 numbers in .*spin.npy, got shape \(3, 9\)"):
        read_deepmd(tmp_path / "a")
    np.save(folder / "spin.npy", np.zeros((2, 12)))
    with pytest.raises(InputError, match="Expected the same number of frames in every file"):
        read_deepmd(tmp_path / "a")
    np.save(folder / "spin.npy", np.full((3, 12), np.nan))
    with pytest.raises(InputError, match=r"Expected finite numbers in .*spin.npy, got NaN"):
        read_deepmd(tmp_path / "a")


def test_mtp_needs_species(frames, tmp_path):
    write_mtp(tmp_path / "a.cfg", frames)
    text = (tmp_path / "a.cfg").read_text()
    (tmp_path / "b.cfg").write_text(text.replace(" Feature species Fe\n", " Feature EFS_by VASP\n"))
    with pytest.raises(InputError, match=r"Expected the symbols of the types in .*, got numbers: give species=\['Fe'"):
        read_mtp(tmp_path / "b.cfg")
    assert read_mtp(tmp_path / "b.cfg", ["Fe"])[0].info == {"EFS_by": "VASP"}
    (tmp_path / "c.cfg").write_text(text.replace("en_der_mz", "en_der_m"))
    with pytest.raises(InputError, match="Expected the columns en_der_mx en_der_my en_der_mz together"):
        read_mtp(tmp_path / "c.cfg")
    with pytest.raises(InputError, match=r"Expected species among \['Ni'\], got \['Fe'\]: add them"):
        write_mtp(tmp_path / "d.cfg", frames, species=["Ni"])


def test_lammps_data(frames, tmp_path):
    write_lammps_data(tmp_path / "a.lmp", frames[0])
    assert_same(frames[:1], [read_lammps_data(tmp_path / "a.lmp")], ("moments",))
    text = (tmp_path / "a.lmp").read_text()
    row = [float(word) for word in text.partition("Atoms # spin\n\n")[2].splitlines()[0].split()]
    assert np.linalg.norm(row[5:8]) == pytest.approx(1)
    assert row[8] == pytest.approx(np.linalg.norm(get_moments(frames[0])[0]))
    (tmp_path / "b.lmp").write_text(text.replace(" # Fe", "").replace("55.845", "12345"))
    with pytest.raises(InputError, match="Expected the species of 1 types in the section Masses"):
        read_lammps_data(tmp_path / "b.lmp")
    (tmp_path / "b.lmp").write_text(text.replace(" # Fe", ""))
    assert read_lammps_data(tmp_path / "b.lmp").get_chemical_formula() == "Fe4"


def test_lammps_turns_the_moments_with_the_cell(tmp_path):
    atoms = bulk("Fe").repeat((2, 1, 1))
    atoms.rattle(0.02, seed=0)
    atoms.pbc = (True, True, False)
    for left_handed in (False, True):
        if left_handed:
            atoms.set_cell(atoms.cell.array[[1, 0, 2]])
        set_moments(atoms, 2 * random_directions(2, 0))
        atoms.set_array("exchange_fields", np.roll(get_moments(atoms), 1, axis=1))
        write_lammps_dump(tmp_path / "a.dump", atoms)
        (turned,) = read_lammps_dump(tmp_path / "a.dump", fm="gradient")
        np.testing.assert_allclose(turned.cell.cellpar(), atoms.cell.cellpar())
        assert turned.pbc.tolist() == [True, True, False]
        np.testing.assert_allclose(_scalars(turned), _scalars(atoms), atol=1e-8)
        assert np.allclose(_chirality(turned), _chirality(atoms))


def _scalars(atoms):
    """Lengths and angles among bond, moments and fields, signs of axial with polar vectors left out."""
    bond = atoms.positions[1] - atoms.positions[0]
    vectors = np.vstack([get_moments(atoms), atoms.arrays["exchange_fields"]])
    return np.concatenate([np.abs(vectors @ bond), (vectors @ vectors.T).ravel(), [bond @ bond]])


def _chirality(atoms):
    """Moments against the handedness of three lattice vectors: a number that joint mirrors leave alone."""
    a, b, _ = atoms.cell.array
    return np.cross(a, b) @ get_moments(atoms).T


def test_lammps_dump(frames, tmp_path):
    write_lammps_dump(tmp_path / "a.dump", frames)
    assert_same(frames, read_lammps_dump(tmp_path / "a.dump", fm="gradient"), ("moments", "fields", "forces"))
    assert "exchange_fields" not in read_lammps_dump(tmp_path / "a.dump")[0].arrays
    lines = (tmp_path / "a.dump").read_text().splitlines()
    fm = float(lines[9].split()[lines[8].split().index("fmx") - 2])
    field, length = frames[0].arrays["exchange_fields"][0, 0], np.linalg.norm(get_moments(frames[0])[0])
    assert fm == pytest.approx(field * length / 6.582119569e-4, rel=1e-8)
    assert pytest.approx(6.582119569e-4) == HBAR


def test_dump_with_columns_of_a_compute(tmp_path):
    text = (
        "ITEM: TIMESTEP\n5\nITEM: NUMBER OF ATOMS\n2\nITEM: BOX BOUNDS pp pp ff\n0 4\n0 4\n1 5\n"
        "ITEM: ATOMS id type xs ys zs c_s[1] c_s[2] c_s[3] c_s[4] c_s[5]\n"
        "2 1 0.5 0.5 0.5 1.5 0 0.6 0.8 7\n1 2 0 0 0 0 0 0 1 7\n"
    )
    (tmp_path / "a.dump").write_text(text)
    (atoms,) = read_lammps_dump(tmp_path / "a.dump", species=["Ni", "O"])
    assert list(atoms.symbols) == ["O", "Ni"]
    np.testing.assert_allclose(get_moments(atoms), [[0, 0, 0], [0, 0.9, 1.2]], atol=1e-12)
    np.testing.assert_allclose(atoms.positions[1], [2, 2, 2])
    assert atoms.pbc.tolist() == [True, True, False]
    assert atoms.info == {"timestep": 5}
    with pytest.raises(
        InputError, match=r"Expected the length of each moment and a unit vector in .*: check the order"
    ):
        read_lammps_dump(tmp_path / "a.dump", species=["Ni", "O"], compute=["spx", "spy", "spz", "sp", "q"])
    with pytest.raises(InputError, match="Expected the species of the types in"):
        read_lammps_dump(tmp_path / "a.dump")
    with pytest.raises(InputError, match=r"Expected types from 1 to 1 in .*, got others: give species"):
        read_lammps_dump(tmp_path / "a.dump", species=["Ni"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expected an extended XYZ file, got no complete frame in"),
        ("2\n\nFe 0 0 0\n", "Expected 2 atoms in .*, got the end of the file: it is truncated"),
        ("1\n\nFe 0 0 0", "Expected 4 columns and a line end in .*, line 3, got 'Fe 0 0 0'"),
        ("1\n\nFe 0 0\n", "Expected 4 columns and a line end in"),
        ("1\n\nFg 0 0 0\n", "Expected a readable frame in .*, line 3, got \"'Fg'\""),
        ("1\n\nFe 0 0 nan\n", "Expected finite numbers in positions in .*, got 'NaN or infinity'"),
        ("one\n", "Expected a number of atoms in .*, line 1, got 'one'"),
        ("1\nProperties=species:S:1:pos:R\nFe 0 0 0\n", "Expected Properties=name:type:columns:... in"),
        ("\0\0\0\0", "Expected an extended XYZ file, got binary content in .* at line 1"),
    ],
)
def test_damaged_xyz_is_refused(text, message, tmp_path):
    (tmp_path / "a.xyz").write_text(text)
    with pytest.raises(InputError, match=message):
        read_frames(tmp_path / "a.xyz")


def test_frames_before_the_damage_on_request(frames, tmp_path):
    for name, suffix in (("extxyz", "xyz"), ("mtp", "cfg"), ("lammps-dump", "dump")):
        path = tmp_path / f"a.{suffix}"
        write_any(path, frames, name)
        path.write_bytes(path.read_bytes()[:-30])
        assert len(read_any(path, name, damaged="keep")) == 2
        with pytest.raises(InputError):
            read_any(path, name)
        with pytest.raises(InputError, match="damaged"):
            read_any(path, name, damaged="ignore")


def test_writers_leave_nothing_half_written(frames, tmp_path):
    bad = frames[0].copy()
    bad.arrays["exchange_fields"] = bad.arrays["exchange_fields"].copy()
    bad.arrays["exchange_fields"][1] = np.nan
    (tmp_path / "a.cfg").write_text("old")
    with pytest.raises(InputError):
        write_mtp(tmp_path / "a.cfg", [frames[0], bad])
    assert [item.name for item in tmp_path.iterdir()] == ["a.cfg"]
    assert (tmp_path / "a.cfg").read_text() == "old"
    with pytest.raises(InputError, match="Expected at least one frame to write, got none"):
        write_frames(tmp_path / "b.xyz", [])
    with pytest.raises(InputError, match=r"Expected a folder to write b.xyz to, got .*nowhere, which does not exist"):
        write_frames(tmp_path / "nowhere" / "b.xyz", frames)


def test_compressed_and_foreign_line_ends(frames, tmp_path):
    import gzip

    write_frames(tmp_path / "a.xyz", frames)
    data = (tmp_path / "a.xyz").read_bytes()
    (tmp_path / "b.xyz").write_bytes(data.replace(b"\n", b"\r\n"))
    (tmp_path / "c.xyz.gz").write_bytes(gzip.compress(data))
    assert_same(frames, read_frames(tmp_path / "b.xyz"))
    assert_same(frames, read_frames(tmp_path / "c.xyz.gz"))
    (tmp_path / "d.xyz.gz").write_bytes(gzip.compress(data)[:-20])
    with pytest.raises(InputError, match="got damaged compression in"):
        read_frames(tmp_path / "d.xyz.gz")
    with pytest.raises(InputError, match="Expected an extended XYZ file, got the folder"):
        read_frames(tmp_path)


@pytest.mark.data
def test_real_deepmd_systems_agree():
    folder = raw("dpdata/tests/tmp.deepmd.spin")
    frames = read_deepmd(folder / "Fe16-npy")
    assert_same(frames, read_deepmd(folder / "Fe16-raw"))
    assert len(frames) == 2
    assert frames[0].get_chemical_formula() == "Fe16"
    assert frames[0].get_potential_energy() == pytest.approx(-54546.234016)
    np.testing.assert_allclose(frames[0].arrays["exchange_fields"][0], [-0.0085344102, -0.0100395001, -0.1198012943])


@pytest.mark.data
def test_real_lammps_files():
    atoms = read_lammps_data(raw("dpdata/tests/lammps/spin.lmp"), species=["Sn", "O"])
    np.testing.assert_allclose(get_moments(atoms), [[3, 4, 0], [0, 4, 3]])
    names = ["sp", "spx", "spy", "spz", "fmx", "fmy", "fmz", "fx", "fy", "fz"]
    path = raw("dpdata/tests/lammps/traj_partial_spin.dump")
    first, second = read_lammps_dump(path, species=["Ni", "O"], compute=names, fm="gradient")
    assert get_moments(first)[0].tolist() == [0, 0, 1.54706291]
    assert first.arrays["exchange_fields"][0, 2] == pytest.approx(-1522.64797384 * 6.582119569e-4 / 1.54706291)
    assert first.get_forces()[16, 2] == -0.00645195
    assert not first.arrays["exchange_fields"][16].any()
    assert "initial_magmoms" not in second.arrays


@pytest.mark.data
@pytest.mark.parametrize("name", ["fe16", "fege64", "nio32"])
def test_data_sets_survive_every_format(name, shared_frames, tmp_path):
    frames = shared_frames(name)[:3]
    for form in ("extxyz", "mace", "gpumd", "deepmd", "mtp"):
        write_any(tmp_path / form, frames, form)
        assert_same(frames, read_any(tmp_path / form, form))
