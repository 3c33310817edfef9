# What a newcomer and the continuous integration run. `make` alone lists it.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench lock clean

VENV := .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
# The first of these that is at least 3.11 makes the environment.
CANDIDATES := python3 python3.13 python3.12 python3.11

help: ## List what make can do
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## Create .venv with the locked dependencies (done by the others when needed)

$(READY): requirements/dev.txt workers/pyproject.toml
	@for python in $(CANDIDATES); do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    exec "$$python" -m venv $(VENV); \
	  fi; \
	done; echo "Freshet needs Python 3.11 or newer with venv; none of $(CANDIDATES) is that" >&2; exit 1
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable workers
	@touch $@

demo: $(READY) ## Run everything with simulated traffic and watch features live; DURATION=20 ends and verifies
	$(VENV)/bin/freshet demo $(if $(DURATION),--duration $(DURATION))

test: $(READY) ## Run all tests, with real servers
	$(PYTHON) -m pytest $(ARGS)

check: $(READY) ## Check style, types and the direction of imports
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

bench: $(READY) ## Measure speed and freshness; writes benchmarks/results/latest.json
	$(PYTHON) -m benchmarks

# Needs uv. Run it after a change of requirements/*.in; --universal makes one file right for every system.
lock: ## Resolve requirements/*.in anew into requirements/*.txt
	for name in runtime dev; do \
	  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	    --no-emit-index-url --no-emit-find-links requirements/$$name.in -o requirements/$$name.txt || exit 1; \
	done

clean: ## Delete the environment and all caches of the checkout
	rm -rf $(VENV) .cache .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache workers/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
