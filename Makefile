# Everything people and CI run. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Stamps live in the environment: whoever removes it gets everything made anew.
STAMPS := $(VENV)/stamps
UV_COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url

.PHONY: help setup demo demo-reset test check format soak screenshots bench dist requirements messages docs clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | while IFS=$$'\t' read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

# ---- set-up -----------------------------------------------------------------------------------------------------------

PO_FILES     := $(shell find project syncapp -name '*.po' 2>/dev/null)
PANEL_FILES  := $(shell find frontend -type f -not -path '*/node_modules/*' -not -name '*.tsbuildinfo' 2>/dev/null)
PANEL_STAMPS := $(if $(wildcard frontend/package.json),$(STAMPS)/panel)

setup: $(STAMPS)/packages $(STAMPS)/messages $(PANEL_STAMPS) ## environment, packages, translations, panel; nothing when up to date

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: Python 3.11 or newer is needed; name one with 'make PYTHON=/path/to/python3'" >&2; exit 1; }
	@echo "make: environment in $(VENV)"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV) \
	  || { echo "make: the venv module is missing: on Debian, apt-get install python3-venv" >&2; exit 1; }
	@[ -x $(BIN)/uv ] || $(BIN)/pip install --quiet uv || echo "make: no uv here, going on with pip"
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/packages: requirements-dev.txt pyproject.toml | $(STAMPS)/venv
	@echo "make: packages"
	@: "pip is only the fallback: uv installs the same pins in a tenth of the time"; run() { if [ -x $(BIN)/uv ]; then VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/uv pip install --quiet "$$@"; else $(BIN)/pip install --quiet "$$@"; fi; }; \
	  run --require-hashes -r requirements-dev.txt; \
	  run --no-deps --no-build-isolation -e .
	@touch $@

$(STAMPS)/messages: $(PO_FILES) scripts/messages.py $(STAMPS)/packages
	@echo "make: translations"
	@$(BIN)/python scripts/messages.py compile
	@touch $@

$(STAMPS)/node: frontend/package.json $(wildcard frontend/package-lock.json) $(wildcard frontend/.npmrc) | $(STAMPS)/venv
	@command -v npm >/dev/null || { echo "make: the panel is built with Node 20.19 or newer and npm 11: neither is here" >&2; exit 1; }
	@echo "make: panel packages"
	@cd frontend && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(STAMPS)/panel: $(STAMPS)/node $(PANEL_FILES)
	@echo "make: panel"
	@cd frontend && npm run --silent build
	@touch $@

# ---- running -----------------------------------------------------------------------------------------------------------

demo: setup ## two linked programs on :8000 and :8001 until Ctrl-C (DEMO_PORTS=9000,9001 moves them)
	@exec $(BIN)/python -m project.demo

demo-reset: ## forget the demo's data
	@rm -rf var/demo && echo "make: var/demo is gone; 'make demo' starts over"

# ---- checking ----------------------------------------------------------------------------------------------------------

# The panel's tests come first, so that the last line is pytest's own. Parts that can't run on this machine are named in
# pytest's summary (tests/conftest.py reads SYNCAPP_MISSING_PARTS).
test: setup ## all tests (PYTEST_ARGS="-k name" narrows)
	@missing="$$(tests/provision.sh)"; \
	  if [ -f frontend/package.json ]; then (cd frontend && npm test --silent); fi; \
	  SYNCAPP_MISSING_PARTS="$$missing" $(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

check: setup ## format, lint, types, import rules, docs and translations up to date
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python scripts/messages.py check
	$(BIN)/python scripts/check_docs.py
	$(BIN)/python scripts/check_pins.py
	@if [ -f frontend/package.json ]; then cd frontend && npm run --silent check; fi

format: setup ## put the format right
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	@if [ -f frontend/package.json ]; then cd frontend && npm run --silent format --if-present; fi

SOAK_FOR := $(or $(SECONDS),600)
soak: setup ## simulation and fault runs for SECONDS=… (600)
	@missing="$$(tests/provision.sh)"; \
	  SYNCAPP_SOAK_SECONDS=$(SOAK_FOR) SYNCAPP_MISSING_PARTS="$$missing" $(BIN)/python -m pytest -m soak --timeout=0 -s $(PYTEST_ARGS)

screenshots: setup ## every screen, both languages and themes, into docs/screenshots/
	@tests/provision.sh chromium >/dev/null
	@$(BIN)/python scripts/screenshots.py

bench: setup ## the benchmarks, side by side, into bench/results/
	@$(BIN)/python -m bench $(BENCH_ARGS)

# ---- keeping up --------------------------------------------------------------------------------------------------------

messages: setup ## take new texts into the .po files
	$(BIN)/python scripts/messages.py update

docs: setup ## write the generated documents
	$(BIN)/python scripts/check_docs.py --write

requirements: $(STAMPS)/venv ## resolve the pins anew from pyproject.toml (UPGRADE=1 takes newer versions)
	$(UV_COMPILE) $(if $(UPGRADE),--upgrade) --extra postgres --extra redis -o requirements.txt pyproject.toml
	$(UV_COMPILE) $(if $(UPGRADE),--upgrade) --all-extras -o requirements-dev.txt pyproject.toml

dist: setup ## wheel and sdist, with the panel and the translations inside
	@rm -rf dist && $(BIN)/hatchling build && ls -l dist

clean: ## remove what make made, but not the demo's data
	@rm -rf $(VENV) dist syncapp/static/syncapp frontend/node_modules
