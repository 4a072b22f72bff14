"""Constrained runs: the field is -dE/dm with its factor and sign, the penalty is taken off, doubts are told."""

import numpy as np
import pytest
import vasp_samples as vasp
from vasp_electrons import Electrons

from ase_spinml.errors import InputError
from ase_spinml.io import VaspWarning, read_vasp
from ase_spinml.io.vasp.constraint import FACTORS
from ase_spinml.models.labels import read_labels
from ase_spinml.moments import get_moments, get_spins, transverse

SYMBOLS = ("Fe", "Fe", "Pt")
ELECTRONS = Electrons()
TARGETS = np.array([[0.0, 0, 2.0], [1.2, 0.3, -1.5], [0, 0, 0]])


def incar(mode=1, lam=20.0, targets=TARGETS, saxis=None, extra=""):
    tags = f"LNONCOLLINEAR = .TRUE.\nI_CONSTRAINED_M = {mode}  ! the mode\nLAMBDA = {lam}\n{extra}"
    if targets is not None:
        tags += "M_CONSTR = " + " ".join(f"{x:.10f}" for x in np.ravel(targets)) + "\n"
    return tags if saxis is None else tags + f"SAXIS = {saxis[0]} {saxis[1]} {saxis[2]}\n"


def poscar(sample):
    rows = "\n".join(" ".join(map(str, row)) for row in sample.cell)
    atoms = "\n".join(" ".join(map(str, row)) for row in sample.positions[0])
    species, counts = sample.counts
    return f"x\n1.0\n{rows}\n{' '.join(species)}\n{' '.join(map(str, counts))}\nCartesian\n{atoms}\n"


def write_run(folder, mode=1, lam=20.0, saxis=(0, 0, 1), names=("OUTCAR", "INCAR"), steps=1, **changes):
    """A constrained run whose numbers come from made-up electrons; ``changes`` replace what OSZICAR says."""
    electrons = ELECTRONS
    moments, penalty, printed = electrons.solve(mode, lam, TARGETS)
    turn = vasp.rotation(saxis)
    sample = vasp.make_sample(steps=steps, saxis=saxis, symbols=SYMBOLS)
    sample.free = np.full(steps, np.round(electrons.energy(moments) + penalty, 8))
    told = {"penalty": penalty, "lam": lam, "smooth": moments @ turn, "fields": printed @ turn, "constrained": [0, 1]}
    told |= changes
    for name in ("penalty", "smooth", "fields"):
        told[name] = None if told[name] is None else np.repeat(np.array(told[name])[None], steps, axis=0)
    folder.mkdir(exist_ok=True)
    (folder / "OSZICAR").write_text(vasp.oszicar(sample, **told))
    texts = {
        "OUTCAR": vasp.outcar(sample),
        "vasprun.xml": vasp.vasprun(sample, {"I_CONSTRAINED_M": mode, "LAMBDA": lam}),
        "INCAR": incar(mode, lam, TARGETS @ turn, saxis),
        "POSCAR": poscar(sample),
    }
    for name in names:
        (folder / name).write_text(texts[name])
    return electrons, moments, penalty, sample


# --- factor and sign ---


@pytest.mark.parametrize("mode", [1, 2, 4])
@pytest.mark.parametrize("saxis", [(0, 0, 1), (1, -1, 2)])
def test_fields_are_minus_the_derivative_of_the_energy(tmp_path, mode, saxis):
    """The factor table, against central differences of the energy without penalty."""
    electrons, moments, penalty, _ = write_run(tmp_path, mode, saxis=saxis)
    frame = read_vasp(tmp_path, max_angle=90, max_penalty=1)[0]
    np.testing.assert_allclose(get_moments(frame), moments, atol=1e-6)
    expected = transverse(-electrons.gradient(moments), get_spins(frame))
    known = frame.arrays["field_known"]
    assert known.tolist() == [True, True, False]
    assert np.abs(expected[known]).min(axis=1).max() > 1e-3
    np.testing.assert_allclose(frame.arrays["exchange_fields"][known], expected[known], atol=2e-5)
    assert np.isnan(frame.arrays["exchange_fields"][~known]).all()
    assert frame.calc.results["free_energy"] == pytest.approx(electrons.energy(moments), abs=2e-6)
    assert frame.info["penalty_energy"] == pytest.approx(penalty, rel=1e-4)


