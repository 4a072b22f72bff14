"""Reading VASP runs: every file gives the same frames, the SAXIS frame is turned back, what is missing is refused."""

import gzip
import warnings

import numpy as np
import pytest
import vasp_samples as vasp

from ase_spinml.errors import InputError
from ase_spinml.io import VaspWarning, iread_vasp, read_vasp
from ase_spinml.io.vasp.saxis import nearest_rotation, saxis_rotation
from ase_spinml.io.vasp.vaspout import read_vaspout
from ase_spinml.moments import get_moments


def write_files(folder, sample, names=("OUTCAR", "OSZICAR", "vasprun.xml", "vaspout.h5"), tags=None):
    texts = {"OUTCAR": vasp.outcar, "OSZICAR": vasp.oszicar, "vasprun.xml": lambda s: vasp.vasprun(s, tags)}
    for name in names:
        if name == "vaspout.h5":
            vasp.write_vaspout(folder / name, sample, tags)
        else:
            (folder / name).write_text(texts[name](sample))
    return folder


def expect(frames, sample, decimals=5):
    """Frames as the sample has them; positions to the digits of the file."""
    assert len(frames) == len(sample.free)
    for k, frame in enumerate(frames):
        assert frame.get_chemical_symbols() == sample.symbols
        assert frame.pbc.all()
        assert frame.calc.results["free_energy"] == pytest.approx(sample.free[k], abs=1e-8)
        assert frame.get_potential_energy() == pytest.approx(sample.zero[k], abs=1e-8)
        np.testing.assert_allclose(frame.cell, sample.cell, atol=1e-8)
        np.testing.assert_allclose(frame.positions, sample.positions[k], atol=10.0**-decimals)
        np.testing.assert_allclose(frame.get_forces(), sample.forces[k], atol=1e-8)
        np.testing.assert_allclose(frame.get_stress(), sample.stress[k], atol=1e-9)
        assert frame.info["step"] == k + 1


# --- one file after the other ---


@pytest.mark.parametrize("name", ["OUTCAR", "vasprun.xml", "vaspout.h5"])
@pytest.mark.parametrize("spin", [vasp.NO_SPIN, vasp.COLLINEAR, vasp.NONCOLLINEAR])
def test_every_file_gives_structure_energies_forces_and_stress(tmp_path, name, spin):
    sample = vasp.make_sample(steps=3, spin=spin, table=name != "vasprun.xml")
    write_files(tmp_path, sample, [name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VaspWarning)  # vasprun.xml has no moments
        expect(read_vasp(tmp_path / name), sample)


@pytest.mark.parametrize("name", ["OUTCAR", "vaspout.h5"])
def test_noncollinear_moments_are_vectors(tmp_path, name):
    sample = vasp.make_sample()
    for k, frame in enumerate(read_vasp(write_files(tmp_path, sample, [name]))):
        np.testing.assert_allclose(get_moments(frame), sample.moments[k], atol=1e-12)
        assert frame.info["moments_source"] == "PAW"
        assert "exchange_fields" not in frame.arrays


@pytest.mark.parametrize("name", ["OUTCAR", "vaspout.h5"])
def test_collinear_moments_stay_numbers_until_an_axis_is_given(tmp_path, name):
    sample = vasp.make_sample(spin=vasp.COLLINEAR)
    write_files(tmp_path, sample, [name])
    frame = read_vasp(tmp_path)[1]
    np.testing.assert_allclose(frame.arrays["collinear_magmoms"], sample.moments[1], atol=1e-12)
    assert "initial_magmoms" not in frame.arrays
    lifted = read_vasp(tmp_path, axis=(0, 2, 0))[1]
    np.testing.assert_allclose(get_moments(lifted), sample.moments[1][:, None] * [0, 1, 0], atol=1e-12)
    assert "collinear_magmoms" not in lifted.arrays


def test_older_vaspout_names_its_moments_otherwise(tmp_path):
    sample = vasp.make_sample()
    vasp.write_vaspout(tmp_path / "vaspout.h5", sample, table="moments")
    np.testing.assert_allclose(get_moments(read_vasp(tmp_path)[0]), sample.moments[0], atol=1e-12)


def test_a_single_atom_has_no_row_of_sums(tmp_path):
    sample = vasp.make_sample(symbols=("Fe",))
    frames = read_vasp(write_files(tmp_path, sample, ["OUTCAR"]))
    np.testing.assert_allclose(get_moments(frames[0]), sample.moments[0], atol=1e-12)


def test_files_together_agree(tmp_path):
    sample = vasp.make_sample(steps=3, saxis=(1, 1, 0))
    frames = read_vasp(write_files(tmp_path, sample))
    expect(frames, sample)
    assert frames[0].info["vasp_files"] == "vasprun.xml, vaspout.h5, OUTCAR, OSZICAR"


@pytest.mark.parametrize("name", ["OUTCAR", "OSZICAR", "vasprun.xml", "vaspout.h5"])
def test_packed_files_are_read(tmp_path, name):
    sample = vasp.make_sample(steps=3)
    write_files(tmp_path, sample)
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    (tmp_path / name).unlink()
    expect(read_vasp(tmp_path), sample)


@pytest.mark.parametrize("name", ["OUTCAR", "OSZICAR", "vasprun.xml", "INCAR"])
def test_line_ends_of_windows_make_no_difference(tmp_path, name):
    sample = vasp.make_sample(steps=3)
    write_files(tmp_path, sample)
    (tmp_path / "INCAR").write_text("LNONCOLLINEAR = T\nSAXIS = 0 0 1\n")
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes().replace(b"\n", b"\r\n"))
    expect(read_vasp(tmp_path), sample)


