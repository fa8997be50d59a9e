# make demo    analyze a simulated and a real clip; results in ./echoseg-demo
# make page    open the page in the browser, with the same two clips
# make test    run the tests on all cores, with coverage
# make check   format, lint and types
# make docs    build the documentation site into ./site
# demo and page install the run-time packages only; test, check and docs add what they need to the same venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CODE := src experiments scripts benchmarks fuzz tests

COVERAGE := --cov=echoseg --cov-report=

.PHONY: demo page test check format docs clean

demo: $(VENV)/.demo
	$(BIN)/echoseg demo -o echoseg-demo --force

page: $(VENV)/.page
	$(BIN)/echoseg serve --demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n logical --dist loadfile $(COVERAGE) tests
	$(BIN)/python -m coverage report --skip-covered --sort=cover | tail -n 25

check: $(VENV)/.dev
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.dev
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

docs: $(VENV)/.dev
	$(BIN)/python -m mkdocs build --strict

clean:
	rm -rf $(VENV) build dist site src/echoseg.egg-info .coverage .pytest_cache .ruff_cache

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "echoseg needs Python 3.11 or newer, '$(PYTHON)' is older; choose one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make a virtual environment; on Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Stamps are touched last, so an interrupted installation is repeated.
$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/.created
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.page: pyproject.toml constraints.txt | $(VENV)/.created
	$(PIP) install -c constraints.txt -e ".[page]"
	@touch $(VENV)/.demo $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.created
	$(PIP) install -c constraints.txt -e ".[dev]"
	@touch $(VENV)/.demo $(VENV)/.page $@
