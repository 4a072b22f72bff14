"""Frames for OVITO: the columns that its XYZ reader turns into arrows."""

import re

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read
from spin_samples import labelled_frames

from ase_spinml import cli
from ase_spinml.errors import InputError
from ase_spinml.io import read_any, write_frames, write_ovito

ARROWS = {"dipoles": "Dipole Orientation", "forces": "Force", "disp": "Displacement", "velo": "Velocity"}
"""Columns of which OVITO 3 makes arrows, in lower case, and its names of the properties."""


def columns(path):
    """Name to (type, number) of the columns that the header announces."""
    words = re.search(r"Properties=(\S+)", path.read_text().splitlines()[1])[1].split(":")
    return {name: (kind, int(count)) for name, kind, count in zip(words[::3], words[1::3], words[2::3], strict=True)}


def test_moments_and_forces_become_arrows(tmp_path):
    frames = labelled_frames(3)
    write_ovito(tmp_path / "a.xyz", frames)
    found = columns(tmp_path / "a.xyz")
    assert found == {"species": ("S", 1), "pos": ("R", 3), "dipoles": ("R", 3), "forces": ("R", 3)}
    assert {ARROWS[name] for name in found if name in ARROWS} == {"Dipole Orientation", "Force"}
    for frame, other in zip(read(tmp_path / "a.xyz", ":"), frames, strict=True):
        np.testing.assert_allclose(frame.arrays["dipoles"], other.arrays["initial_magmoms"], atol=1e-8)
        np.testing.assert_allclose(frame.get_forces(), other.get_forces(), atol=1e-8)
        assert frame.get_potential_energy() == pytest.approx(other.get_potential_energy())


def test_the_canonical_columns_do_not(tmp_path):
    write_frames(tmp_path / "a.xyz", labelled_frames(1))
    assert set(columns(tmp_path / "a.xyz")) & set(ARROWS) == {"forces"}


def test_convert_to_ovito(tmp_path, capsys):
    write_frames(tmp_path / "a.xyz", labelled_frames(2))
    command = ["convert", str(tmp_path / "a.xyz"), str(tmp_path / "b.xyz"), "--to", "ovito"]
    assert cli.main(command) == 0
    assert columns(tmp_path / "b.xyz")["dipoles"] == ("R", 3)
    assert cli.main(["convert", str(tmp_path / "b.xyz"), str(tmp_path / "c.xyz"), "--from", "ovito"]) == 1
    assert "Expected a format that can be read, got ovito: choose one of extxyz, " in capsys.readouterr().err


def test_frames_without_moments_are_refused(tmp_path):
    atoms = bulk("Al")
    with pytest.raises(InputError, match="Expected frames with moments to draw in OVITO, got frame 0 without"):
        write_ovito(tmp_path / "a.xyz", atoms)
    assert not (tmp_path / "a.xyz").exists()
    with pytest.raises(InputError, match="choose one of extxyz"):
        read_any(tmp_path / "a.xyz", "ovito")
