# Everything runs from .venv, which `make setup` fills from the locks. Only python3 (≥ 3.11) and make are needed.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
DURATION ?=
ROUNDS ?=
SEED ?=
EVENTS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long fuzz test-cluster check check-charts e2e e2e-long scale-operator crds format bench bench-rivals lock clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## Make .venv with the locked dependencies and Freshet itself

$(STAMP): requirements/dev.txt workers/pyproject.toml operator/pyproject.toml
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or newer is needed, and none was found: make PYTHON=/path/to/python …'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e workers -e operator
	@touch $@

CHARTS := .venv-charts
CHARTS_STAMP := $(CHARTS)/.ready
CHECKOV := .venv-checkov

$(CHARTS_STAMP): requirements/charts.txt requirements/checkov.txt
	$(PYTHON) -m venv $(CHARTS)
	$(CHARTS)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/charts.txt
	$(PYTHON) -m venv $(CHECKOV)
	$(CHECKOV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/checkov.txt
	@touch $@

demo: $(STAMP) ## Everything on this machine with live traffic; DURATION=20 ends by itself and checks every value
	$(BIN)/freshet demo $(if $(DURATION),--duration $(DURATION))

# Two at a time, each with servers of its own: half of the tests compute, the other half waits.
test: $(STAMP) ## All tests, on real embedded servers
	-$(BIN)/python -m freshet.dev.kafka_aot  # for speed alone
	$(BIN)/pytest -n 2 --dist loadfile

check-charts: $(CHARTS_STAMP) ## The chart under Helm 3 and 4, the images' and the workflows' files
	$(CHARTS)/bin/pytest -c charts/tests/pytest.ini charts/tests

test-cluster: $(STAMP) ## The operator against the API server of KUBECONFIG
	$(MAKE) --no-print-directory -j 3 --output-sync=target cluster-objects cluster-outage cluster-rest

# Most of it waits: for a Lease, for a watch that says nothing, for rest. Three at a time, each with a Kafka of its own.
.PHONY: cluster-objects cluster-outage cluster-rest
OUTAGE := $(patsubst %,tests/cluster/test_%.py,outage live_config topics repair)
REST := $(patsubst %,tests/cluster/test_%.py,steady leader namespaces)
cluster-objects: FILES := $(filter-out $(OUTAGE) $(REST),$(wildcard tests/cluster/test_*.py))
cluster-outage: FILES := $(OUTAGE)
cluster-rest: FILES := $(REST)
cluster-objects cluster-outage cluster-rest: $(STAMP)
	REQUIRE_ALL=1 $(BIN)/pytest $(FILES) --durations 5

# The short form: a user's commands, what is refused, what is killed.
E2E := $(addprefix tests/e2e/test_,commands.py refused.py faults.py)

e2e: $(STAMP) $(CHARTS_STAMP) ## Images, chart and features on the cluster of KUBECONFIG; E2E_LOAD_IMAGE loads an image into it
	REQUIRE_ALL=1 $(BIN)/pytest $(E2E) -m "not e2e_long" --timeout 900 -vv --durations 5

e2e-long: $(STAMP) $(CHARTS_STAMP) ## All of it: repair, scaling, trouble, upgrade and uninstall too
	REQUIRE_ALL=1 $(BIN)/pytest tests/e2e --timeout 3600 -vv --durations 10

scale-operator: $(STAMP) ## 300 FeatureSets on the cluster of KUBECONFIG: time, memory, writes
	$(BIN)/python -m benchmarks.operator_scale

crds: $(STAMP) ## Make the CRDs anew from the models
	$(BIN)/python -m freshet.dev.crds

FUZZ := $(wildcard tests/*/test_*fuzz*.py tests/*/*/test_*fuzz*.py)

fuzz: $(STAMP) ## Ingest, serving, administration and the manifest reader with bent requests and files; tells how many
	HYPOTHESIS_PROFILE=long $(BIN)/pytest $(FUZZ) --timeout 3600

test-long: $(STAMP) ## The property, model and fuzz tests with many more examples
	HYPOTHESIS_PROFILE=long MODEL_LONG=1 $(BIN)/pytest tests/property tests/model $(FUZZ) --timeout 86400

drill: $(STAMP) ## Backup, the loss of every server, and restoring into new ones, on real servers; compares every value
	$(BIN)/pytest tests/integration/test_drill.py tests/integration/test_drill_rekey.py -v

.PHONY: chaos chaos-volume drill soak
chaos: $(STAMP) ## Faults on real servers, then everything compared with SQL; ROUNDS=200: the long form; SEED=… repeats one
	$(BIN)/python -m tests.chaos $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))

chaos-volume: $(STAMP) ## 5 million events through ingest while processors are killed every 20 s; EVENTS=… for fewer
	$(BIN)/python -m tests.chaos.volume $(if $(EVENTS),--events $(EVENTS))

soak: $(STAMP) ## 30 minutes at 5,000 events/s: nothing may grow; DURATION=… in seconds
	$(BIN)/python -m tests.chaos.soak $(if $(DURATION),--duration $(DURATION))

check: $(STAMP) ## ruff, format, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## Measure, print a table and write benchmarks/results/latest.json; ONLY="serving ingest" for some
	$(BIN)/python -m benchmarks $(ONLY)

RIVALS := .venv-rivals
RIVALS_STAMP := $(RIVALS)/.ready

$(RIVALS_STAMP): requirements/rivals.txt
	$(PYTHON) -m venv $(RIVALS)
	$(RIVALS)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/rivals.txt
	@touch $@

bench-rivals: $(STAMP) $(RIVALS_STAMP) ## The same work by quixstreams and Feast, beside ours
	$(BIN)/python -m benchmarks.rivals

LOCKS := runtime operator dev charts checkov rivals

lock: ## Make requirements/*.txt anew from requirements/*.in (needs uv)
	for name in $(LOCKS); do uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links requirements/$$name.in -o requirements/$$name.txt || exit 1; done

clean: ## Remove what can be made anew
	rm -rf $(VENV) $(CHARTS) $(CHECKOV) $(RIVALS) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build workers/*.egg-info operator/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
