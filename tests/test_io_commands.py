"""The formats on the command line (``ase-spinml convert``, ``info``) and in ASE (``ase.io``, ``ase convert``)."""

import subprocess
import sys
from importlib.metadata import entry_points

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.io.formats import ioformats
from spin_samples import ABACUS_SCF, TB2J, UPPASD, VAMPIRE, labelled_frames

import ase_spinml.io
from ase_spinml import cli
from ase_spinml.errors import InputError
from ase_spinml.io import guess_format, read_any, read_frames, write_any, write_frames
from ase_spinml.io.formats import FORMATS
from ase_spinml.io.summary import describe

PLUGINS = {entry.name for entry in entry_points(group="ase.ioformats") if entry.value.startswith("ase_spinml.")}
installed = pytest.mark.skipif(not PLUGINS, reason="the package is not installed, so ASE has no entry points of it")


@pytest.fixture(scope="module")
def frames():
    return labelled_frames(6)


@pytest.fixture
def file(frames, tmp_path):
    write_frames(tmp_path / "a.xyz", frames)
    return tmp_path / "a.xyz"


@pytest.mark.parametrize("name", [name for name in ase_spinml.io.__all__ if not name.endswith("Warning")])
def test_every_public_name_can_be_imported(name):
    assert getattr(ase_spinml.io, name).__doc__
    assert name in dir(ase_spinml.io)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.xyz", "extxyz"), ("a.cfg", "mtp"), ("a.lmp", "lammps-data"), ("a.dump", "lammps-dump"), ("a.traj", "traj")],
)
def test_names_of_files_tell_the_format(name, kind, frames, tmp_path):
    write_any(tmp_path / name, frames[:1])
    assert guess_format(tmp_path / name) == kind


def test_contents_tell_the_format(frames, tmp_path):
    for name in ("mace", "gpumd", "deepmd", "deepmd-raw", "mtp", "lammps-dump"):
        write_any(tmp_path / name, frames, name)
        assert guess_format(tmp_path / name) == name.removesuffix("-raw")
    for name, text in {"abacus": ABACUS_SCF, "tb2j": TB2J, "spirit": "bravais_lattice sc\n"}.items():
        (tmp_path / name).write_text(text)
        assert guess_format(tmp_path / name) == name
    (tmp_path / "a.ucf").write_text(VAMPIRE)
    assert guess_format(tmp_path / "a.ucf") == "vampire"
    (tmp_path / "OSZICAR").write_text(" MW_current\n")
    assert guess_format(tmp_path / "OSZICAR") == "deltaspin"
    (tmp_path / "OSZICAR").write_text(" MW_int\n")
    assert guess_format(tmp_path / "OSZICAR") == "vasp"
    for name, text in UPPASD.items():
        (tmp_path / name).write_text(text)
    assert guess_format(tmp_path) == "uppasd"


def test_what_cannot_be_guessed_is_asked_for(frames, tmp_path):
    (tmp_path / "a").write_text("something\n")
    with pytest.raises(InputError, match=r"Expected a file whose format shows, got .*: name the format, one of extxyz"):
        guess_format(tmp_path / "a")
    with pytest.raises(
        InputError, match="Expected a file name that tells the format, got 'b': name the format, one of"
    ):
        write_any(tmp_path / "b", frames)
    with pytest.raises(InputError, match=r"Expected a format among extxyz, .*, got 'xml'"):
        read_any(tmp_path / "a", "xml")
    with pytest.raises(InputError, match="Expected a format for frames, got tb2j for exchange: choose one of extxyz"):
        write_any(tmp_path / "b", frames, "tb2j")
    with pytest.raises(InputError, match="Expected a format that can be written, got abacus: choose one of extxyz"):
        write_any(tmp_path / "b", frames, "abacus")
    with pytest.raises(InputError, match="Expected no option species to read extxyz, got some: leave them out"):
        read_any(tmp_path / "a", "extxyz", species=["Fe"])
    with pytest.raises(InputError, match="Expected one frame for a LAMMPS data file, got 6"):
        write_any(tmp_path / "b.lmp", frames)


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


