# Everything runs from .venv, which `make setup` fills from the locks. Only python3 (≥ 3.11) and make are needed.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
DURATION ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long check format bench lock clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## Make .venv with the locked dependencies and Freshet itself

$(STAMP): requirements/dev.txt workers/pyproject.toml
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or newer is needed, and none was found: make PYTHON=/path/to/python …'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e workers
	@touch $@

demo: $(STAMP) ## Everything on this machine with live traffic; DURATION=20 ends by itself and checks every value
	$(BIN)/freshet demo $(if $(DURATION),--duration $(DURATION))

test: $(STAMP) ## All tests, on real embedded servers
	$(BIN)/pytest

test-long: $(STAMP) ## The property and model tests with many more examples
	HYPOTHESIS_PROFILE=long MODEL_LONG=1 $(BIN)/pytest tests/property tests/model --timeout 86400

check: $(STAMP) ## ruff, format, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## Measure, print a table and write benchmarks/results/latest.json
	$(BIN)/python -m benchmarks

lock: ## Make requirements/*.txt anew from requirements/*.in (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links requirements/runtime.in -o requirements/runtime.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links requirements/dev.in -o requirements/dev.txt

clean: ## Remove what can be made anew
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build workers/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
