"""The examples in docstrings print what they say, and every public name has one."""

import doctest
import importlib

import pytest
from conftest import REPOSITORY

import ase_spinml
from ase_spinml import analysis

RESULTS = {"CurieResult", "CurlReport", "DynamicStructureFactor", "Estimate", "ThermalAverages"}
"""Classes that functions return; the examples are with those."""
MINUTES = {"curie_temperature"}
"""Functions whose shortest honest example takes too long; tutorials have them."""
MODULES = [
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    for path in sorted(REPOSITORY.glob("ase_spinml/**/*.py"))
    if ">>> " in path.read_text()
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    report = []
    runner = doctest.DocTestRunner(verbose=False)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, globs={}):
        runner.run(test, out=report.append)
    assert runner.tries > 0
    assert not runner.failures, "".join(report)


@pytest.mark.parametrize(
    ("package", "name"),
    [(package, name) for package in (ase_spinml, analysis) for name in package.__all__],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_every_public_name_has_an_example(package, name):
    if name not in RESULTS | MINUTES:
        assert doctest.DocTestParser().get_examples(getattr(package, name).__doc__)


def test_a_wrong_example_would_be_noticed():
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    assert doctest.DocTestRunner(verbose=False).run(wrong, out=lambda line: None).failed == 1