def test_frames_come_one_at_a_time(tmp_path):
    write_files(tmp_path, vasp.make_sample(steps=3), ["OUTCAR"])
    frames = iread_vasp(tmp_path)
    assert next(frames).info["step"] == 1
    assert next(frames).info["step"] == 2


def test_old_versions_print_other_energies_last(tmp_path):
    """F, E0, F - E in the final block in place of F, E, E0."""
    sample = vasp.make_sample(steps=1)
    text = vasp.vasprun(sample)
    head, tail = text.rsplit("<energy>", 1)
    without = sample.free[0] + sample.entropy[0]
    tail = tail.replace(f"{sample.zero[0]:19.8f}", f"{sample.free[0] - without:19.8f}")
    tail = tail.replace(f"{without:19.8f}", f"{sample.zero[0]:19.8f}")
    (tmp_path / "vasprun.xml").write_text(head + "<energy>" + tail)
    with pytest.warns(VaspWarning, match="no moments of atoms"):
        expect(read_vasp(tmp_path), sample)


# --- the frame of SAXIS ---


@pytest.mark.parametrize("saxis", [(1, 1, 1), (1, 1, 0), (0, 0, -1), (-1, 0.3, 2)])
@pytest.mark.parametrize("name", ["OUTCAR", "vaspout.h5"])
def test_moments_are_turned_from_the_frame_of_saxis(tmp_path, name, saxis):
    sample = vasp.make_sample(saxis=saxis)
    frame = read_vasp(write_files(tmp_path, sample, [name]))[0]
    np.testing.assert_allclose(get_moments(frame), sample.moments[0] @ vasp.rotation(saxis).T, atol=1e-6)


def test_z_of_the_frame_lies_along_saxis():
    for saxis in ((1, 1, 0), (0, 0, 2), (1, -2, 3), (0, 0, -1)):
        rotation = saxis_rotation(saxis)
        np.testing.assert_allclose(rotation @ [0, 0, 1], np.array(saxis) / np.linalg.norm(saxis), atol=1e-15)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-15)
        assert np.linalg.det(rotation) == pytest.approx(1)


@pytest.mark.parametrize("saxis", [(0, 0, 1), (0, 0, 5), (-0.0, 0, 1), (1e-17, -1e-17, 1)])
def test_default_saxis_turns_nothing(saxis):
    np.testing.assert_array_equal(saxis_rotation(saxis), np.eye(3))


def test_a_matrix_that_is_no_rotation_has_no_nearest_one():
    assert nearest_rotation(np.diag([1, 1, -1.0])) is None
    assert nearest_rotation(np.eye(3) + 1e-3) is None