def test_convert(file, frames, tmp_path, capsys):
    assert run("convert", file, tmp_path / "system", "--to", "deepmd") == 0
    assert capsys.readouterr().out == f"6 frames written to {tmp_path / 'system'}\n"
    assert run("convert", tmp_path / "system", tmp_path / "b.cfg") == 0
    assert run("convert", tmp_path / "b.cfg", tmp_path / "c.xyz", "--species", "Co", "--to", "mace") == 0
    assert run("convert", tmp_path / "c.xyz", tmp_path / "d.xyz") == 0
    found = read_frames(tmp_path / "d.xyz")
    assert found[0].get_chemical_formula() == "Co4"
    np.testing.assert_allclose(
        found[5].arrays["exchange_fields"], frames[5].arrays["exchange_fields"], atol=2e-8
    )  # eight decimals, twice
    capsys.readouterr()
    assert run("convert", file, tmp_path / "d.xyz") == 1
    assert capsys.readouterr().err == (
        f"ase-spinml convert: Expected a new output, got {tmp_path / 'd.xyz'}, which exists: --force replaces it.\n"
    )
    assert run("convert", file, tmp_path / "d.xyz", "--force") == 0
    assert run("convert", file, file, "--force") == 1
    assert run("convert", file, tmp_path / "system", "--to", "deepmd", "--force") == 1
    assert "Expected a new or empty folder" in capsys.readouterr().err


def test_convert_exchange(tmp_path, capsys):
    (tmp_path / "exchange.out").write_text(TB2J)
    assert run("convert", tmp_path / "exchange.out", tmp_path / "a.ucf") == 0
    assert run("convert", tmp_path / "a.ucf", tmp_path / "asd", "--to", "uppasd") == 0
    assert run("info", tmp_path / "asd", "--species", "Mn") == 0
    printed = capsys.readouterr().out
    assert "crystal: Mn, 2 couplings listed from both ends" in printed
    assert "largest DMI 0.7483 meV" in printed  # twice the length of (0.1, 0.2, -0.3)
    assert run("convert", tmp_path / "a.ucf", tmp_path / "b.xyz") == 1
    assert "name the format, one of tb2j, uppasd, vampire, spirit" in capsys.readouterr().err


def test_convert_tells_warnings_and_lifts_collinear_moments(tmp_path, capsys):
    write_frames(tmp_path / "a.xyz", bulk("Fe", cubic=True))
    assert run("convert", tmp_path / "a.xyz", tmp_path / "b.cfg", "--axis", "0,0,x") == 1
    assert "Expected --axis as three numbers, got '0,0,x': write --axis 0,0,1" in capsys.readouterr().err
    text = (tmp_path / "a.xyz").read_text().replace("collinear_magmoms", "initial_magmoms")
    (tmp_path / "c.xyz").write_text(text)
    assert run("convert", tmp_path / "c.xyz", tmp_path / "b.cfg", "--axis", "0,0,1") == 0
    np.testing.assert_allclose(read_any(tmp_path / "b.cfg")[0].get_initial_magnetic_moments()[0], [0, 0, 2.3])
    (tmp_path / "running_scf.log").write_text(ABACUS_SCF.replace("density convergence is", "nothing is"))
    assert run("convert", tmp_path / "running_scf.log", tmp_path / "d.xyz") == 0
    assert capsys.readouterr().err.splitlines()[-1].startswith("ase-spinml convert: warning: step 1 of")
    assert run("convert", tmp_path / "running_scf.log", tmp_path / "e.xyz", "--transverse") == 0
    whole, frame = (read_frames(tmp_path / name)[0] for name in ("d.xyz", "e.xyz"))
    moment, field = frame.arrays["initial_magmoms"][0], frame.arrays["exchange_fields"][0]
    assert moment @ field == pytest.approx(0, abs=1e-8)
    assert abs(moment @ whole.arrays["exchange_fields"][0]) > 1e-3
    assert np.cross(moment, field) == pytest.approx(np.cross(moment, whole.arrays["exchange_fields"][0]), abs=1e-7)


def test_damaged_files_on_request(file, tmp_path, capsys):
    file.write_bytes(file.read_bytes()[:-40])
    assert run("info", file) == 1
    assert capsys.readouterr().err.startswith("ase-spinml info: Expected ")
    assert run("convert", file, tmp_path / "b.cfg", "--keep-damaged") == 0
    assert capsys.readouterr().out.startswith("5 frames written")


def test_info(file, capsys):
    assert run("info", file) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "frames: 6 (6 x Fe4), species: Fe"
    assert lines[1].startswith("energy (eV/atom): 6 of 6 frames, ")
    assert [line.partition(":")[0] for line in lines[2:]] == [
        "|force| (eV/A)",
        "stress (eV/A^3)",
        "|moment| (mu_B)",
        "|field| (eV/mu_B)",
        "part of the fields along the moments",
        "label check",
    ]
    assert run("info", file, "--no-check") == 0
    assert "label check" not in capsys.readouterr().out