def test_the_longitudinal_field_of_mode_2_is_kept_apart(tmp_path):
    electrons, moments, _, _ = write_run(tmp_path, 2)
    frame = read_vasp(tmp_path, max_angle=90, max_penalty=1)[0]
    np.testing.assert_allclose(frame.arrays["constraint_fields"][:2], -electrons.gradient(moments)[:2], atol=2e-5)
    along = np.einsum("ia,ia->i", frame.arrays["exchange_fields"], get_spins(frame))[:2]
    np.testing.assert_allclose(along, 0, atol=1e-12)


def test_factors_are_those_of_the_derivation():
    assert FACTORS == {1: 2.0, 2: 2.0, 4: 1.0}


def test_energies_before_and_after_are_kept(tmp_path):
    _, _, penalty, sample = write_run(tmp_path)
    frame = read_vasp(tmp_path, max_angle=90, max_penalty=1)[0]
    assert frame.info["free_energy_with_penalty"] == pytest.approx(sample.free[0], abs=1e-8)
    assert frame.info["energy_with_penalty"] == pytest.approx(sample.zero[0], abs=1e-8)
    for name in ("energy", "free_energy"):
        difference = frame.info[f"{name}_with_penalty"] - frame.calc.results[name]
        assert difference == pytest.approx(penalty, rel=1e-4)
        assert frame.info[f"{name}_without_penalty"] == frame.calc.results[name]
    assert frame.info["constraint_mode"] == 1
    assert frame.info["lambda"] == 20.0
    np.testing.assert_allclose(frame.arrays["target_moments"], TARGETS, atol=1e-9)


@pytest.mark.parametrize("source", ["M_int", "PAW"])
def test_other_moments_keep_the_torque(tmp_path, source):
    """m x H is the torque of MW_int whatever length the moment is given."""
    write_run(tmp_path)
    frame = read_vasp(tmp_path, max_angle=90, max_penalty=1)[0]
    other = read_vasp(tmp_path, moments=source, max_angle=90, max_penalty=1)[0]
    assert other.info["moments_source"] == source
    m, h = get_moments(other), other.arrays["exchange_fields"]
    if source == "M_int":  # parallel to MW_int in the sample
        torque = np.cross(get_moments(frame), frame.arrays["exchange_fields"])
        np.testing.assert_allclose(np.cross(m, h)[:2], torque[:2], atol=1e-10)
    lengths = np.linalg.norm(get_moments(frame), axis=1) / np.linalg.norm(m, axis=1)
    rows = transverse(frame.arrays["constraint_fields"], get_spins(other)) * lengths[:, None]
    np.testing.assert_allclose(h[:2], rows[:2], atol=1e-12)


def test_training_reads_known_fields_and_passes_over_unknown_ones(tmp_path):
    write_run(tmp_path)
    labels = read_labels(read_vasp(tmp_path, max_angle=90, max_penalty=1)[0])
    assert labels.labelled_spins.tolist() == [True, True, False]
    assert labels.energy is not None


SOURCES = [("vasprun.xml",), ("vasprun.xml", "INCAR"), ("POSCAR", "INCAR"), ("OUTCAR", "INCAR")]


@pytest.mark.parametrize("names", SOURCES)
def test_any_file_with_the_structure_will_do(tmp_path, names):
    _, moments, _, sample = write_run(tmp_path, names=names)
    frame = read_vasp(tmp_path, max_angle=90, max_penalty=1)[0]
    np.testing.assert_allclose(get_moments(frame), moments, atol=1e-6)
    np.testing.assert_allclose(frame.positions, sample.positions[0], atol=1e-5)
    assert frame.arrays["field_known"].tolist() == [True, True, False]


def test_lambda_is_not_read_from_the_parameters(tmp_path):
    """vasprun.xml lists LAMBDA = 1 there, whatever the run."""
    write_run(tmp_path, names=("vasprun.xml",))
    text = (tmp_path / "vasprun.xml").read_text()
    assert '<i name="LAMBDA">      1.00000000</i>' in text
    (tmp_path / "vasprun.xml").write_text(text.replace('  <i name="LAMBDA">  20.0</i>\n', ""))
    assert read_vasp(tmp_path, max_angle=90, max_penalty=1)[0].info["lambda"] == 20.0


