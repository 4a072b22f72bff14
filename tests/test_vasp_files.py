"""Files that VASP wrote, beside the repository: all parse, as ASE reads them and as upstream says they should."""

import shutil

import ase.io
import numpy as np
import pytest
from ase import Atoms
from conftest import REPOSITORY

from ase_spinml.errors import InputError
from ase_spinml.io import VaspWarning, read_vasp, read_vasp_input
from ase_spinml.io.vasp.incar import read_incar, value, values
from ase_spinml.io.vasp.oszicar import read_oszicar
from ase_spinml.io.vasp.outcar import read_outcar
from ase_spinml.io.vasp.vasprun import read_vasprun
from ase_spinml.moments import get_moments

RAW = REPOSITORY.parent / "shared" / "data" / "raw"
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not RAW.is_dir(), reason="files of other programs are not in ../shared/data/raw"),
]
RELAXATION = "aiida-vasp/ionic-relax-magmom-carry-on/calc-000"
OUTCARS = {
    "pyiron/OUTCAR_3": (1, "collinear"),
    "pyiron/OUTCAR_4": (1, "collinear"),
    "pyiron/OUTCAR_5": (1, "noncollinear"),
    "pyiron/OUTCAR_10": (1, "collinear"),
    "pymatgen/fe_monomer/OUTCAR": (1, "collinear"),
    "pymatgen/OUTCAR.NiO_SOC.gz": (1, "noncollinear"),
    "pymatgen/OUTCAR.vasp.6.2.1.mpi.gz": (1, "none"),
    "aiida-vasp/magnetization/OUTCAR.gz": (1, "collinear"),
    f"{RELAXATION}/OUTCAR.gz": (5, "collinear"),
}
VASPRUNS = {
    "pymatgen/vasprun.magmom_ldau.xml.gz": 3,
    "pymatgen/vasprun.ml_md.xml.gz": 20,
    "pymatgen/fe_monomer/vasprun.xml.gz": 1,
    "aiida-vasp/spin/vasprun.xml.gz": 1,
    f"{RELAXATION}/vasprun.xml.gz": 5,
}


def same_as_ase(steps, frames):
    for step, frame in zip(steps, frames, strict=True):
        results = frame.calc.results
        assert step.free_energy == pytest.approx(results["free_energy"], abs=1e-9)
        assert step.energy == pytest.approx(results["energy"], abs=2e-8)
        assert step.run.symbols == frame.get_chemical_symbols()
        np.testing.assert_allclose(step.positions, frame.positions, atol=1e-9)
        np.testing.assert_allclose(step.cell, frame.cell, atol=1e-9)
        np.testing.assert_allclose(step.forces, frame.get_forces(apply_constraint=False), atol=1e-9)
        if step.stress is not None:
            np.testing.assert_allclose(step.stress, frame.get_stress(), atol=1e-9)


@pytest.mark.parametrize("name", OUTCARS)
def test_outcars_are_read_as_ase_reads_them(name):
    count, spin = OUTCARS[name]
    steps = list(read_outcar(RAW / name))
    assert len(steps) == count
    assert steps[0].run.spin == spin
    frames = ase.io.read(RAW / name, ":", format="vasp-out")
    same_as_ase(steps, frames)
    for step, frame in zip(steps, frames, strict=True):
        if "magmoms" in frame.calc.results:
            np.testing.assert_allclose(step.moments, frame.calc.results["magmoms"], atol=1e-9)


@pytest.mark.parametrize("name", VASPRUNS)
def test_vaspruns_are_read_as_ase_reads_them(name):
    steps = list(read_vasprun(RAW / name))
    assert len(steps) == VASPRUNS[name]
    same_as_ase(steps, ase.io.read(RAW / name, ":", format="vasp-xml"))


COLLINEAR = [("OUTCAR_4", [2.111, 2.111]), ("OUTCAR_3", None), ("OUTCAR_10", [0.383])]


@pytest.mark.parametrize(("name", "moments"), COLLINEAR)
def test_collinear_moments(name, moments):
    step = next(read_outcar(RAW / "pyiron" / name))
    np.testing.assert_equal(None if step.moments is None else step.moments.tolist(), moments)


