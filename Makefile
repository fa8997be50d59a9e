# make demo    analyze a simulated and a real clip; results in ./echoseg-demo
# make page    open the page in the browser, with the same two clips
# make test    run the tests, on all cores
# make coverage  the same, and what they do not reach
# make check   format, lint and types
# make docs    build the documentation site into ./site
# make sbom    the bill of materials of a bare installation, into ./sbom.json
# demo and page install the run-time packages only; test, check and docs add what they need to the same venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CODE := src experiments scripts benchmarks fuzz integrations tests noxfile.py

# a process per core, at most four: each holds torch and its subprocesses a second one; WORKERS=0 is one
WORKERS ?= logical
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist loadfile
SBOM := sbom.json
BARE := $(VENV)-sbom/bare/bin/python
TOOL := $(VENV)-sbom/tool

.PHONY: demo page test coverage check format docs sbom clean

demo: $(VENV)/.demo
	$(BIN)/echoseg demo -o echoseg-demo --force

page: $(VENV)/.page
	$(BIN)/echoseg serve --demo $(if $(PORT),--port $(PORT))

test: $(VENV)/.dev
	$(PYTEST) tests

coverage: $(VENV)/.dev
	$(PYTEST) --cov=echoseg --cov-report= tests
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

# BARE may name the Python of another bare installation
sbom: $(BARE)
	$(PYTHON) -m venv $(TOOL)
	$(TOOL)/bin/python -m pip --disable-pip-version-check install -q -c constraints.txt cyclonedx-bom
	$(TOOL)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --validate -o $(SBOM) $(BARE)

$(VENV)-sbom/bare/bin/python: pyproject.toml constraints.txt requirements.lock
	$(PYTHON) -m venv --clear $(VENV)-sbom/bare
	$@ -m pip --disable-pip-version-check install -q --require-hashes --no-deps -r requirements.lock
	$@ -m pip --disable-pip-version-check install -q -c constraints.txt .

clean:
	rm -rf $(VENV) $(VENV)-sbom sbom.json build dist site src/echoseg.egg-info .coverage .pytest_cache .ruff_cache

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
