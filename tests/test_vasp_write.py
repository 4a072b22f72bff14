"""Writing VASP jobs: nothing is lost, ASE reads the same, contradictions are refused."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.vasp.create_input import GenerateVaspInput
from ase.constraints import FixAtoms

from ase_spinml import get_moments, set_moments
from ase_spinml.errors import InputError
from ase_spinml.io import read_vasp_input, write_vasp
from ase_spinml.io.vasp import incar as incar_format
from ase_spinml.moments import random_directions

RADII = {"Fe": 1.3, "Pt": 1.4, "O": 0.8}


def crystal(seed=0, symbols=("Fe", "O", "Fe", "Pt", "O", "Fe")):
    """Atoms whose species alternate, as POSCAR may not have them."""
    rng = np.random.default_rng(seed)
    cell = np.diag([4.0, 5.0, 6.0]) + 0.1 * rng.normal(size=(3, 3))
    atoms = Atoms(list(symbols), scaled_positions=rng.uniform(-0.2, 1.2, (len(symbols), 3)), cell=cell, pbc=True)
    moments = rng.uniform(0.5, 3, (len(symbols), 1)) * random_directions(len(symbols), rng)
    moments[[s == "O" for s in symbols]] = 0
    set_moments(atoms, moments)
    return atoms


@pytest.mark.parametrize("saxis", [None, (1, 1, 0), (0.2, -1, 3)])
@pytest.mark.parametrize("mode", [None, 1, 2, 4])
def test_what_is_written_is_read_back(tmp_path, saxis, mode):
    atoms = crystal()
    options = {} if mode is None else {"constraint": mode, "lam": 12.5, "rwigs": RADII}
    assert write_vasp(tmp_path / "job", atoms, saxis=saxis, **options) == [tmp_path / "job"]
    back = read_vasp_input(tmp_path / "job")
    assert back.get_chemical_symbols() == atoms.get_chemical_symbols()
    np.testing.assert_allclose(back.positions, atoms.positions, atol=1e-8)
    np.testing.assert_allclose(back.cell, atoms.cell, atol=1e-8)
    np.testing.assert_allclose(get_moments(back), get_moments(atoms), atol=1e-8)
    if mode is not None:
        np.testing.assert_allclose(back.arrays["target_moments"], get_moments(atoms), atol=1e-8)


def test_ase_reads_the_same_structure_and_moments(tmp_path):
    atoms = crystal()
    write_vasp(tmp_path, atoms, constraint=4, lam=10, rwigs=RADII)
    sort, resort = np.loadtxt(tmp_path / "ase-sort.dat", dtype=int).T
    structure = ase.io.read(tmp_path / "POSCAR")
    assert structure[resort].get_chemical_symbols() == atoms.get_chemical_symbols()
    np.testing.assert_allclose(structure[resort].positions, atoms.positions, atol=1e-8)
    np.testing.assert_allclose(structure.cell, atoms.cell, atol=1e-8)
    given = GenerateVaspInput()
    given.read_incar(tmp_path / "INCAR")
    for name in ("magmom", "m_constr"):
        numbers = np.reshape(given.list_float_params[name], (-1, 3))
        np.testing.assert_allclose(numbers, get_moments(atoms)[sort], atol=1e-8)
    np.testing.assert_allclose(given.list_float_params["rwigs"], [1.3, 0.8, 1.4])
    assert given.bool_params["lnoncollinear"]
    assert given.int_params["i_constrained_m"] == 4
    assert given.float_params["lambda"] == 10


def test_species_stand_together_and_the_order_is_told(tmp_path):
    write_vasp(tmp_path, crystal())
    assert ase.io.read(tmp_path / "POSCAR").get_chemical_symbols() == ["Fe", "Fe", "Fe", "O", "O", "Pt"]
    assert np.loadtxt(tmp_path / "ase-sort.dat", dtype=int).T.tolist() == [[0, 2, 5, 1, 4, 3], [0, 3, 1, 5, 4, 2]]
    assert (tmp_path / "POTCAR.spec").read_text() == "Fe\nO\nPt\n"
    assert not (tmp_path / "POTCAR").exists()


def test_numbers_have_at_least_eight_decimals(tmp_path):
    write_vasp(tmp_path, crystal(), constraint=1, lam=10, rwigs=RADII)
    for line in (tmp_path / "INCAR").read_text().splitlines():
        if line.startswith(("MAGMOM", "M_CONSTR", "LAMBDA", "RWIGS")):
            assert all(len(word.partition(".")[2]) >= 8 for word in line.split("=")[1].split())


def test_atoms_without_moment_or_target_are_free(tmp_path):
    atoms = crystal()
    targets = get_moments(atoms)
    targets[0] = 0
    write_vasp(tmp_path, atoms, constraint=1, lam=10, rwigs=RADII, targets=targets)
    back = read_vasp_input(tmp_path)
    np.testing.assert_allclose(back.arrays["target_moments"], targets, atol=1e-8)
    np.testing.assert_allclose(get_moments(back), get_moments(atoms), atol=1e-8)


def test_tags_of_the_user_are_kept(tmp_path):
    own = {"encut": 400, "LREAL": False, "ALGO": "Normal", "EDIFF": 1e-8, "LORBIT": 10, "DIPOL": [0.5, 0.5, 0.5]}
    write_vasp(tmp_path, crystal(), incar=own, spin_orbit=True, saxis=(0, 0, 1))
    tags = incar_format.read_incar(tmp_path / "INCAR")
    assert tags["ENCUT"] == "400"
    assert tags["LREAL"] == ".FALSE."
    assert tags["ALGO"] == "Normal"
    assert tags["LORBIT"] == "10"
    assert incar_format.value(tags, "EDIFF") == 1e-8
    assert incar_format.values(tags, "DIPOL").tolist() == [0.5] * 3
    assert incar_format.logical(tags, "LSORBIT")
    assert incar_format.logical(tags, "LNONCOLLINEAR")
    assert tags["SAXIS"] == "0.0000000000 0.0000000000 1.0000000000"


def test_a_mesh_of_k_points(tmp_path):
    write_vasp(tmp_path, crystal(), kpoints=(4, 4, 3))
    assert (tmp_path / "KPOINTS").read_text().splitlines()[1:4] == ["0", "Gamma", "4 4 3"]
    assert ase.io.read(tmp_path / "POSCAR") is not None


def test_a_list_of_frames_gets_a_folder_each(tmp_path):
    frames = [crystal(seed) for seed in range(3)]
    folders = write_vasp(tmp_path, frames, constraint=1, lam=10, rwigs=RADII)
    assert [folder.name for folder in folders] == ["0000", "0001", "0002"]
    for folder, frame in zip(folders, frames, strict=True):
        np.testing.assert_allclose(get_moments(read_vasp_input(folder)), get_moments(frame), atol=1e-8)
        assert sorted(path.name for path in folder.iterdir()) == ["INCAR", "POSCAR", "POTCAR.spec", "ase-sort.dat"]


def test_fixed_atoms_stay_fixed(tmp_path):
    atoms = crystal()
    atoms.set_constraint(FixAtoms([1]))
    write_vasp(tmp_path, atoms)
    assert read_vasp_input(tmp_path).constraints[0].index.tolist() == [1]


def test_a_job_without_an_order_is_read_as_it_is(tmp_path):
    write_vasp(tmp_path, crystal(symbols=("Fe", "Fe")), incar={"ISYM": -1})
    (tmp_path / "ase-sort.dat").unlink()
    assert len(read_vasp_input(tmp_path)) == 2


# --- what is refused ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"constraint": 3, "lam": 1, "rwigs": RADII}, "Expected constraint to be None, 1, 2 or 4, got 3"),
        ({"constraint": 1, "rwigs": RADII}, "Expected lam > 0 for a constrained run, got None"),
        ({"constraint": 1, "lam": -1, "rwigs": RADII}, "Expected lam > 0 for a constrained run, got -1"),
        ({"constraint": 1, "lam": 10}, "Expected rwigs for a constrained run, got none: with VASP's default of -1"),
        ({"constraint": 1, "lam": 10, "rwigs": {"Fe": 1}}, "Expected rwigs of Fe, O, Pt, got none of O, Pt"),
        ({"constraint": 1, "lam": 10, "rwigs": [1.3, -1, 1.4]}, "Expected 3 positive radii for Fe, O, Pt"),
        ({"lam": 10}, "Expected constraint=1, 2 or 4 with lam, got none"),
        ({"constraint": 1, "lam": 1, "rwigs": RADII, "targets": [[0, 0, 1]]}, r"Expected targets of shape \(6, 3\)"),
        ({"incar": {"magmom": "6*0"}}, "Expected tags in incar other than those written for the moments, got MAGMOM"),
        ({"incar": {"ISPIN": 1}}, "Expected no ISPIN beside LNONCOLLINEAR, got 1"),
        ({"saxis": (0, 0, 0)}, "Expected SAXIS to be three numbers, not all zero"),
        ({"kpoints": (4, 4, 0)}, "Expected kpoints to be three whole numbers"),
    ],
)
def test_contradictions_are_refused_and_nothing_is_written(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        write_vasp(tmp_path / "job", crystal(), **options)
    assert not (tmp_path / "job").exists()


def test_moments_must_be_vectors(tmp_path):
    with pytest.raises(InputError, match="Expected moment vectors"):
        write_vasp(tmp_path, bulk("Fe"))
    with pytest.raises(InputError, match="Expected at least one frame to write, got none"):
        write_vasp(tmp_path, [])


def test_a_cluster_needs_a_cell(tmp_path):
    atoms = Atoms("Fe")
    set_moments(atoms, [[0, 0, 2.0]])
    with pytest.raises(InputError, match="Expected a cell with a volume, got none"):
        write_vasp(tmp_path, atoms)


def test_targets_belong_to_one_frame(tmp_path):
    with pytest.raises(InputError, match="Expected targets with a single frame, got a list of frames"):
        write_vasp(tmp_path, [crystal()], constraint=1, lam=1, rwigs=RADII, targets=get_moments(crystal()))


def test_files_are_not_replaced_unasked(tmp_path):
    write_vasp(tmp_path, crystal())
    with pytest.raises(InputError, match=r"Expected no INCAR, POSCAR, ase-sort.dat, POTCAR.spec in .*, got files"):
        write_vasp(tmp_path, crystal(1))
    write_vasp(tmp_path, crystal(1), overwrite=True)
    np.testing.assert_allclose(get_moments(read_vasp_input(tmp_path)), get_moments(crystal(1)), atol=1e-8)


def test_moments_of_another_number_of_atoms_are_refused(tmp_path):
    write_vasp(tmp_path, crystal())
    (tmp_path / "INCAR").write_text("MAGMOM = 0 0 1\n")
    with pytest.raises(InputError, match="Expected 18 numbers for MAGMOM in INCAR, got 3"):
        read_vasp_input(tmp_path)


# --- INCAR ---


def tags_of(tmp_path, text):
    (tmp_path / "INCAR").write_text(text)
    return incar_format.read_incar(tmp_path / "INCAR")


def test_incar_is_read_as_vasp_reads_it(tmp_path):
    text = (
        "SYSTEM = some iron ! a comment\n# ENCUT = 300\nENCUT=400; ENCUT = 500; ISMEAR = 1 ; sigma = .2\n"
        "MAGMOM = 2*0 1.5 \\\n 3*-.5D0\nWAVECAR\nLREAL = .FALSE.\nLSORBIT = t\n"
    )
    tags = tags_of(tmp_path, text + 'WANNIER90_WIN = "\nnum_wann = 4\n"\n')
    assert tags["SYSTEM"] == "some iron"
    assert incar_format.value(tags, "ENCUT") == 400
    assert incar_format.value(tags, "SIGMA") == 0.2
    assert incar_format.values(tags, "MAGMOM").tolist() == [0, 0, 1.5, -0.5, -0.5, -0.5]
    assert not incar_format.logical(tags, "LREAL")
    assert incar_format.logical(tags, "LSORBIT")
    assert not incar_format.logical(tags, "LASPH")
    assert "num_wann = 4" in tags["WANNIER90_WIN"]
    assert "NUM_WANN" not in tags
    assert incar_format.value(tags, "NELM") is None


def test_incar_is_refused_where_it_makes_no_sense(tmp_path):
    tags = tags_of(tmp_path, "LAMBDA = 1 2\nRWIGS = big\nLSORBIT = maybe\n")
    with pytest.raises(InputError, match="Expected one number for LAMBDA in INCAR, got 2"):
        incar_format.value(tags, "LAMBDA")
    with pytest.raises(InputError, match="Expected numbers for RWIGS in INCAR, got 'big'"):
        incar_format.values(tags, "RWIGS")
    with pytest.raises(InputError, match=r"Expected .TRUE. or .FALSE. for LSORBIT in INCAR, got 'maybe'"):
        incar_format.logical(tags, "LSORBIT")
    with pytest.raises(InputError, match="Expected the end of a continued line or of a quoted text in INCAR"):
        tags_of(tmp_path, "MAGMOM = 1 \\\n")