def test_a_killed_run_gives_its_complete_step_on_request():
    with pytest.raises(InputError, match="Expected the timing that VASP writes at the end of a run in OUTCAR_6"):
        read_vasp(RAW / "pyiron" / "OUTCAR_6")
    with pytest.warns(VaspWarning, match="only the first 1 ionic steps are read"):
        frames = read_vasp(RAW / "pyiron" / "OUTCAR_6", damaged="keep")
    np.testing.assert_allclose(get_moments(frames[0]), [[0, 2.111, 0]] * 2, atol=2e-3)


def test_nickel_oxide_with_spin_along_111():
    frame = read_vasp(RAW / "pymatgen/OUTCAR.NiO_SOC.gz")[0]
    expected = np.array([1, -1, 0, 0])[:, None] * 1.671 * np.ones(3) / np.sqrt(3)
    np.testing.assert_allclose(get_moments(frame), expected, atol=2e-3)
    assert frame.info["spin_orbit"]


def test_a_relaxation_from_two_files():
    with pytest.warns(VaspWarning, match=r"the electrons did not converge in 1 of 5 ionic steps \(1\)"):
        frames = read_vasp(RAW / RELAXATION)
    assert [frame.info["converged"] for frame in frames] == [False, True, True, True, True]
    np.testing.assert_allclose(frames[0].arrays["collinear_magmoms"], [0.781])
    assert frames[0].info["vasp_files"] == "vasprun.xml.gz, OUTCAR.gz"


def test_a_monomer_from_two_files():
    frame = read_vasp(RAW / "pymatgen/fe_monomer", axis=(1, 0, 0))[0]
    assert get_moments(frame).shape == (1, 3)
    assert frame.calc.results["free_energy"] == pytest.approx(711.33751372)


def test_vaspout_of_a_band_structure():
    frame = read_vasp(RAW / "pymatgen/vaspout/vaspout.line_mode_band_structure.h5.gz")[0]
    assert frame.get_chemical_formula() == "GaSb"
    assert frame.get_potential_energy() == pytest.approx(-8.95303508)
    assert "stress" not in frame.calc.results  # zeros stand for "not computed"


@pytest.mark.parametrize(("name", "steps"), [("pymatgen/OSZICAR", 60), ("pyiron/OSZICAR_2", 5)])
def test_oszicars_of_relaxation_and_dynamics(name, steps):
    found = list(read_oszicar(RAW / name))
    assert [step.number for step in found] == list(range(1, steps + 1))
    assert all(step.penalty is None for step in found)


# --- constrained runs ---


def upstream():
    """Columns of the converted frame: symbols, positions, MW_int, M_int, field."""
    rows = [line.split() for line in (RAW / "magesty/IrMn3/IrMn3.extxyz").read_text().splitlines()[2:]]
    values = np.array([row[1:] for row in rows], dtype=float)
    return [row[0] for row in rows], values[:, :3], values[:, 7:10], values[:, 10:13], values[:, 13:]


def test_irmn3_is_converted_as_upstream_does(tmp_path):
    symbols, positions, smooth, sphere, field = upstream()
    shutil.copy(RAW / "magesty/IrMn3/OSZICAR", tmp_path)
    crystal = Atoms(symbols, positions=positions, cell=[3.70938083] * 3, pbc=True)
    ase.io.write(tmp_path / "POSCAR", crystal, format="vasp")
    tags = "LNONCOLLINEAR = T\nI_CONSTRAINED_M = 4\nLAMBDA = 1\nM_CONSTR = 2 1 -1  -1 -2 -1  -1 1 2  3*0\n"
    (tmp_path / "INCAR").write_text(tags)
    frame = read_vasp(tmp_path)[0]
    np.testing.assert_allclose(get_moments(frame), smooth, atol=1e-9)
    np.testing.assert_allclose(get_moments(read_vasp(tmp_path, moments="M_int")[0]), sphere, atol=1e-9)
    assert frame.arrays["field_known"].tolist() == [True, True, True, False]
    np.testing.assert_allclose(frame.arrays["constraint_fields"][:3], field[:3], atol=1e-12)  # mode 4: factor 1
    np.testing.assert_allclose(frame.arrays["exchange_fields"][:3], field[:3], atol=1e-7)
    assert np.isnan(frame.arrays["exchange_fields"][3]).all()
    assert frame.info["free_energy_with_penalty"] == pytest.approx(-36.71506424, abs=5e-9)
    assert frame.calc.results["free_energy"] == pytest.approx(-36.71506424 - 2.0681e-7, abs=5e-9)
    assert frame.info["energy_with_penalty"] == pytest.approx(-36.71579408, abs=5e-7)


