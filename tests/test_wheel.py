"""The wheel that users get: built and installed by pip, and used from another folder than the source."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY

import ase_spinml

LEFT_OUT = (".*", "build", "dist", "*.egg-info", "__pycache__", "_build", "demo-output", "benchmarks", "figures")


def pip(*arguments):
    command = [sys.executable, "-m", "pip", *arguments, "--no-deps", "--quiet", "--disable-pip-version-check"]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that nothing is left in the repository."""
    root = tmp_path_factory.mktemp("wheel")
    shutil.copytree(REPOSITORY, root / "source", ignore=shutil.ignore_patterns(*LEFT_OUT))
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(root), str(root / "source"))
    return next(root.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Folder that holds the installed wheel and nothing else."""
    target = tmp_path_factory.mktemp("installed")
    pip("install", "--no-index", "--target", str(target), str(wheel))
    return target


def run(installed, folder, *arguments):
    """What a Python that finds the installed package first prints."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {Path(name).parts[0] for name in names}
    assert tops == {"ase_spinml", f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"}
    assert {name for name in names if "/data/" in name} == {
        "ase_spinml/data/README.md",
        "ase_spinml/data/fe_dft.extxyz",
    }
    assert not [name for name in names if "test" in name.rsplit("/", 1)[-1] or "__pycache__" in name]


def test_data_are_found_where_the_wheel_is_installed(installed, tmp_path):
    code = (
        "import ase_spinml; from ase_spinml.demo import load_frames; "
        "print(ase_spinml.__file__, len(load_frames()), ase_spinml.SpinGAP.__name__)"
    )
    assert run(installed, tmp_path, "-c", code).split() == [
        str(installed / "ase_spinml" / "__init__.py"),
        "88",
        "SpinGAP",
    ]


def test_the_command_runs_from_the_wheel(installed, tmp_path):
    command = str(installed / "bin" / "ase-spinml")
    printed = run(installed, tmp_path, command, "--help")
    for name in ("demo", "fit", "evaluate", "run", "convert", "plot", "info"):
        assert f"\n    {name} " in printed
    frames = installed / "ase_spinml" / "data" / "fe_dft.extxyz"
    run(installed, tmp_path, command, "convert", str(frames), "frames.xyz")
    assert [path.name for path in tmp_path.iterdir()] == ["frames.xyz"]


def test_ase_finds_the_formats_of_the_wheel(installed, tmp_path):
    code = "from ase.io.formats import ioformats; print(ioformats['spin-xyz'].module_name, 'deepmd-spin' in ioformats)"
    assert run(installed, tmp_path, "-c", code).split() == ["ase_spinml.io.plugin", "True"]


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == ase_spinml.__version__
    assert {"message", "title", "authors", "license"} <= set(citation)
    for reference in citation["references"]:
        assert {"type", "title", "authors", "year"} <= set(reference)
