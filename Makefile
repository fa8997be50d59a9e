# make demo   the main job on a real clip, result in ./echoseg-demo
# make test   the tests
# make check  format, lint and types
# Each makes .venv from constraints.txt first when it is not there yet.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin

# tested in a process of their own: in one, the runtimes' native libraries end in a segmentation
# fault after numba's and torch's (docs/log.md)
FIRST := $(addprefix tests/,contracts data evaluation experiments io measure models nn phantom train)

.PHONY: demo test check format clean

demo: $(READY)
	$(BIN)/echoseg demo -o echoseg-demo --force

test: $(READY)
	$(BIN)/python -m pytest $(FIRST)
	$(BIN)/python -m pytest tests $(addprefix --ignore=,$(FIRST))

check: $(READY)
	$(BIN)/ruff format --check src experiments scripts benchmarks tests
	$(BIN)/ruff check src experiments scripts benchmarks tests
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(READY)
	$(BIN)/ruff format src experiments scripts benchmarks tests
	$(BIN)/ruff check --fix src experiments scripts benchmarks tests

clean:
	rm -rf $(VENV) build dist src/echoseg.egg-info .pytest_cache .ruff_cache

# touched last: an installation that was cut off is done again
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "echoseg needs Python 3.11 or newer, '$(PYTHON)' is not that; give one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make a virtual environment; on Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "making $(VENV) from constraints.txt; the first time this takes a few minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e ".[dev]"
	@touch $@