@pytest.mark.parametrize("saxis", [(0, 0, 0), (1, 2), (np.nan, 0, 1)])
def test_saxis_must_be_a_direction(saxis):
    with pytest.raises(InputError, match=r"Expected SAXIS to be three numbers, not all zero"):
        saxis_rotation(saxis)


def test_saxis_of_different_files_must_agree(tmp_path):
    write_files(tmp_path, vasp.make_sample(saxis=(1, 1, 1)), ["OUTCAR"])
    (tmp_path / "INCAR").write_text("SAXIS = 1 0 0\n")
    with pytest.raises(InputError, match="Expected the same SAXIS in all files of the run"):
        read_vasp(tmp_path)


# --- the order of atoms ---


def test_the_order_of_ase_is_undone(tmp_path):
    sample = vasp.make_sample()
    write_files(tmp_path, sample, ["OUTCAR"])
    (tmp_path / "ase-sort.dat").write_text("    2     1 \n    0     2 \n    1     0 \n")  # POSCAR has 2, 0, 1
    frame = read_vasp(tmp_path)[0]
    order = [1, 2, 0]
    assert frame.get_chemical_symbols() == [sample.symbols[k] for k in order]
    np.testing.assert_allclose(frame.get_forces(), sample.forces[0][order])
    np.testing.assert_allclose(get_moments(frame), sample.moments[0][order], atol=1e-12)
    assert read_vasp(tmp_path, original_order=False)[0].get_chemical_symbols() == sample.symbols


NO_ORDERS = ["0 0\n1 1\n", "0 0\n1 2\n2 1\n", "a b\n", "0 0 0\n", "0 0\n0 0\n2 2\n", "0 0\n1 1\n7 2\n"]


@pytest.mark.parametrize("text", NO_ORDERS)
def test_an_order_must_be_one(tmp_path, text):
    write_files(tmp_path, vasp.make_sample(), ["OUTCAR"])
    (tmp_path / "ase-sort.dat").write_text(text)
    with pytest.raises(InputError, match=r"Expected ase-sort.dat in .* to be an order of 3 atoms and its inverse"):
        read_vasp(tmp_path)


# --- warnings ---


@pytest.mark.parametrize("name", ["OUTCAR", "vasprun.xml"])
def test_unconverged_electrons_are_told(tmp_path, name):
    sample = vasp.make_sample(steps=3, spin=vasp.NO_SPIN)
    sample.converged[1] = False
    write_files(tmp_path, sample, [name])
    with pytest.warns(VaspWarning, match=r"the electrons did not converge in 1 of 3 ionic steps \(2\)"):
        frames = read_vasp(tmp_path)
    assert [frame.info["converged"] for frame in frames] == [True, False, True]


def test_missing_moments_are_told(tmp_path):
    write_files(tmp_path, vasp.make_sample(table=False), ["OUTCAR"])
    with pytest.warns(VaspWarning, match=r"no moments of atoms in 2 of 2 ionic steps \(1, 2\): set LORBIT = 11"):
        frames = read_vasp(tmp_path)
    assert "initial_magmoms" not in frames[0].arrays
    assert "moments_source" not in frames[0].info


def test_steps_of_a_learned_force_field_are_left_out(tmp_path):
    """Such a run announces every step; those with electrons alone have TOTEN, those of the field alone ML TOTEN."""
    sample = vasp.make_sample(steps=2, spin=vasp.NO_SPIN)
    rule = 38 * "-" + " Ionic step {:8d}  " + 40 * "-" + "\n"
    first, second = vasp.outcar(sample).split(38 * "-" + " Iteration      2(   1)  ")
    learned = (
        " POSITION                                       TOTAL-FORCE (eV/Angst) (ML)\n " + 83 * "-" + "\n"
        "      0.00000      0.00000      0.00000         9.000000      9.000000      9.000000\n"
        "  free  energy ML TOTEN  =       -99.00000000 eV\n\n  ML energy  without entropy=      -99.00000000\n"
    )
    second = 38 * "-" + " Iteration      4(   1)  " + second.replace("Iteration      2(", "Iteration      4(")
    text = first.replace(38 * "-" + " Iteration      1(   1)", rule.format(1) + 38 * "-" + " Iteration      1(   1)")
    text += learned + rule.format(2) + learned + rule.format(3) + learned + rule.format(4) + second
    (tmp_path / "OUTCAR").write_text(text)
    frames = read_vasp(tmp_path)
    assert [frame.info["step"] for frame in frames] == [1, 4]
    for k, frame in enumerate(frames):
        np.testing.assert_allclose(frame.get_forces(), sample.forces[k])
        assert frame.calc.results["free_energy"] == pytest.approx(sample.free[k])


