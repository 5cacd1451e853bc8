# Everything runs in .venv/, made on first use; needs Python >= 3.11 and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: train test check format clean

# The main job: a tiny policy learns to search a fictional world, on a CPU, in minutes.
train: $(VENV)/installed
	$(BIN)/zerosearch train --resume $(ARGS)

test: $(VENV)/installed
	$(BIN)/python -m pytest -n auto $(ARGS)

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(VENV)/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# torch comes first and alone: later requirements then leave the build that it picked in place.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable ".[train,retrieval,data,gguf,simulator,google,serve]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
