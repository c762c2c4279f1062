# Every target makes .venv by itself, from the locked requirements. `make` alone lists them.
#
#   make test ARGS="tests/store -x"              arguments for the tool behind the target
#   make test PYTHON=python3.13 VENV=.venv-3.13  another Python, in an environment of its own

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
SECONDS ?= 60
CUTS ?= 500

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The peers that `make bench` measures have no place among what the tests use.
BENCH_VENV ?= .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.installed
# Folders that begin with _ are templates.
PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/[!_]*/pyproject.toml))

.DEFAULT_GOAL := help
.PHONY: help demo demo-django test test-zapier torture calibrate check lint types imports scripts docs bench bench-check format lock clean venv node

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(STAMP) ## run the example shop (Flask) and walk a few customers through it
	@$(BIN)/python examples/flask_shop/demo.py $(ARGS)

demo-django: $(STAMP) ## the same shop, made with Django, in two languages and with its admin
	@$(BIN)/python examples/django_shop/demo.py $(ARGS)

test: $(STAMP) node ## run every test: tests/, examples/, and the code in docs/ and README.md
	@$(BIN)/python -m pytest $(ARGS)

torture: $(STAMP) ## kill and stop processes and damage their database for a minute each (SECONDS=60), cut the power CUTS=500 times, and count what is lost
	@$(BIN)/python tools/torture.py --harm kills --seconds $(SECONDS) $(ARGS)
	@$(BIN)/python tools/torture.py --harm stops --seconds $(SECONDS) $(ARGS)
	@$(BIN)/python tools/torture.py --harm damage --seconds $(SECONDS) $(ARGS)
	@$(BIN)/python tools/powercut.py --cuts $(CUTS)

test-zapier: $(STAMP) ## drive what Zaps call with Zapier's own runtime, which npm installs aside: its licence is not open
	@set -e; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	npm install --silent --ignore-scripts --no-audit --no-fund --prefix "$$tmp" zapier-platform-core@19; \
	JOURNEYKIT_ZAPIER="$$tmp" $(BIN)/python -m pytest plugins/journeykit-zapier/tests/test_platform.py $(ARGS)

calibrate: $(STAMP) ## measure how often the anomaly rule finds what is there, and what is not (ARGS="--shop shop_ecom.csv.gz" for that shop too)
	@$(BIN)/python tools/calibrate.py $(ARGS)

check: lint types imports scripts docs ## run every other check: style, types, import directions, scripts, docs

bench: $(BENCH_STAMP) ## measure what journeykit costs, beside other event SDKs (ARGS="--rounds 1 --quick" for a look)
	@$(BENCH_VENV)/bin/python -m benchmarks $(ARGS)

bench-check: $(BENCH_STAMP) ## the same, and fail where a row of the table misses by more than 15 %
	@$(BENCH_VENV)/bin/python -m benchmarks --check $(ARGS)

docs: $(STAMP) ## build the documentation into docs/_build/html
	@$(BIN)/python -m sphinx -q -E -n -W --keep-going -d docs/_build/doctrees -b html docs docs/_build/html
	@echo "docs: docs/_build/html/index.html"

format: $(STAMP) ## format the code, and fix what can be fixed safely
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

lock: ## write requirements/*.txt anew (ARGS=--upgrade for newer versions)
	@set -e; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	$(PYTHON) -m venv "$$tmp/venv"; \
	"$$tmp/venv/bin/python" -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/lock.txt; \
	"$$tmp/venv/bin/python" tools/lock.py $(ARGS)

clean: ## remove the environment, builds and caches
	rm -rf $(VENV) $(BENCH_VENV) node_modules build dist docs/_build htmlcov .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find benchmarks docs examples plugins src tests tools -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# The parts of `make check`.

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(STAMP)
	@$(BIN)/mypy src $(wildcard $(addsuffix /src,$(PLUGINS)))

imports: $(STAMP)
	@$(BIN)/lint-imports

scripts: node
	@if command -v npm >/dev/null; then npm run --silent check; fi

# What checks the scripts of pages, and pages themselves: wanted in CI, and skipped with a line elsewhere.
node:
	@if ! command -v npm >/dev/null; then \
	  if [ -n "$$CI" ]; then echo "error: npm not found; install Node.js 20 or newer" >&2; exit 1; fi; \
	  echo "skipped: the scripts of pages are not checked without npm (install Node.js 20 or newer)"; \
	elif [ package-lock.json -nt node_modules/.package-lock.json ] || [ ! -e node_modules/.package-lock.json ]; then \
	  npm ci --silent && touch node_modules/.package-lock.json; \
	fi

# The environment: made when missing, brought up to date when a list of requirements changes.

venv: $(STAMP)

# Makes the environment $(1) from the locked list $(2), with the projects $(3) from here.
define install
@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; journeykit needs Python 3.11 or newer (name one with PYTHON=...)" >&2; exit 1; }
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11 or does not run (name another with PYTHON=...)" >&2; exit 1; }
@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "error: $(PYTHON) lacks venv (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
@echo "Setting up $(1) (a minute the first time, seconds after that) ..." >&2
@$(1)/bin/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(1)
@$(1)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r $(2)
@$(1)/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation $(foreach project,$(3),-e ./$(project))
@touch $@
endef

$(STAMP): requirements/dev.txt pyproject.toml $(addsuffix /pyproject.toml,$(PLUGINS))
	$(call install,$(VENV),requirements/dev.txt,. $(PLUGINS))

$(BENCH_STAMP): requirements/bench.txt pyproject.toml $(addsuffix /pyproject.toml,$(PLUGINS))
	$(call install,$(BENCH_VENV),requirements/bench.txt,. $(PLUGINS))
