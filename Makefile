# midwatch: `make demo` and `make test` set up what they need in .venv and run.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
SEED ?= 7
PEERS_PYTHON ?= python3.12

.PHONY: help install install-dev demo manifests test test-slow test-integration test-cluster test-image cluster-binaries check bench bench-rca bench-cluster \
  soak-cluster readme-tables sim clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /	/' | expand -t 20

$(VENV)/.base: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

# torch for neural Granger. pip's own settings choose the index: a wheel without CUDA is smaller,
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu. Without torch the linear model stands in.
$(VENV)/.models: $(VENV)/.base
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[models]' \
	  && touch $@ \
	  || echo "the extra 'models' could not be installed: linear Granger stands in" >&2

$(VENV)/.dev: $(VENV)/.base
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,operator,models]'
	@touch $@

install: $(VENV)/.base  ## make .venv with the base installation

install-dev: $(VENV)/.dev  ## the same with the developers' tools

demo: $(VENV)/.models  ## replay the embedded scenario with neural Granger and write its report
	$(BIN)/midwatch replay --granger auto --out out/demo

test: $(VENV)/.dev  ## default tests, under a minute on two cores
	$(PYTEST) -n 2 -m 'not slow and not integration and not cluster' -q

test-slow: $(VENV)/.dev  ## the tests marked slow
	$(PYTEST) -n 2 -m 'slow and not integration and not cluster' -q

test-integration: $(VENV)/.dev  ## tests against Prometheus, promtool and headless Chromium
	$(PYTEST) -m 'integration and not cluster' -q

# MIDWATCH_CLUSTER=skip leaves the tests out and lists what is then not shown.
cluster-binaries:  ## build a Kubernetes control plane from pinned Go modules, into the user's cache
	@test "$(MIDWATCH_CLUSTER)" = skip || test -n "$(KUBEBUILDER_ASSETS)" || $(PYTHON) tests/cluster/controlplane/build.py

# Two halves side by side, each with a control plane of its own: most of the time is waiting.
CLUSTER_HALF := $(addprefix tests/cluster/test_,alert_flood.py end_to_end.py install.py leading.py own_faults.py)
CLUSTER_TESTS := $(BIN)/python -m pytest -m cluster -v
IMAGE_TESTS := tests/cluster/test_image.py

test-cluster: $(VENV)/.dev cluster-binaries  ## tests against a real control plane, Prometheus, Alertmanager
	@OMP_NUM_THREADS=1 $(BIN)/python tests/side_by_side.py \
	  'half 1=$(CLUSTER_TESTS) $(CLUSTER_HALF)' \
	  'half 2=$(CLUSTER_TESTS) tests/cluster $(addprefix --ignore=,$(CLUSTER_HALF) $(IMAGE_TESTS))'

test-image: $(VENV)/.dev cluster-binaries  ## both images built with buildah and run against a real control plane
	$(PYTEST) -m cluster -q $(IMAGE_TESTS)

check: $(VENV)/.dev  ## format, lint, types, import contracts, architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(PYTEST) -q tests/architecture

manifests: $(VENV)/.dev  ## CRDs and rendered installs anew; needs the kubectl of make cluster-binaries
	$(BIN)/python -m tests.manifests.render

sim: $(VENV)/.base  ## one seeded simulation with invariants checked: make sim SEED=11
	$(BIN)/midwatch replay --seed $(SEED) --out out/sim-$(SEED) --check

bench: $(VENV)/.dev  ## speed, memory and accuracy figures into tests/bench/results; ONLY="readers serving"
	OMP_NUM_THREADS=1 $(BIN)/python tests/bench/run_all.py $(ONLY)

bench-rca: $(VENV)/.dev  ## peers of root cause analysis beside ours; needs the data and PEERS_PYTHON=python3.12
	nice -n 10 $(BIN)/python tests/bench/peers/run.py --python $(PEERS_PYTHON)
	nice -n 10 $(BIN)/python tests/bench/peers/speed.py --python $(PEERS_PYTHON)

bench-cluster: $(VENV)/.dev cluster-binaries  ## on the real stack: fault to Incident with cause, 20 runs, half an hour; then 200 fleets of 50 pods
	OMP_NUM_THREADS=1 $(BIN)/python tests/bench/bench_cluster.py
	OMP_NUM_THREADS=1 $(BIN)/python tests/bench/bench_cluster_load.py

soak-cluster: $(VENV)/.dev cluster-binaries  ## 30 minutes of healthy traffic on the real stack, no Incident
	OMP_NUM_THREADS=1 $(BIN)/python tests/bench/soak_cluster.py

readme-tables: $(VENV)/.dev  ## README's tables from tests/bench/results
	$(BIN)/python tests/bench/tables.py --write

clean:  ## remove what runs wrote
	rm -rf out .pytest_cache .mypy_cache .ruff_cache
