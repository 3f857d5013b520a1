# Every target does its own set-up: a fresh clone, Python 3.11+, make and a package registry are enough.
PYTHON ?= python3
DEV  := .venv
CORE := .venv-core
WHEEL := .venv-wheel
FLOORS := .venv-floors
DOCS := .venv-docs
MUTANTS := .venv-mutants
ADAPTERS := .venv-adapters
BIN  := $(DEV)/bin

.PHONY: help setup demo demo-export test test-slow lint format bench docs docs-site page clean

help:
	@echo "make demo         segment a real photo with the model in the box, without torch"
	@echo "make demo-export  checkpoint -> bundle -> verify -> masks (installs torch)"
	@echo "make test         lint, types, contracts, doctests, tests; the wheel without torch"
	@echo "make test-floors  the wheel on the lowest versions that it promises to work with"
	@echo "make test-arm64   the wheel on 64-bit Arm, emulated (needs root, qemu-user and mmdebstrap)"
	@echo "make notebooks    run the notebooks and keep what they answer"
	@echo "make mutants      small changes to the code, and how many of them a test notices (an hour)"
	@echo "make test-slow    the full-size proofs that need minutes and gigabytes"
	@echo "make test-adapters  sam_edge.adapters with the packages they are for (3 GB of them)"
	@echo "make bench        measure this machine; make docs: refresh the README's tables"
	@echo "make templates    the graphs that bundles are filled from without torch"
	@echo "make docs-site    the documentation as a site, in build/site"
	@echo "make page         build the annotation page from its sources (needs node 20)"

setup: $(DEV)/.done

# torch is pinned in the same command as everything that depends on it: a later, looser
# resolution could replace it by another build. The reference implementations declare torchvision
# and timm, for which the tests have stand-ins, hence --no-deps.
$(DEV)/.done: pyproject.toml tests/requirements-reference.txt
	$(PYTHON) -m venv $(DEV)
	$(BIN)/python -m pip install --quiet torch==2.13.0 -e '.[cpu,openvino,export,training,dev]'
	$(BIN)/python -m pip install --quiet --no-deps -r tests/requirements-reference.txt
	@touch $@

PACKAGED := pyproject.toml $(shell find sam_edge runtimes export/sam_edge_export benchmarks/sam_edge_benchmarks -type f -not -name '*.pyc' -not -path '*/node_modules/*')

# The venv of the promise: the built wheel, one engine, no torch.
$(CORE)/.done: $(PACKAGED)
	$(PYTHON) -m venv $(CORE)
	rm -rf dist
	$(CORE)/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(CORE)/bin/python -m pip install --quiet --force-reinstall --no-deps dist/*.whl
	$(CORE)/bin/python -m pip install --quiet "$$(ls dist/*.whl)[cpu]"
	@touch $@

demo: $(CORE)/.done
	$(CORE)/bin/python examples/demo.py demo

demo-export: $(DEV)/.done
	$(BIN)/python examples/demo_export.py demo

# What compares with PyTorch, or builds and checks the sources. Everything else runs on the wheel.
WITH_TORCH := tests/export tests/examples tests/benchmarks tests/browser tests/architecture tests/adapters \
	tests/sam_edge/masks/test_boxes.py tests/sam_edge/masks/test_regions.py \
	tests/sam_edge/masks/test_upsample.py tests/sam_edge/test_automatic.py tests/sam_edge/test_everything_oracle.py

# Both halves at once: neither keeps two cores busy by itself.
test: $(DEV)/.done lint $(WHEEL)/.done $(CORE)/.done
	$(MAKE) --jobs=2 --output-sync=target test-torch test-wheel

.PHONY: test-torch
test-torch: $(DEV)/.done
	$(BIN)/pytest -m "not slow" --doctest-modules --ignore-glob="*/_pyinstaller/hook-*" \
		sam_edge runtimes/sam_edge_runtimes export/sam_edge_export benchmarks/sam_edge_benchmarks \
		$(WITH_TORCH)

TOOLS := 'pytest>=8.3' 'hypothesis>=6.100' 'pycocotools>=2.0.8' 'tifffile>=2024.1' 'httpx>=0.27'