def test_moments_of_few_steps_are_told(tmp_path):
    """Small NWRITE: tables of moments for some steps only."""
    sample = vasp.make_sample(steps=3)
    text = vasp.outcar(sample)
    parts = text.split(" aborting ")
    begin = parts[2].index("\n magnetization (x)")
    parts[2] = parts[2][:begin] + parts[2][parts[2].index("  in kB") :]
    (tmp_path / "OUTCAR").write_text(" aborting ".join(parts))
    with pytest.warns(VaspWarning, match=r"no moments of atoms in 1 of 3 ionic steps \(2\)"):
        frames = read_vasp(tmp_path)
    assert ["initial_magmoms" in frame.arrays for frame in frames] == [True, False, True]


# --- refusals ---


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"Expected OUTCAR, vasprun.xml, vaspout.h5 or OSZICAR in .*, got none"):
        read_vasp(tmp_path)
    with pytest.raises(InputError, match="which does not exist"):
        read_vasp(tmp_path / "nothing")


def test_a_name_must_tell_the_kind_of_file(tmp_path):
    (tmp_path / "result.txt").write_text("?")
    with pytest.raises(InputError, match=r"Expected a name with OUTCAR, OSZICAR, vasprun or vaspout in it, got result"):
        read_vasp(tmp_path / "result.txt")


def test_a_file_twice_is_refused(tmp_path):
    write_files(tmp_path, vasp.make_sample(), ["OUTCAR"])
    (tmp_path / "OUTCAR.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"Expected OUTCAR or OUTCAR.gz in .*, got both"):
        read_vasp(tmp_path)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"free": 1e-3, "zero": 0}, "free energy"),
        ({"forces": 1e-4}, "forces"),
        ({"positions": 1e-3}, "positions"),
        ({"kilobar": 1e-2}, "stress"),
    ],
)
def test_files_that_contradict_each_other_are_refused(tmp_path, change, what):
    sample = vasp.make_sample(steps=3)
    write_files(tmp_path, sample, ["OUTCAR"])
    for name, amount in change.items():
        if name != "zero":
            getattr(sample, name)[1] += amount
    write_files(tmp_path, sample, ["vasprun.xml"])
    with pytest.raises(InputError, match=f"Expected the same {what} of ionic step 2 in vasprun.xml and OUTCAR"):
        read_vasp(tmp_path)
    with pytest.warns(VaspWarning, match="only the first 1 ionic steps are read"):
        assert len(read_vasp(tmp_path, damaged="keep")) == 1


def test_oszicar_of_another_run_is_refused(tmp_path):
    write_files(tmp_path, vasp.make_sample(seed=1), ["OUTCAR"])
    write_files(tmp_path, vasp.make_sample(seed=2), ["OSZICAR"])
    with pytest.raises(InputError, match="Expected the same free energy of ionic step 1 in OUTCAR and OSZICAR"):
        read_vasp(tmp_path)


def test_other_atoms_are_refused(tmp_path):
    write_files(tmp_path, vasp.make_sample(), ["OUTCAR"])
    write_files(tmp_path, vasp.make_sample(symbols=("Fe", "Pt")), ["vasprun.xml"])
    with pytest.raises(InputError, match=r"Expected the same atoms in vasprun.xml and OUTCAR, got 2 atoms and 3 atoms"):
        read_vasp(tmp_path)


def test_a_shorter_file_is_refused(tmp_path):
    write_files(tmp_path, vasp.make_sample(steps=3), ["OUTCAR"])
    full = vasp.oszicar(vasp.make_sample(steps=3))
    (tmp_path / "OSZICAR").write_text(full[: full.index("   3 F=")].rsplit("       N", 1)[0])
    with pytest.raises(InputError, match="got step 3 in OUTCAR only"):
        read_vasp(tmp_path)
    with pytest.warns(VaspWarning, match="only the first 2 ionic steps"):
        assert len(read_vasp(tmp_path, damaged="keep")) == 2


