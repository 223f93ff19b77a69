# What one can do here. Every target sets up its own environment first; only Python >= 3.11 is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export HF_HUB_OFFLINE ?= 1

.PHONY: install demo test lint format docs clean bench-quality bench-train bench-serve bench-survive

install: $(VENV)/installed
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[train,dev]"
	touch $@

demo: install  ## build examples/support to a proven model and its report
	$(BIN)/sartor build examples/support/needs.yaml --out runs/support

test: install  ## everything that must hold
	$(BIN)/pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-%: install  ## measure (needs DATA=folder of data sets); resumes where it stopped
	$(BIN)/python -m bench.$*

clean:
	rm -rf runs build dist *.egg-info
