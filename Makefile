# Everything runs in .venv. The first target that needs it creates it.
PYTHON ?= python3
BIN := .venv/bin
# Those that bring large libraries are installed by whoever wants them; their tests are skipped otherwise.
LARGE := plugins/cnnreg-hf plugins/cnnreg-keras-hub plugins/cnnreg-tfds
PLUGINS := $(filter-out $(LARGE),$(sort $(wildcard plugins/cnnreg-*)))
PROJECTS := pyproject.toml $(PLUGINS:%=%/pyproject.toml)
PYTEST := $(BIN)/pytest --numprocesses 2 --dist worksteal
PIP := $(BIN)/pip install --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-exports test-applications test-torch lint words chaos bench bench-accuracy docs site site-check release-check audit changelog clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/installed ## install, and train AlexNet on handwritten digits: about a minute, no data to download
	$(BIN)/cnnreg train alexnet --dataset digits --epochs 8

test: .venv/installed-dev ## install, and run every test, in two processes
	$(PYTEST) -m 'not exports and not applications'

# The processors are taken by the processes; JAX, with whose outputs networks are compared, need not compile well.
test test-fast: export TF_NUM_INTRAOP_THREADS := 1
test test-fast: export JAX_DISABLE_MOST_OPTIMIZATIONS := 1

test-fast: .venv/installed-dev ## run the tests that neither install packages nor take more than a few seconds each
	$(PYTEST) -m 'not network and not slow and not exports and not applications'

test-exports: .venv/installed-dev ## export every model to every format, and compare the files' predictions: about 20 minutes
	$(BIN)/pytest -m exports

test-applications: .venv/installed-dev ## check further networks, among them all of keras.applications: about two hours, 20 GB of memory
	$(PYTEST) -m applications

test-torch: .venv/installed-dev ## compare the networks with torchvision's and timm's; installs PyTorch into .venv
	$(PIP) --group torch
	$(BIN)/pytest -m torch

lint: .venv/installed-dev words ## check style, types, the layering of the modules and the word list
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

words: ## check pages, docstrings, comments, messages and test names against the word list
	$(PYTHON) docs/check_words.py

chaos: .venv/installed-dev ## kill a training run 50 times, damage its checkpoints, and kill, hang and cut off workers: about forty minutes
	$(BIN)/python -m benchmarks.chaos --kills 50 --flips 1000
	$(BIN)/python -m benchmarks.chaos_workers --faults 20
	$(BIN)/python -m benchmarks.checkpoint_cost

bench: .venv/installed-dev ## measure command-line start, steps compared with plain Keras, the input pipeline, how cost grows
	$(BIN)/pytest benchmarks --benchmark-only --benchmark-columns=min,median,max,rounds
	for script in throughput first_step memory prediction scaling; do $(BIN)/python -m benchmarks.$$script || exit 1; done
	$(BIN)/python -m benchmarks.decoding $(if $(DATA),--data $(DATA))

bench-accuracy: .venv/installed ## train MODEL with SEEDS seeds on the 17 flowers in DATA [RECIPE= SET="key=value ..." SPLIT= RUNS=]
	$(BIN)/python -m benchmarks.accuracy $(MODEL) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(RECIPE),--recipe $(RECIPE)) \
		$(if $(SPLIT),--split $(SPLIT)) $(if $(DATA),--data $(DATA)) $(if $(RUNS),--runs $(RUNS)) $(SET:%=--set %)

docs: .venv/installed-dev ## write the generated pages, and run the notebooks
	for page in api models checks reliability recipes declarations plugins; do $(BIN)/python docs/make_$$page.py > docs/$$page.md || exit 1; done
	$(BIN)/python docs/make_results.py
	$(BIN)/python docs/make_notebooks.py

site: .venv/installed ## build the site into build/site/VERSION, and check its links; the first time draws every network: some minutes
	$(PIP) --group site
	$(BIN)/python website/prepare.py
	$(BIN)/python website/gallery.py
	$(BIN)/zensical build --strict --config-file build/mkdocs.yml
	$(BIN)/python website/versions.py

site-check: .venv/installed-dev ## build the site without the gallery, and check its links, anchors and names: seconds
	$(PIP) --group site
	$(BIN)/python website/prepare.py
	$(BIN)/zensical build --strict --config-file build/mkdocs.yml

release-check: .venv/installed-dev ## build all packages as for a release, install each combination of versions, check all
	$(PIP) --group release
	$(BIN)/python release/check.py

audit: .venv/installed-dev ## list all packages (SBOM), and look for known vulnerabilities; without a network that is skipped
	$(PIP) --group release
	$(BIN)/python release/check.py audit

changelog: .venv/installed-dev ## move the changes in changelog.d into CHANGELOG.md
	$(BIN)/towncrier build --yes --version "$$($(BIN)/python -c 'import cnn_registry; print(cnn_registry.__version__)')"

clean: ## remove .venv and tool caches; keep runs
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .benchmarks dist

.venv/installed: $(PROJECTS) constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) --upgrade pip
	$(PIP) --editable '.[cpu]' $(PLUGINS:%=--editable %)
	touch $@

.venv/installed-dev: .venv/installed
	$(PIP) --group dev
	$(PIP) --no-deps tflearn  # the oracle of the flowers' pixels: a test loads one of its modules by path
	touch $@
