# Two commands for people: `make demo` and `make test`. Both make .venv first; nothing outside this folder is touched.
# `make docs` builds the documentation site: docs/_build/html/index.html.
# `make wheels` collects what a machine without a network needs to install clap-vad[deploy,deep].
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Versions are pinned: the CPU build of torch is 2.13.0, anything looser may bring gigabytes of CUDA.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo test lint types docs check wheels clean

demo: $(VENV)/installed
	$(BIN)/clap demo --out demo-out

test: lint types docs check

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-dev
	$(BIN)/mypy

# Always from nothing: what an earlier build has read would not be checked again.
docs: $(VENV)/installed-dev
	$(BIN)/python -m sphinx --quiet --fresh-env --nitpicky --fail-on-warning --keep-going docs docs/_build/html

check: $(VENV)/installed-dev
# Three processes on two cores: many tests wait for sockets, processes and disks.
	$(BIN)/python -m pytest --numprocesses 3 --dist worksteal

wheels: | $(VENV)/bin/python
	rm -rf wheels
	$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --constraint constraints.txt --wheel-dir wheels ".[deploy,deep]"
	$(BIN)/python packaging/wheelhouse.py wheels

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) torch
	$(PIP) --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) --editable ".[dev,docs,deploy,export,deep]"
	touch $@

clean:
	rm -rf $(VENV) demo-out wheels docs/_build
