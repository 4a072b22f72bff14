"""What a user installs: archives with everything in them, a light import, data that is what its description says."""

import shutil
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from conftest import REPOSITORY

import ase_spinml
from ase_spinml.moments import get_moments, get_spins


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Source archive and, built from it, the wheel."""
    root = tmp_path_factory.mktemp("package")
    shutil.copytree(
        REPOSITORY,
        root / "source",
        ignore=shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "_build", "demo-output"),
    )
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(root / "dist"), str(root / "source")]
    subprocess.run(build, check=True, capture_output=True)
    return next(root.glob("dist/*.tar.gz")), next(root.glob("dist/*.whl"))


def test_archives_hold_data_and_description(archives):
    with tarfile.open(archives[0]) as sdist, zipfile.ZipFile(archives[1]) as wheel:
        source = {name.split("/", 1)[-1] for name in sdist.getnames()}
        installed = set(wheel.namelist())
    modules = {str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("ase_spinml/**/*.py")}
    data = {"ase_spinml/data/fe_dft.extxyz", "ase_spinml/data/README.md"}
    assert modules | data <= source
    assert modules | data <= installed
    extras = {"README.md", "CHANGELOG.md", "LICENSE", "Makefile", "constraints.txt", "setup.cfg", "tests/conftest.py"}
    assert extras <= source
    assert not [name for name in installed if name.startswith("tests")]


def test_the_wheel_declares_its_metadata(archives):
    with zipfile.ZipFile(archives[1]) as wheel:
        folder = f"ase_spinml-{ase_spinml.__version__}.dist-info"
        metadata = wheel.read(f"{folder}/METADATA").decode()
        scripts = wheel.read(f"{folder}/entry_points.txt").decode()
        assert f"{folder}/licenses/LICENSE" in wheel.namelist()
    assert "License-Expression: MIT" in metadata
    assert "Requires-Python: >=3.11" in metadata
    for extra in ("gap", "vasp", "plot", "test", "docs", "all"):
        assert f"Provides-Extra: {extra}\n" in metadata
    assert "ase-spinml = ase_spinml.cli:main" in scripts


def test_the_import_is_light():
    code = (
        "import sys, ase_spinml; "
        "print([name for name in ('torch', 'matplotlib', 'quippy', 'sklearn', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ase_spinml.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(ase_spinml, name).__doc__
    assert name in dir(ase_spinml)


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'ase_spinml' has no attribute 'nonsense'"):
        _ = ase_spinml.nonsense


def test_pins_cover_what_the_package_requires():
    pins = {line.split("==")[0].lower() for line in (REPOSITORY / "constraints.txt").read_text().splitlines()}
    required = [
        "ase",
        "numpy",
        "scipy",
        "scikit-learn",
        "skmatter",
        "torch",
        "sphericart-torch",
        "vesin",
        "safetensors",
    ]
    assert set(required) | {"tqdm", "matplotlib", "quippy-ase", "pytest", "ruff", "sphinx", "setuptools"} <= pins
    assert "torch==2.13.0\n" in (REPOSITORY / "constraints.txt").read_text()


def test_shipped_data_is_what_its_description_says(fe_dft):
    assert len(fe_dft) == 88
    assert {len(frame) for frame in fe_dft} == {2, 4}
    for frame in fe_dft:
        fields, spins = frame.arrays["exchange_fields"], get_spins(frame)
        assert frame.get_forces().shape == get_moments(frame).shape == fields.shape
        np.testing.assert_allclose(np.sum(fields * spins, axis=1), 0, atol=1e-6)
    reference = [frame.get_potential_energy() / len(frame) for frame in fe_dft]
    assert min(reference) == pytest.approx(-759.260017, abs=0.02)


@pytest.mark.data
@pytest.mark.parametrize(("name", "count"), [("fe16", 60), ("fe128", 10), ("fege64", 70), ("nio32", 110)])
def test_shared_data_follows_the_conventions(shared_frames, name, count):
    frames = shared_frames(name)
    assert len(frames) == count
    for frame in frames[:5]:
        assert get_moments(frame).shape == frame.arrays["exchange_fields"].shape
