"""The page on the command line: its examples run one after another and print what the page says."""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys

import pytest
from conftest import REPOSITORY

from ase_spinml import cli

PAGE = REPOSITORY / "docs" / "command_line.rst"
SKIPPED = ("--help", "completion")
NUMBER = re.compile(r"^-?\d+(\.\d+)?(e-?\d+)?$")


def examples():
    """(command, printed lines) of all console blocks, and settings of the YAML block, in order."""
    text = PAGE.read_text()
    settings = re.search(r"# pairs.yaml\n(?:    .*\n)+", text)[0]
    blocks = re.findall(r"\.\. code-block:: console\n\n((?:    .*\n)+)", text)
    found = []
    for line in (line[4:] for block in blocks for line in block.splitlines()):
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return re.sub("(?m)^    ", "", settings), [e for e in found if not any(word in e[0] for word in SKIPPED)]


def printed_by(command):
    """What a command prints, on both streams: commands of this package in this process, others in a shell."""
    if not command.startswith("ase-spinml "):
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
        done = subprocess.run(command, shell=True, capture_output=True, text=True, env=os.environ | {"PATH": path})
        assert done.returncode == 0, done.stderr
        return done.stdout
    printed, progress = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(progress):
        cli.main(shlex.split(command)[1:])
    return printed.getvalue() + progress.getvalue()


def close(word, other):
    """Whether two words are the same, or numbers that differ by no more than processors do."""
    if not (NUMBER.match(word) and NUMBER.match(other)):
        return word == other
    return float(word) == pytest.approx(float(other), rel=0.03, abs=0.03)


def test_the_page_prints_what_the_commands_print(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings, commands = examples()
    (tmp_path / "pairs.yaml").write_text(settings)
    assert len(commands) > 15
    for command, expected in commands:
        found = [line.rstrip() for line in printed_by(command).splitlines() if line.strip()]
        assert len(found) == len(expected), (command, found)
        for line, wanted in zip(found, expected, strict=True):
            words, others = line.split(), wanted.split()
            assert len(words) == len(others), (command, line)
            assert all(map(close, words, others)), (command, line, wanted)
    assert all((tmp_path / name).exists() for name in ("fe300.gif", "ovito.xyz", "relaxed.xyz", "spins.png"))


def test_every_command_has_its_section():
    text = PAGE.read_text()
    for command in ("demo", "fit", "evaluate", "run", "convert", "plot", "info"):
        assert re.search(rf"(?m)^[^\n]*\b{command}\n-+$", text)
