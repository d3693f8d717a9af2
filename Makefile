# Every target makes .venv with pip when it is missing and reuses it when it is current.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OLDEST := .venv-oldest
PYTEST := $(BIN)/python -m pytest --doctest-modules tests skclif
DATA ?= auto
OUT ?= demo-report

.PHONY: help setup demo test test-fast test-full test-oldest mutants check format lint \
	types coverage docs build benchmarks clean

help: ## say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

setup: $(READY) ## make the environment

# One call to pip, so that the constraints hold for everything it pulls in. Modules are
# compiled when they are first imported, which most of 17,000 never are.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt \
		--editable ".[all]" --group dev
	touch $@

demo: $(READY) ## run the main job end to end; DATA=auto|cebab|generated
	$(BIN)/skclif demo --data $(DATA) --out $(OUT)

test: $(READY) ## run tests, doctests, examples, documentation
	$(PYTEST) -m "not full" $(PYTEST_ARGS)

test-fast: $(READY) ## run what takes less than two minutes
	$(PYTEST) -m "not slow and not full" $(PYTEST_ARGS)

test-full: $(READY) ## run everything, the whole matrices and all kills too
	SKCLIF_KILLS=$${SKCLIF_KILLS:-1} $(PYTEST) $(PYTEST_ARGS)

mutants: $(READY) ## see which deliberate faults the tests catch; takes about 20 minutes
	$(BIN)/python -m tests.mutants

# In an environment of its own, made anew: pip does not go back to older versions.
test-oldest: ## run the quick tests on the oldest dependencies that are allowed
	$(PYTHON) -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(PYTHON) .ci/oldest.py > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/python -m pip install --quiet --constraint $(OLDEST)/constraints.txt \
		--editable ".[all]" --group test
	$(OLDEST)/bin/python -m pytest -m "not slow and not full" tests $(PYTEST_ARGS)

check: lint types coverage ## run all checks

format: $(READY) ## format the code
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

lint: $(READY) ## check format and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY) ## check types of the numerics and results
	$(BIN)/mypy

# Not in .ci/run, where a minute counts: that is what it takes on two cores.
coverage: $(READY) ## run tests, and hold branch coverage at 95 %
	$(PYTEST) -m "not full" \
		--cov --cov-report term-missing:skip-covered --cov-fail-under 95 $(PYTEST_ARGS)

docs: $(READY) ## build the documentation; warnings are errors
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

benchmarks: $(READY) ## measure again what the documentation quotes; needs SKCLIF_DATA
	$(BIN)/python -m benchmarks run all

build: $(READY) ## build wheel and source archive
	$(BIN)/python -m build --outdir dist .

clean: ## remove what was made, the environment too
	rm -rf $(VENV) $(OLDEST) .cache build dist docs/_build docs/generated $(OUT)