def test_info_finds_what_is_suspicious(frames):
    frames = [frame.copy() for frame in labelled_frames(9)]
    energies = [frame.get_potential_energy() for frame in labelled_frames(9)]
    for frame, energy in zip(frames, energies, strict=True):
        frame.calc = ase.calculators.singlepoint.SinglePointCalculator(frame, energy=energy)
    frames[1].calc.results["energy"] += 50
    frames[2].calc = None
    frames[3].arrays["initial_magmoms"] = 0 * frames[3].arrays["initial_magmoms"]
    frames[4].arrays["initial_magmoms"] = 20 * frames[4].arrays["initial_magmoms"]
    frames[5].arrays["exchange_fields"] = 0.1 * frames[5].arrays["initial_magmoms"]
    frames[6].arrays["exchange_fields"] = 0 * frames[6].arrays["initial_magmoms"]
    frames[7].positions[0] = frames[7].positions[1] + 0.1
    frames[8].arrays["exchange_fields"][0] = np.nan
    frames += [frames[0].copy(), bulk("Fe", cubic=True)]
    lines = "\n".join(describe(frames))
    for line in (
        "suspicious: no energy in some frames only: 3 frames (2, 9, 10)",
        "suspicious: no fields in some frames only: 1 frames (10)",
        "suspicious: energy per atom far from the others of the composition: 1 frames (1)",
        "suspicious: all moments zero: 1 frames (3)",
        "suspicious: a moment above 12 mu_B: 1 frames (4)",
        "suspicious: fields parallel to the moments (only their transverse part turns spins): 1 frames (5)",
        "suspicious: fields exactly zero (was a constraint active?): 1 frames (6)",
        "suspicious: atoms closer than 0.5 A: 1 frames (7)",
        "suspicious: duplicates of earlier frames: 1 frames (9)",
        "unknown fields: 1 magnetic atoms (NaN)",
        "collinear moments: 1 frames, one number per atom: lift them with an axis",
    ):
        assert line in lines


@pytest.mark.parametrize("command", ["convert", "info"])
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as caught:
        run(command, "--help")
    assert caught.value.code == 0
    assert f"\n  ase-spinml {command} " in capsys.readouterr().out


@installed
def test_formats_of_ase(frames, tmp_path):
    assert len(PLUGINS) == 11
    for name in (
        "spin-xyz",
        "mace-spin",
        "gpumd-spin",
        "deepmd-spin",
        "deepmd-raw-spin",
        "mtp-spin",
        "lammps-dump-spin",
    ):
        ase.io.write(tmp_path / name, frames, format=name)
        found = ase.io.read(tmp_path / name, ":", format=name)
        assert len(found) == 6
        np.testing.assert_allclose(found[3].arrays["initial_magmoms"], frames[3].arrays["initial_magmoms"], atol=1e-8)
        assert len(ase.io.read(tmp_path / name, "1:3", format=name)) == 2
        np.testing.assert_allclose(ase.io.read(tmp_path / name, format=name).positions, frames[-1].positions, atol=1e-8)
    ase.io.write(tmp_path / "a.lmp", frames[0], format="lammps-spin")
    found = ase.io.read(tmp_path / "a.lmp", format="lammps-spin")
    np.testing.assert_allclose(found.arrays["initial_magmoms"], frames[0].arrays["initial_magmoms"], atol=1e-8)
    assert ase.io.read(tmp_path / "mtp-spin").arrays["exchange_fields"].shape == (4, 3)  # known by its first line
    (tmp_path / "running_scf.log").write_text(ABACUS_SCF)
    assert ase.io.read(tmp_path / "running_scf.log", format="abacus-spin").get_chemical_formula() == "Ni2"
    assert {name for name in PLUGINS if not ioformats[name].can_write} == {"vasp-spin", "abacus-spin", "deltaspin"}


@installed
def test_convert_of_ase(file, tmp_path):
    command = [sys.executable, "-m", "ase", "convert", "-o", "deepmd-spin", str(file), str(tmp_path / "system")]
    subprocess.run(command, check=True, capture_output=True)
    assert len(read_any(tmp_path / "system")) == 6


@installed
def test_ase_stays_light():
    code = "import sys, ase.io; print([name for name in ('torch', 'sklearn', 'vesin') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_every_format_names_functions_that_exist():
    import importlib

    for form in FORMATS.values():
        for function in filter(None, (form.read, form.write)):
            module, _, name = function.rpartition(".")
            assert callable(getattr(importlib.import_module(f"ase_spinml.io.{module}"), name))