@pytest.mark.parametrize(
    ("spin", "kind"), [(vasp.NONCOLLINEAR, "a noncollinear one"), (vasp.NO_SPIN, "one without spin")]
)
def test_an_axis_is_for_collinear_runs(tmp_path, spin, kind):
    write_files(tmp_path, vasp.make_sample(spin=spin), ["OUTCAR"])
    with pytest.raises(InputError, match=f"Expected a collinear run to lay along axis, got {kind}"):
        read_vasp(tmp_path, axis=(0, 0, 1))


def test_options_are_checked(tmp_path):
    write_files(tmp_path, vasp.make_sample(), ["OUTCAR"])
    with pytest.raises(InputError, match=r"Expected damaged='refuse' or 'keep', got 'maybe'"):
        read_vasp(tmp_path, damaged="maybe")
    with pytest.raises(InputError, match=r"Expected moments to be one of MW_int, M_int, PAW, got 'mine'"):
        read_vasp(tmp_path, moments="mine")
    with pytest.raises(InputError, match=r"Expected moments M_int in the files of the run, got none"):
        read_vasp(tmp_path, moments="M_int")
    with pytest.raises(InputError, match=r"Expected constraint to be None, False, 1, 2 or 4, got 3"):
        read_vasp(tmp_path, constraint=3)


def test_oszicar_needs_a_structure(tmp_path):
    write_files(tmp_path, vasp.make_sample(), ["OSZICAR"])
    with pytest.raises(InputError, match=r"Expected OUTCAR, vasprun.xml or POSCAR beside OSZICAR, got none of them"):
        read_vasp(tmp_path)
    (tmp_path / "POSCAR").write_text("Fe\n1.0\n3 0 0\n0 3 0\n0 0 3\nFe\n1\nDirect\n0 0 0\n")
    with pytest.raises(InputError, match=r"Expected a single ionic step in OSZICAR beside POSCAR alone, got several"):
        read_vasp(tmp_path)


def test_oszicar_and_poscar_are_enough_for_one_step(tmp_path):
    sample = vasp.make_sample(steps=1, spin=vasp.NO_SPIN, symbols=("Fe",))
    write_files(tmp_path, sample, ["OSZICAR"])
    (tmp_path / "POSCAR").write_text("Fe\n1.0\n3 0 0\n0 3 0\n0 0 3\nFe\n1\nDirect\n0 0 0.5\n")
    frame = read_vasp(tmp_path)[0]
    assert frame.calc.results["free_energy"] == pytest.approx(sample.free[0], abs=1e-9)  # more than the digits of F
    assert frame.get_potential_energy() == pytest.approx(sample.zero[0], abs=1e-6)
    np.testing.assert_allclose(frame.positions, [[0, 0, 1.5]])
    assert "forces" not in frame.calc.results


def test_energies_of_a_lone_oszicar_must_fit_each_other(tmp_path):
    sample = vasp.make_sample(steps=1, spin=vasp.NO_SPIN, symbols=("Fe",))
    (tmp_path / "POSCAR").write_text("Fe\n1.0\n3 0 0\n0 3 0\n0 0 3\nFe\n1\nDirect\n0 0 0.5\n")
    sample.smearing = 30
    write_files(tmp_path, sample, ["OSZICAR"])
    with pytest.raises(InputError, match="Expected energies F and E0 of OSZICAR that fit its last electronic step"):
        read_vasp(tmp_path)


def test_a_poscar_that_ase_cannot_read_is_refused(tmp_path):
    write_files(tmp_path, vasp.make_sample(steps=1), ["OSZICAR"])
    (tmp_path / "POSCAR").write_text("Fe\n1.0\nx\n")
    with pytest.raises(InputError, match="Expected POSCAR to be a POSCAR that ASE reads"):
        read_vasp(tmp_path)


def test_h5py_is_asked_for(tmp_path, monkeypatch):
    write_files(tmp_path, vasp.make_sample(), ["vaspout.h5"])
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(InputError, match=r"Expected h5py to read vaspout.h5, got no such package"):
        next(read_vaspout(tmp_path / "vaspout.h5"))
