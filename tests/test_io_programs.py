"""Logs of spin-constrained calculations: ABACUS and DeltaSpin."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.io import write
from spin_samples import (
    ABACUS_HEAD,
    ABACUS_MD,
    ABACUS_RELAX,
    ABACUS_SCF,
    MD_DUMP,
    STRU,
    abacus_step,
    deltaspin_step,
    raw,
)

from ase_spinml import get_moments
from ase_spinml.errors import InputError
from ase_spinml.io import read_abacus, read_deltaspin


def put(folder, **files):
    for name, text in files.items():
        (folder / name.replace("_log", ".log")).write_text(text)
    return folder


def test_a_self_consistent_run(tmp_path):
    path = put(tmp_path, running_scf_log=ABACUS_SCF) / "running_scf.log"
    (atoms,) = read_abacus(path)
    assert atoms.get_chemical_formula() == "Ni2"
    np.testing.assert_allclose(atoms.cell.array, 3.51234 * np.eye(3))
    np.testing.assert_allclose(atoms.positions[0], [0.0351234, 0, 0])
    np.testing.assert_allclose(get_moments(atoms), [[0.1, 0.2, 0.6], [-0.1, -0.2, -0.6]])
    np.testing.assert_allclose(atoms.arrays["exchange_fields"], [[0.05, 0.01, -0.02], [-0.05, -0.01, 0.02]])
    np.testing.assert_allclose(atoms.get_forces()[0], [0.1, 0.2, 0.3])
    assert atoms.calc.results["free_energy"] == -100.0
    assert read_abacus(tmp_path)[0] == atoms
    put(tmp_path, STRU=STRU)
    np.testing.assert_allclose(read_abacus(path)[0].cell.array, 3.512341 * np.eye(3), rtol=1e-9)
    put(tmp_path, STRU=STRU.replace("3.512341", "3.6"))
    np.testing.assert_allclose(read_abacus(path)[0].cell.array, 3.51234 * np.eye(3))
    with pytest.raises(InputError, match=r"Expected the cell of the log in .*STRU, got another: name the right STRU"):
        read_abacus(path, structure=tmp_path / "STRU")


def test_rydberg_and_collinear(tmp_path):
    text = ABACUS_HEAD + abacus_step(-100.0, 0.05, "Ry/uB") + " !FINAL_ETOT_IS -100.0 eV\n"
    (atoms,) = read_abacus(put(tmp_path, running_scf_log=text))
    assert atoms.arrays["exchange_fields"][0, 0] == pytest.approx(0.05 * units.Ry)
    text = ABACUS_HEAD + abacus_step(-100.0, 0.05, columns=1) + " !FINAL_ETOT_IS -100.0 eV\n"
    (atoms,) = read_abacus(put(tmp_path, running_scf_log=text))
    assert {"collinear_magmoms", "collinear_fields"} <= set(atoms.arrays)
    assert not {"initial_magmoms", "exchange_fields"} & set(atoms.arrays)
    (atoms,) = read_abacus(tmp_path, axis=(0, 1, 0))
    np.testing.assert_allclose(atoms.arrays["exchange_fields"], [[0, 0.05, 0], [0, -0.05, 0]])
    text = ABACUS_HEAD + abacus_step(-100.0, 0.05, "meV/uB") + " !FINAL_ETOT_IS -100.0 eV\n"
    with pytest.raises(InputError, match="Expected magnetic forces in eV/uB or Ry/uB"):
        read_abacus(put(tmp_path, running_scf_log=text))


def test_a_relaxation(tmp_path):
    first, second = read_abacus(put(tmp_path, running_relax_log=ABACUS_RELAX))
    assert second.positions[0, 0] == pytest.approx(2 * first.positions[0, 0])
    assert [atoms.get_potential_energy(force_consistent=True) for atoms in (first, second)] == [-100.0, -100.5]
    cut = ABACUS_RELAX[: ABACUS_RELAX.index("STEP OF RELAXATION : 2") + 400]
    put(tmp_path, running_relax_log=cut)
    with pytest.raises(InputError):
        read_abacus(tmp_path)
    assert len(read_abacus(tmp_path, damaged="keep")) == 1
    put(tmp_path, running_relax_log=ABACUS_RELAX.partition(" !FINAL")[0])
    with pytest.raises(InputError, match=r"Expected !FINAL_ETOT_IS at the end of .*: the run is unfinished or cut off"):
        read_abacus(tmp_path)


def test_molecular_dynamics_needs_its_positions(tmp_path):
    put(tmp_path, running_md_log=ABACUS_MD)
    with pytest.raises(
        InputError, match=r"Expected the positions of molecular dynamics in .*MD_dump, got no such file"
    ):
        read_abacus(tmp_path)
    put(tmp_path, MD_dump=MD_DUMP)
    (atoms,) = read_abacus(tmp_path)
    assert atoms.positions[0, 0] == 0.04
    assert atoms.cell[0, 0] == 3.6
    put(tmp_path, MD_dump=MD_DUMP.replace("0.1 0.2 0.3", "0.1 0.2 0.4"))
    with pytest.raises(InputError, match="Expected the forces of MD_dump in"):
        read_abacus(tmp_path)
    put(tmp_path, MD_dump=MD_DUMP.replace("MDSTEP:  0", "MDSTEP:  5"))
    with pytest.raises(InputError, match=r"Expected step 0 in .*MD_dump, got none: write MD_dump at every step"):
        read_abacus(tmp_path)


def test_doubtful_steps_are_told(tmp_path):
    text = ABACUS_SCF.replace("charge density convergence is achieved", "convergence has NOT been achieved!")
    with pytest.warns(UserWarning, match="step 1 of .* is not converged"):
        read_abacus(put(tmp_path, running_scf_log=text))
    text = ABACUS_SCF.replace("-0.05 -0.01 0.02", "0 0 0").replace("0.05 0.01 -0.02", "0 0 0")
    with pytest.warns(UserWarning, match="has a magnetic force of exactly zero: was the constraint active"):
        read_abacus(put(tmp_path, running_scf_log=text))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("-100.0000000000", "-100.5000000000", "Expected the same energy in Ry and eV"),
        ("FINAL_ETOT_IS -100.0", "FINAL_ETOT_IS -101.0", "Expected the final energy -100.0 eV"),
        (" Ni -0.1 -0.2 -0.6\n", "", "Expected .* in .*, got"),
        ("taud_Ni2", "taud_Qq2", "Expected atoms named taud_Fe1 or tauc_Fe1"),
        (" Ni 0.1 0.2 0.6", " Co 0.1 0.2 0.6", "Expected a row for every atom"),
        (" Ni 0.1 0.2 0.6", " Ni 0.1 0.2 nan", "Expected a row of moments"),
    ],
)
def test_damaged_logs_are_refused(old, new, message, tmp_path):
    assert old in ABACUS_SCF
    with pytest.raises(InputError, match=message):
        read_abacus(put(tmp_path, running_scf_log=ABACUS_SCF.replace(old, new)))


def test_logs_that_are_none(tmp_path):
    with pytest.raises(InputError, match=r"Expected one file running_\*.log in .*, got 0: name the log"):
        read_abacus(tmp_path)
    with pytest.raises(InputError, match=r"Expected a log of ABACUS .* without a complete step"):
        read_abacus(put(tmp_path, running_scf_log="nothing\n"))
    with pytest.raises(InputError, match="Expected damaged to be 'refuse' or 'keep', got 'ignore'"):
        read_abacus(tmp_path, damaged="ignore")


@pytest.mark.data
@pytest.mark.filterwarnings("ignore:step .* has a magnetic force of exactly zero")
def test_real_abacus_logs():
    (scf,) = read_abacus(raw("dpdata/tests/abacus.spin/OUT.ABACUS/running_scf.log"))
    np.testing.assert_allclose(
        scf.arrays["exchange_fields"],
        [[-0.0000175013, -0.0000418680, -0.3669618965], [-0.0000161517, -0.0000195198, -0.3669821632]],
    )
    assert scf.calc.results["free_energy"] == -6818.7194094666
    assert get_moments(scf)[0, 2] == 2.4000001004  # held above equilibrium: -dE/dm points back
    assert scf.cell[0, 0] == pytest.approx(1.880277359 * units.Bohr * 2.8274254848)
    relax = read_abacus(raw("dpdata/tests/abacus.spin/OUT.ABACUS/running_relax.log"))
    md = read_abacus(raw("dpdata/tests/abacus.spin/OUT.ABACUS/running_md.log"))
    assert (len(relax), len(md)) == (3, 4)
    assert relax[1].positions[1, 2] == pytest.approx(0.4999929626 * relax[1].cell[2, 2])
    np.testing.assert_allclose(md[3].positions[1], [1.402145298001, 1.403142731738, 1.411903585568])
    assert md[3].arrays["exchange_fields"][1, 0] == -0.1590151938
    (collinear,) = read_abacus(raw("dpdata/tests/abacus.spin/OUT.ABACUS-nspin2/running_scf.log"), axis=(0, 0, 1))
    np.testing.assert_allclose(collinear.arrays["exchange_fields"][:, 2], [-0.3669618965, -0.3669821632])


@pytest.fixture
def deltaspin(tmp_path):
    atoms = Atoms("Fe2", [[0, 0, 0], [1.4, 1.4, 1.4]], cell=[2.8] * 3, pbc=True)
    write(tmp_path / "POSCAR", atoms, format="vasp")
    return put(tmp_path, OSZICAR=deltaspin_step(1, -0.16))


def test_deltaspin(deltaspin):
    (atoms,) = read_deltaspin(deltaspin)
    np.testing.assert_allclose(get_moments(atoms), [[0.1, 0.2, 1.6], [-0.1, -0.2, -1.6]])
    np.testing.assert_allclose(atoms.arrays["exchange_fields"], [[-0.01, -0.02, -0.03], [0.01, 0, -0.04]])
    assert atoms.calc.results == {"energy": -15.9, "free_energy": -16.0}


def test_deltaspin_needs_a_structure_per_step(deltaspin):
    put(deltaspin, OSZICAR=deltaspin_step(1, -0.16) + deltaspin_step(2, -0.17))
    with pytest.raises(InputError, match=r"Expected a structure for each of 2 steps of .*, got 1: give structure="):
        read_deltaspin(deltaspin)
    other = Atoms("Fe2", [[0, 0, 0], [1.3, 1.4, 1.4]], cell=[2.8] * 3, pbc=True)
    _, second = read_deltaspin(deltaspin, structure=[other, other])
    assert second.calc.results["free_energy"] == -17.0
    (deltaspin / "POSCAR").unlink()
    with pytest.raises(InputError, match=r"Expected OUTCAR, vasprun.xml or POSCAR beside"):
        read_deltaspin(deltaspin)
    with pytest.raises(InputError, match="Expected 3 atoms as in the structure"):
        read_deltaspin(deltaspin, structure=[Atoms("Fe3"), Atoms("Fe3")])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (" 0.10000000E-01  0.20000000E-01", " 0.10000000E-01  0.30000000E-01", "Expected a Magnetic Force of minus"),
        ("   1 F=", "   2 F=", "Expected ionic step 1 in"),
        ("  2      -0.1", "  3      -0.1", "Expected atom 2 in"),
        (" 1.600000000       0.000000001", " 1.6x0000000       0.000000001", "Expected 6 numbers of an atom"),
        ("Magnetic Force", "Something Else", "with a step that lacks MW_current or Magnetic Force"),
        ("   1 F=", "   1 G=", "Expected the line F= of the last ionic step"),
    ],
)
def test_damaged_oszicar_is_refused(old, new, message, deltaspin):
    text = deltaspin_step(1, -0.16)
    assert old in text
    put(deltaspin, OSZICAR=text.replace(old, new))
    with pytest.raises(InputError, match=message):
        read_deltaspin(deltaspin)