# --- what is refused ---


def test_the_mode_is_not_guessed(tmp_path):
    write_run(tmp_path, names=("OUTCAR",))
    with pytest.raises(InputError, match=r"Expected I_CONSTRAINED_M in INCAR or vasprun.xml of a run with a penalty"):
        read_vasp(tmp_path)
    frame = read_vasp(tmp_path, constraint=1, max_angle=90, max_penalty=1)[0]
    assert frame.info["constraint_mode"] == 1
    assert "target_moments" not in frame.arrays


def test_a_constrained_run_needs_its_oszicar(tmp_path):
    write_run(tmp_path)
    with pytest.raises(InputError, match="Expected OSZICAR of a run with I_CONSTRAINED_M = 1, got none"):
        read_vasp(tmp_path / "OUTCAR")
    frame = read_vasp(tmp_path / "OUTCAR", constraint=False)[0]
    assert "penalty_energy" not in frame.info
    assert "exchange_fields" not in frame.arrays


def test_the_constraint_can_be_left_alone(tmp_path):
    _, _, _, sample = write_run(tmp_path)
    frame = read_vasp(tmp_path, constraint=False)[0]
    assert frame.calc.results["free_energy"] == pytest.approx(sample.free[0])
    assert "exchange_fields" not in frame.arrays


def test_unknown_modes_are_refused(tmp_path):
    write_run(tmp_path)
    (tmp_path / "INCAR").write_text(incar(3))
    with pytest.raises(InputError, match=r"Expected I_CONSTRAINED_M of 1, 2 or 4, got 3: the field of other modes"):
        read_vasp(tmp_path)


def test_the_users_word_may_not_contradict_the_files(tmp_path):
    write_run(tmp_path)
    with pytest.raises(InputError, match="Expected constraint=1 as I_CONSTRAINED_M in the files, got 4"):
        read_vasp(tmp_path, constraint=4)


@pytest.mark.parametrize("tag", ["I_CONSTRAINED_M = 4\nLAMBDA = 20", "I_CONSTRAINED_M = 1\nLAMBDA = 10"])
def test_tags_of_different_files_must_agree(tmp_path, tag):
    write_run(tmp_path, names=("vasprun.xml",))
    (tmp_path / "INCAR").write_text(f"LNONCOLLINEAR = T\n{tag}\n")
    with pytest.raises(InputError, match=r"Expected the same (I_CONSTRAINED_M|LAMBDA) in vasprun.xml and INCAR"):
        read_vasp(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (incar(lam=10.0), "Expected lambda = 10 of INCAR in OSZICAR, got 20"),
        (incar(targets=TARGETS[:2]), "Expected 9 numbers for M_CONSTR, got 6"),
        (incar(targets=TARGETS[::-1]), r"Expected lambda\*MW_perp of the 2 atoms with M_CONSTR in step 1"),
        (incar(extra="SCTYPE = 1\n"), "Expected a run of VASP, got SCTYPE in INCAR, a tag of DeltaSpin"),
        (incar(extra="LAMBDA = 3\n"), "Expected LAMBDA once in INCAR, got '20.0' and '3'"),
    ],
)
def test_incar_of_another_run_is_refused(tmp_path, text, message):
    write_run(tmp_path, names=("OUTCAR",))
    (tmp_path / "INCAR").write_text(text)
    with pytest.raises(InputError, match=message):
        read_vasp(tmp_path)


def test_a_collinear_run_has_no_vector_constraint(tmp_path):
    sample = vasp.make_sample(steps=1, spin=vasp.COLLINEAR)
    moments = np.zeros((1, 3, 3))
    (tmp_path / "OUTCAR").write_text(vasp.outcar(sample))
    (tmp_path / "OSZICAR").write_text(vasp.oszicar(sample, [1e-4], 20.0, moments, moments))
    (tmp_path / "INCAR").write_text(incar(targets=None))
    with pytest.raises(InputError, match="Expected a noncollinear run where I_CONSTRAINED_M = 1, got one of spin"):
        read_vasp(tmp_path)


def test_oszicar_without_its_last_table_is_refused(tmp_path):
    write_run(tmp_path)
    text = (tmp_path / "OSZICAR").read_text()
    (tmp_path / "OSZICAR").write_text(text[: text.rindex("\n E_p") + 1])
    with pytest.raises(InputError, match=r"Expected lambda\*MW_perp of ionic step 1 in OSZICAR of a constrained run"):
        read_vasp(tmp_path)


