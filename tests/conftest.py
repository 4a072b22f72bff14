"""Fixtures that several test files use."""

from pathlib import Path

import pytest
from ase.io import read

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_frames():
    """Function of a name: frames of the third-party data set beside the repository; skips where it is absent.

    For tests marked ``data``: ``frames = shared_frames("fe16")``.
    """

    def load(name):
        path = REPOSITORY.parent / "shared" / "data" / f"{name}.extxyz"
        if not path.exists():
            pytest.skip(f"third-party data {name}.extxyz is not in ../shared/data")
        return read(path, ":")

    return load


@pytest.fixture(scope="session")
def fe_dft():
    """Frames of the data set of bcc iron that the package ships."""
    return read(REPOSITORY / "ase_spinml" / "data" / "fe_dft.extxyz", ":")
