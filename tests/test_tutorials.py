"""Every tutorial runs to its end as a script; each checks its own numbers there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "tutorials"
ELSEWHERE = {"07_quippy_gap_plus_soso"}  # test_quippy.py runs these and looks at what they leave behind
LONG = {"12_chiral_domains", "13_phase_separation", "15_amorphous_magnet", "16_skyrmion_crystal"}  # over a minute
SCRIPTS = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.physical] if path.stem in LONG else [])
    for path in sorted(FOLDER.glob("*.py"))
    if path.stem not in ELSEWHERE
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_tutorial_runs_to_its_end(script, tmp_path):
    environment = {**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(tmp_path.iterdir()), "a tutorial leaves no files where it was started"


def test_tutorials_run_elsewhere_exist():
    assert {path.stem for path in FOLDER.glob("*.py")} >= ELSEWHERE | LONG