def test_moments_of_another_number_of_atoms_are_refused(tmp_path):
    write_run(tmp_path)
    other = vasp.make_sample(steps=1)
    other.free[:] = float(read_vasp(tmp_path, constraint=False)[0].calc.results["free_energy"])
    text = vasp.oszicar(other, [1e-4], 20.0, np.ones((1, 2, 3)), np.ones((1, 2, 3)))
    (tmp_path / "OSZICAR").write_text(text)
    with pytest.raises(InputError, match="Expected MW_int of 3 atoms in OSZICAR, got 2"):
        read_vasp(tmp_path)


def test_oszicar_of_deltaspin_is_refused(tmp_path):
    write_run(tmp_path)
    (tmp_path / "OSZICAR").write_text("ion             MW_current                 delta_MW\n")
    with pytest.raises(InputError, match="Expected an OSZICAR of VASP in OSZICAR, got one of DeltaSpin"):
        read_vasp(tmp_path)


# --- what is told ---


def test_moments_far_from_their_targets_are_told(tmp_path):
    write_run(tmp_path, lam=0.5)
    with pytest.warns(VaspWarning, match=r"moments are up to \d+\.\d\d degrees from their targets \(atom \d, step 1\)"):
        read_vasp(tmp_path, max_penalty=1)


def test_a_large_penalty_is_told(tmp_path):
    _, _, penalty, _ = write_run(tmp_path)
    with pytest.warns(VaspWarning, match=rf"the penalty E_p is up to {penalty:.4g}\d* eV \(step 1\), more than"):
        read_vasp(tmp_path, max_angle=90, max_penalty=1e-9)


def test_several_steps_give_one_warning(tmp_path):
    write_run(tmp_path, steps=4)
    with pytest.warns(VaspWarning) as told:
        frames = read_vasp(tmp_path, max_angle=90, max_penalty=1e-9)
    assert len(told) == 1
    assert "in 4 of 4 ionic steps (1, 2, 3, 4)" in str(told[0].message)
    assert len(frames) == 4


@pytest.mark.parametrize("names", [("OUTCAR", "INCAR"), ("vasprun.xml", "INCAR")])
def test_empty_spheres_are_told(tmp_path, names):
    """RWIGS left at -1: MW_int is zero and nothing was constrained."""
    nothing = np.zeros((3, 3))
    write_run(tmp_path, names=names, penalty=0.0, smooth=nothing, fields=nothing)
    with pytest.warns(VaspWarning) as told:
        frame = read_vasp(tmp_path)[0]
    assert "MW_int is zero in 1 of 1 ionic steps (1), so nothing was constrained" in str(told[0].message) + str(
        told[-1].message
    )
    assert not frame.arrays["field_known"].any()
    if "OUTCAR" in names:
        assert frame.info["moments_source"] == "PAW"
        assert np.isnan(frame.arrays["exchange_fields"]).all()
    else:
        assert "initial_magmoms" not in frame.arrays


def test_a_penalty_that_does_not_fit_its_fields_is_told(tmp_path):
    write_run(tmp_path, penalty=0.1)
    with pytest.warns(VaspWarning, match=r"the penalty E_p = 0.1 eV of step 1 does not fit the printed fields"):
        read_vasp(tmp_path, max_angle=90, max_penalty=1)


def test_fields_that_do_not_fit_the_moments_are_told(tmp_path):
    _, _, printed = ELECTRONS.solve(1, 20.0, TARGETS)
    write_run(tmp_path, fields=printed + 0.3 * np.eye(3)[[0, 0, 0]] * [[1], [0], [0]])
    with pytest.warns(VaspWarning) as told:
        read_vasp(tmp_path, max_angle=90, max_penalty=1)
    assert "does not fit the printed fields" in str(told[0].message)
    assert "the printed field of atom 0, step 1, of 0.3" in str(told[1].message)


@pytest.mark.parametrize("mode", [1, 2, 4])
def test_a_tight_run_is_read_without_a_word(tmp_path, mode):
    write_run(tmp_path, mode, lam=200.0)
    read_vasp(tmp_path)
