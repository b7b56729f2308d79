# Each target makes its own virtual environment when needed; nothing else has to be installed by hand.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := -m pip --disable-pip-version-check --quiet
# A venv of its own for the demo: it installs the core only, as a user would.
DEMO   := $(VENV)-demo

.PHONY: demo test test-long lint bench reference clean

demo: $(DEMO)/.installed
	$(DEMO)/bin/tollbook demo

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not long"

test-long: $(VENV)/.installed
	$(BIN)/python -m pytest -m long --timeout 3600

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks

# Writes docs/reference and its schemas anew from the code; a test compares.
reference: $(VENV)/.installed
	$(BIN)/python -m tests.reference

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) install -c constraints.txt -e '.[dev]'
	touch $@

$(DEMO)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python $(PIP) install -c constraints.txt -e .
	touch $@

clean:
	rm -rf $(VENV) $(DEMO) build dist src/*.egg-info
