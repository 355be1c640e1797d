# Everything runs in .venv, which the first target that needs it makes.
PYTHON ?= python3
BIN := .venv/bin
PLUGINS := $(sort $(wildcard plugins/cnnreg-*))
PROJECTS := pyproject.toml $(PLUGINS:%=%/pyproject.toml)
PYTEST := $(BIN)/pytest --numprocesses 2 --dist worksteal
PIP := $(BIN)/pip install --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-torch lint chaos bench bench-accuracy docs clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/installed ## install, and train AlexNet on handwritten digits: about a minute, no data to download
	$(BIN)/cnnreg train alexnet --dataset digits --epochs 8

test: .venv/installed-dev ## install, and run every test on two processors
	$(PYTEST)

test-fast: .venv/installed-dev ## run the tests that neither install packages nor take more than a few seconds each
	$(PYTEST) -m 'not network and not slow'

test-torch: .venv/installed-dev ## compare the networks with torchvision's; installs PyTorch into .venv
	$(PIP) --group torch
	$(BIN)/pytest -m torch

lint: .venv/installed-dev ## check style, types and the layering of the modules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

chaos: .venv/installed-dev ## kill a training 50 times and damage its checkpoints: about twenty minutes
	$(BIN)/python -m benchmarks.chaos --kills 50 --flips 1000
	$(BIN)/python -m benchmarks.checkpoint_cost

bench: .venv/installed-dev ## measure: the command line's start, steps beside plain Keras, the input pipeline, how cost grows
	$(BIN)/pytest benchmarks --benchmark-only --benchmark-columns=min,median,max,rounds
	for script in throughput first_step prediction scaling; do $(BIN)/python -m benchmarks.$$script || exit 1; done
	$(BIN)/python -m benchmarks.decoding $(if $(DATA),--data $(DATA))

bench-accuracy: .venv/installed ## train MODEL with SEEDS seeds on the 17 flowers in DATA [RECIPE= SET="key=value ..." SPLIT= RUNS=]
	$(BIN)/python -m benchmarks.accuracy $(MODEL) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(RECIPE),--recipe $(RECIPE)) \
		$(if $(SPLIT),--split $(SPLIT)) $(if $(DATA),--data $(DATA)) $(if $(RUNS),--runs $(RUNS)) $(SET:%=--set %)

docs: .venv/installed ## write the pages that are made from the code
	for page in models checks reliability; do $(BIN)/python docs/make_$$page.py > docs/$$page.md || exit 1; done
	$(BIN)/python docs/make_results.py

clean: ## remove .venv and what tools leave; runs stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .benchmarks dist

.venv/installed: $(PROJECTS) constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) --upgrade pip
	$(PIP) --editable '.[cpu]' $(PLUGINS:%=--editable %)
	touch $@

.venv/installed-dev: .venv/installed
	$(PIP) --group dev
	touch $@
