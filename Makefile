# What one can do here. Every target sets up its own environment first; only Python >= 3.11 is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export HF_HUB_OFFLINE ?= 1

.PHONY: install demo test lint format bench-quality bench-training bench-kill bench-faults bench-serve bench-verdict bench-verify bench-audit bench-growth bench-labels bench-climb bench-cut clean

install: $(VENV)/installed
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[train,dev]"
	touch $@

demo: install  ## examples/support: a model that is proven to meet its needs, in seven minutes at most
	$(BIN)/sartor build examples/support/needs.yaml --out runs/support

test: install  ## everything that must hold, one file of tests a core; the long ones are named first
	$(BIN)/pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Benchmarks resume where they stopped and write docs/benchmarks.md; DATA is the folder of the data sets.
DATA ?= ../shared/data

bench-quality: install  ## needs on real texts, pictures, recordings and tables, met by their bounds; what cannot be met; that what is served is what was trained
	$(BIN)/python -m bench.quality --data $(DATA)
	$(BIN)/python -m bench.modalities --data $(DATA)
	$(BIN)/python -m bench.examples
	$(BIN)/python -m bench.parity

bench-training: install  ## fine-tuning rows/s beside the Trainer of transformers, at its defaults and at its best
	$(BIN)/pip install --quiet --constraint constraints.txt accelerate
	$(BIN)/python -m bench.training --data $(DATA)

bench-kill: install  ## kill -9 at ten and at a hundred instants of a build, against an undisturbed one
	$(BIN)/python -m bench.kill
	$(BIN)/python -m bench.kill --kills 100

bench-faults: install  ## every fault that is injected: trials, how many passed, the worst figure
	$(BIN)/python -m bench.faults

bench-serve: demo  ## the server of the demo's bundle against its predictor called directly
	$(BIN)/python -m bench.serve runs/support

# The bundles that the newest bench-quality built, beside the demo's.
BUNDLES = runs/support $(patsubst %/report.json,%,$(filter-out bench/out/quality/same-file-% bench/out/quality/state-%,$(wildcard bench/out/quality/*-$(shell ls -t bench/out/quality 2>/dev/null | head -1 | sed 's/.*-//')/report.json)))

bench-verdict: demo  ## how often a verdict is wrong with the truth exactly at the limit; after bench-quality
	$(BIN)/python -m bench.verdict $(addprefix --bundle ,$(BUNDLES))

bench-verify: demo  ## sartor verify of finished bundles, on the whole install and on the light one; after bench-quality
	$(PYTHON) -m venv .venv-light
	.venv-light/bin/pip install --quiet --constraint constraints.txt .
	$(BIN)/python -m bench.verify --light .venv-light/bin/python $(BUNDLES)

bench-audit: install  ## faults planted into real data: what the audit finds of them, and its speed
	$(BIN)/python -m bench.audit --data $(DATA)

bench-growth: install  ## learning curves against what happens, and the labels that `sartor label` saves
	$(BIN)/python -m bench.growth --data $(DATA)

bench-labels: install  ## planted wrong labels: their ranking beside cleanlab, and what removing them is worth
	$(PYTHON) -m venv .venv-cleanlab
	.venv-cleanlab/bin/pip install --quiet "cleanlab==2.9.0"
	$(BIN)/python -m bench.labels --data $(DATA) --cleanlab .venv-cleanlab/bin/python
	$(BIN)/python -m bench.annotators --data $(DATA) --cleanlab .venv-cleanlab/bin/python

# The peers of bench-climb, each in an environment of its own. Of one that cannot be installed the installer's words become the row.
PEERS := bench/out/peers
PYTHON312 ?= python3.12

bench-climb: install $(foreach peer,setfit trainer autogluon ludwig,$(PEERS)/$(peer)/installed)  ## few labels, few weights, priors, text without labels, two targets, the planner; beside SetFit, Trainer + optuna, AutoGluon, Ludwig
	$(BIN)/python -m bench.climb --data $(DATA) $(foreach peer,setfit trainer autogluon ludwig,--$(peer) $(PEERS)/$(peer)/bin/python)

bench-cut: install  ## smaller and faster: every cut alone and together, taught students, cascades, needs that no uncut model meets
	$(BIN)/pip install --quiet --constraint constraints.txt openvino
	$(BIN)/python -m bench.cut --data $(DATA)

$(PEERS)/setfit/installed: constraints.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --constraint constraints.txt torch
	$(@D)/bin/pip install --quiet --constraint constraints.txt "setfit==1.2.0"
	touch $@

$(PEERS)/trainer/installed: constraints.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --constraint constraints.txt torch
	$(@D)/bin/pip install --quiet --constraint constraints.txt transformers accelerate "optuna==5.0.0"
	touch $@

$(PEERS)/autogluon/installed:  # it wants torchvision, which is not there for the CPU build of torch that `==` would take
	$(PYTHON) -m venv $(@D)
	-$(@D)/bin/pip install "torch===2.13.0" "autogluon.multimodal==1.6.3" onnx onnxruntime > $(@D)/pip.log 2>&1
	touch $@

$(PEERS)/ludwig/installed:  # for Python 3.12 and later
	mkdir -p $(@D)
	-$(PYTHON312) -m venv $(@D) > $(@D)/pip.log 2>&1 && $(@D)/bin/pip install "ludwig[serve]==0.17.10" > $(@D)/pip.log 2>&1
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf runs build dist .venv-cleanlab .venv-light *.egg-info
