# One virtual environment, .venv, pinned by constraints.txt; each extra is installed once and again only when the pins change.
PYTHON ?= python3
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PINS = setup.cfg pyproject.toml constraints.txt

.PHONY: demo test physical lint docs clean

demo: .venv/with-plot
	.venv/bin/ase-spinml demo

test: .venv/with-test,gap,plot,vasp
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -n 2

physical: .venv/with-test,gap,plot,vasp
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -n 2 -m physical

lint: .venv/with-test,gap,plot,vasp
	.venv/bin/ruff check .

docs: .venv/with-docs
	.venv/bin/sphinx-build -W --keep-going -q docs docs/_build/html

clean:
	rm -rf .venv build dist docs/_build demo-output .pytest_cache .ruff_cache *.egg-info

.venv/with-%: .venv/ready $(PINS)
	$(PIP) --no-build-isolation -e ".[$*]"
	touch $@

.venv/ready: constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) setuptools
	touch $@

.PRECIOUS: .venv/with-%