def excerpt(name):
    return next(read_oszicar(RAW / "excerpts" / name))


def test_the_printed_field_is_lambda_times_the_moment_across():
    """sum P^2/lambda = E_p: so P has no factor 2, and dE_p/dM = 2 P."""
    step = excerpt("vasp_wiki/OSZICAR.I_CONSTRAINED_M_1.txt")
    implied = sum(np.dot(p, p) for p in step.fields.values()) / step.lam
    assert implied == pytest.approx(step.penalty, rel=2e-3)


def test_excerpts_parse():
    step = excerpt("mattermodeling/OSZICAR.q11816.tail.txt")
    assert (step.lam, step.penalty) == (9.0, 0.39341e-4)
    np.testing.assert_allclose(step.fields[0], [0.0012835, 1.5811e-05, 0.016821])
    for lam, penalty in ((10, 0.35424e-2), (50, 0.22591e-3)):
        step = excerpt(f"vasp_wiki/OSZICAR.Fe_dimer.lambda{lam}.txt")
        assert (step.lam, step.penalty, step.fields) == (lam, penalty, None)
        assert step.smooth.shape == step.sphere.shape == (2, 3)


def test_penalty_and_energy_follow_lambda():
    """The dimer of the manual: E - E_p falls towards its limit as E_p does, to leading order by twice as much."""
    small, large = (excerpt(f"vasp_wiki/OSZICAR.Fe_dimer.lambda{lam}.txt") for lam in (10, 50))
    assert small.penalty > large.penalty
    assert small.free_energy > large.free_energy


def test_torques_of_the_table_of_radii_do_not_depend_on_them():
    """One tilted spin in bcc iron, mode 1, lambda 50: |MW| P = 0.1765 eV for all radii that hold the moment."""
    lines = (RAW / "magesty/rwigs_mode1/torque_rwigs_sheet1.csv").read_text().splitlines()[1:]
    table = np.array([[float(x) for x in line.split(",")[:7]] for line in lines if line[0] != ","])
    radii, smooth, printed = table[:, 0], table[:, 1:4], table[:, 4:7]
    big = radii >= 0.6
    torque = np.linalg.norm(np.cross(smooth, printed), axis=1)[big]
    np.testing.assert_allclose(torque, 0.1765, atol=1e-3)
    across = 50 * smooth[:, 2]  # target along x
    np.testing.assert_allclose(printed[big, 2], across[big], rtol=0.006)  # P = lambda MW_perp
    mean_field = 0.366  # eV, J0 of bcc iron from the literature; the field has factor 2
    assert 2 * torque.mean() == pytest.approx(mean_field, rel=0.05)


def test_incar_of_a_constrained_run():
    tags = read_incar(RAW / "magesty/bccFe_case1/INCAR")
    assert value(tags, "I_CONSTRAINED_M") == 4
    assert value(tags, "LAMBDA") == 1
    assert values(tags, "M_CONSTR").shape == values(tags, "MAGMOM").shape == (384,)
    assert "ISPIN" not in tags  # commented out


def test_input_of_a_constrained_run():
    atoms = read_vasp_input(RAW / "magesty/bccFe_case1")
    assert atoms.get_chemical_formula() == "Fe128"
    assert atoms.cell.lengths() == pytest.approx([4 * 2.8298] * 3)
    np.testing.assert_array_equal(get_moments(atoms), np.tile([0, 0, 3.0], (128, 1)))


@pytest.mark.parametrize("folder", ["examples/insulator/NiO", "examples/metal/Fe", "templates"])
def test_incars_of_deltaspin_parse(folder):
    tags = read_incar(RAW / "deltaspin" / folder / "INCAR")
    assert "SCTYPE" in tags
    assert values(tags, "CONSTRL").size > 1
