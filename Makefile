# make demo | test | lint | train | bench | install
#
# Every target first sees to the virtual environment .venv, and rebuilds it when pyproject.toml or constraints.txt
# have changed. Only Python 3.10 or newer and make are needed: `make demo PYTHON=python3.12` picks one. pip takes the
# CPU build of torch where its configuration offers one; PIP_ARGS='--extra-index-url ADDRESS' adds an offer.

PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test lint train bench

help:
	@echo "make demo     generate cell videos with their motion from the embedded checkpoints, into out/demo/"
	@echo "make test     run all tests, $(WORKERS) at a time (make test WORKERS=8)"
	@echo "make lint     check style and types"
	@echo "make train    train the two-minute smoke configuration, into runs/smoke/"
	@echo "make bench    measure beside the peers (extra bench), into docs/benchmarks.md; 20 minutes"
	@echo "make install  only build the virtual environment .venv"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed, got " + sys.version if sys.version_info < (3, 10) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing cellvid-diffusers into .venv; the first time takes a few minutes."
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt $(PIP_ARGS) -e ".[test]"
	@touch $@

demo: $(STAMP)
	$(BIN)/python examples/demo.py

# One thread a test process: the workers share the cores. --verbosity=0 ends with pytest's usual closing line.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --verbosity=0 --numprocesses=$(WORKERS) --dist=worksteal $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

train: $(STAMP)
	$(BIN)/python training/train.py

# Without dependencies: one peer asks for torchvision, which it does not need here and which must match torch's build.
bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt $(PIP_ARGS) \
		video-diffusion-pytorch pyoptflow einops einops-exts rotary-embedding-torch
	$(BIN)/python benchmarks/run.py $(ARGS)