# The wheel with every engine and all that runs without torch, and never torch itself.
$(WHEEL)/.done: $(PACKAGED)
	$(PYTHON) -m venv $(WHEEL)
	rm -rf $(WHEEL)/dist
	$(WHEEL)/bin/python -m pip wheel --quiet --no-deps --wheel-dir $(WHEEL)/dist .
	$(WHEEL)/bin/python -m pip install --quiet --force-reinstall --no-deps $(WHEEL)/dist/*.whl
	$(WHEEL)/bin/python -m pip install --quiet $(TOOLS) "$$(ls $(WHEEL)/dist/*.whl)[cpu,openvino,serve]"
	@touch $@

# Last, the smallest install that is promised: one engine and nothing else.
.PHONY: test-wheel
test-wheel: $(WHEEL)/.done $(CORE)/.done
	$(WHEEL)/bin/pytest -m "not slow" tests/architecture tests/runtimes tests/sam_edge tests/fuzz
	$(CORE)/bin/python -m pip install --quiet $(TOOLS)
	$(CORE)/bin/pytest -m "not slow" tests/runtimes tests/sam_edge/test_nano.py \
		tests/sam_edge/test_opening.py tests/sam_edge/cli/test_segment.py

# The lowest versions that pyproject.toml promises: the built wheel on them, without torch.
$(FLOORS)/.done: $(PACKAGED) tests/requirements-floors.txt
	$(PYTHON) -m venv $(FLOORS)
	rm -rf $(FLOORS)/dist
	$(FLOORS)/bin/python -m pip wheel --quiet --no-deps --wheel-dir $(FLOORS)/dist .
	$(FLOORS)/bin/python -m pip install --quiet --only-binary :all: -r tests/requirements-floors.txt \
		'pytest>=8.3' 'hypothesis>=6.100' 'pycocotools>=2.0.8' 'httpx>=0.27'
	$(FLOORS)/bin/python -m pip install --quiet --force-reinstall --no-deps $(FLOORS)/dist/*.whl
	@touch $@

# Minutes of waiting that no version changes: queues that fill, clients that are slow.
SLOW_CLIENTS := --ignore=tests/sam_edge/server/test_queues.py --ignore=tests/sam_edge/server/test_attacks.py

# All that calls numpy, Pillow, an engine or Starlette. Left out, for half the time, is what no version
# of them changes: downloads, full disks and killed processes, what hundreds of photos do to memory.
.PHONY: test-floors
test-floors: $(FLOORS)/.done
	$(FLOORS)/bin/pytest -m "not slow" tests/architecture tests/runtimes tests/sam_edge \
		--ignore=tests/sam_edge/zoo --ignore=tests/sam_edge/test_long_runs.py \
		--ignore=tests/sam_edge/filling/test_filling.py --ignore=tests/sam_edge/batch/test_batch.py \
		--ignore=tests/sam_edge/test_official_notebooks.py \
		--ignore=tests/sam_edge/cli/test_command_line.py \
		--ignore=tests/sam_edge/server/test_annotations.py \
		--ignore=tests/sam_edge/server/test_equals_command_line.py $(SLOW_CLIENTS)

# A minute of every door that a stranger's file comes in by; make test takes 300 of each.
fuzz: $(DEV)/.done
	SAM_EDGE_FUZZ=60s SAM_EDGE_FUZZ_SEED=$$(date +%s) $(BIN)/pytest tests/fuzz

# Without torch, as the code that is mutated is; SEED, or AGAIN=1 for what nothing noticed so far.
SEED ?= 1
$(MUTANTS)/.done: pyproject.toml
	$(PYTHON) -m venv $(MUTANTS)
	$(MUTANTS)/bin/python -m pip install --quiet -e '.[cpu,openvino,mutants]'
	@touch $@

.PHONY: mutants
mutants: $(MUTANTS)/.done
	nice $(MUTANTS)/bin/python tests/mutation --seed $(SEED) $(if $(AGAIN),--again)

# The packages that sam_edge.adapters is for, and no torch. labelme needs Python 3.12 or newer. Their
# own warnings are none of ours, and napari's pytest plug-in gives some before any test runs.
$(ADAPTERS)/.done: $(PACKAGED) tests/requirements-adapters.txt tests/requirements-adapters-no-deps.txt
	$(PYTHON) -m venv $(ADAPTERS)
	rm -rf $(ADAPTERS)/dist
	$(ADAPTERS)/bin/python -m pip wheel --quiet --no-deps --wheel-dir $(ADAPTERS)/dist .
	$(ADAPTERS)/bin/python -m pip install --quiet 'pytest>=8.3' -r tests/requirements-adapters.txt \
		"$$(ls $(ADAPTERS)/dist/*.whl)[cpu]"
	$(ADAPTERS)/bin/python -m pip install --quiet --force-reinstall --no-deps $(ADAPTERS)/dist/*.whl \
		-r tests/requirements-adapters-no-deps.txt
	@touch $@

.PHONY: test-adapters
test-adapters: $(ADAPTERS)/.done
	PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(ADAPTERS)/bin/pytest -W default tests/adapters

# CPU, or any other that `qemu-aarch64 -cpu help` lists; ARM64_TESTS=all is what test-wheel runs.
CPU ?= cortex-a76
.PHONY: test-arm64
test-arm64: $(DEV)/.done
	tests/arm64/run.sh $(CPU) $(ARM64_TESTS)

.PHONY: notebooks
notebooks: $(DEV)/.done
	$(BIN)/python examples/notebooks/run.py

test-slow: $(DEV)/.done
	$(BIN)/pytest -m slow tests

GPU_TABLE := --results benchmarks/results/xeon-amx-h200 --every-subject

lint: $(DEV)/.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy export/training/*.py benchmarks/techniques/*.py
	$(BIN)/lint-imports
	$(BIN)/python -m sam_edge_benchmarks readme --check README.md
	$(BIN)/python -m sam_edge_benchmarks readme --check docs/benchmarks.md $(GPU_TABLE)

format: $(DEV)/.done
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV)/.done
	$(BIN)/sam-edge bench run --quick

# What bundles are filled from without torch; needs 16 GB of memory for ViT-H, and half an hour.
.PHONY: templates
templates: $(DEV)/.done
	$(BIN)/python -m sam_edge_export.template

docs: $(DEV)/.done
	$(BIN)/python -m sam_edge_benchmarks readme --write README.md
	$(BIN)/python -m sam_edge_benchmarks readme --write docs/benchmarks.md $(GPU_TABLE)

# A venv of its own: the site needs neither torch nor an engine.
$(DOCS)/.done: pyproject.toml
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet -e '.[docs]'
	@touch $@

docs-site: $(DOCS)/.done
	$(DOCS)/bin/mkdocs build --strict --quiet
	@echo "open build/site/index.html"

# What is served lies built in sam_edge/server/static and is committed; a test compares.
WEB := sam_edge/server/web
$(WEB)/node_modules/.package-lock.json: $(WEB)/package-lock.json
	npm --prefix $(WEB) ci --ignore-scripts --no-audit --no-fund

page: $(WEB)/node_modules/.package-lock.json
	npm --prefix $(WEB) run build

clean:
	rm -rf $(WEB)/node_modules $(DEV) $(CORE) $(WHEEL) $(FLOORS) $(DOCS) $(MUTANTS) $(ADAPTERS) dist build demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
