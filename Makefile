# babilim: `make` lists what there is. Everything is installed into .venv, when it is first needed.
PYTHON ?= python3
BACKEND ?= pytorch
EPOCHS ?=
ARGS ?=
DATA ?= data

BIN := .venv/bin
PIP := $(BIN)/python -m pip
EXTRA_pytorch := pytorch
EXTRA_tf2 := tf

ifeq ($(filter $(BACKEND),pytorch tf2),)
$(error BACKEND can be pytorch or tf2, not '$(BACKEND)')
endif

.PHONY: help train data test notebooks bench chaos parity lab outputs docs docs-check clean
.DEFAULT_GOAL := help

help:
	@echo "make train   train the tutorial's network on Fashion-MNIST and measure it"
	@echo "             BACKEND=pytorch|tf2 (default pytorch)  EPOCHS=N (default 10)  ARGS='--set train_batch_size=64'"
	@echo "make test    all that CI runs: notebooks exported and clean, their tests on both backends"
	@echo "make notebooks  run all of them in Jupyter kernels, on both backends (40 minutes; ARGS='--backend tf2 nbs/core/config.ipynb' is shorter)"
	@echo "make bench   babilim beside hand-written loops, Keras, Lightning and fastai (1 to 2 hours; ARGS='--quick' tries it out)"
	@echo "make chaos   runs killed, disks full, workers hung, files forged, on both backends (1 hour; ARGS='--kills 5 --fuzz-minutes 1' is shorter)"
	@echo "make parity  all functions, layers, losses and optimizers on both backends, compared (some minutes)"
	@echo "make data    fetch Fashion-MNIST for BACKEND (31 MB)"
	@echo "make lab     open the notebooks in JupyterLab"
	@echo "make outputs run the tutorial on both backends and store what the site shows of it (15 minutes)"
	@echo "make docs    the site in docs/, and README.md, from the notebooks; 'make docs-check' fails where they are stale"
	@echo "make clean   remove what was built; 'make clean ALL=1' also .venv, data and .logs"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "babilim needs Python 3.10 or newer; $(PYTHON) is older. Try: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	@echo "Creating .venv ..."
	@$(PYTHON) -m venv .venv > /dev/null 2>&1 || { \
		rm -rf .venv; \
		if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
			apt-get -qq update && apt-get -qq install -y python3-venv > /dev/null; \
		fi; \
		$(PYTHON) -m venv .venv; \
	} || { rm -rf .venv; echo "A virtual environment could not be made. On Debian: apt-get install python3-venv"; exit 1; }

.venv/.installed-%: setup.py settings.ini | $(BIN)/python
	@echo "Installing babilim with $* (this takes a few minutes the first time) ..."
	@$(PIP) install --quiet --disable-pip-version-check -e ".[$(EXTRA_$*)]"
	@touch $@

.venv/.installed-dev: setup.py settings.ini | $(BIN)/python
	@echo "Installing babilim with both backends and the tools for tests (this takes a few minutes the first time) ..."
	@$(PIP) install --quiet --disable-pip-version-check -e ".[pytorch,tf,dev,docs]"
	@touch .venv/.installed-pytorch .venv/.installed-tf2 $@

data: .venv/.installed-$(BACKEND)
	@$(BIN)/python tools/get_data.py --backend $(BACKEND) --data-dir $(DATA)

train: .venv/.installed-$(BACKEND) $(if $(findstring --sample,$(ARGS)),,data)
	@$(BIN)/python -m babilim.fashion_mnist --backend $(BACKEND) $(if $(EPOCHS),--epochs $(EPOCHS)) --data-dir $(DATA) $(ARGS)

test: .venv/.installed-dev  # two notebooks at a time, each with one thread
	@$(BIN)/python tools/check_fresh.py
	@$(MAKE) --no-print-directory docs-check
	@echo "Testing the notebooks on PyTorch ..."
	@OMP_NUM_THREADS=1 BABILIM_BACKEND=pytorch TQDM_DISABLE=1 $(BIN)/nbdev_test --timing
	@echo "Testing the notebooks on TensorFlow ..."
	@OMP_NUM_THREADS=1 BABILIM_BACKEND=tf2 TQDM_DISABLE=1 $(BIN)/nbdev_test --timing
	@$(BIN)/python tools/check_fresh.py --count

notebooks: .venv/.installed-dev  # nbdev_test runs the cells in an interpreter of its own
	@OMP_NUM_THREADS=1 $(BIN)/python tools/run_notebooks.py $(ARGS)

# Lightning and fastai need a newer fastcore than nbdev, so they have an environment of their own, which sees the first one
.venv-bench/.installed: .venv/.installed-dev
	@echo "Installing Lightning and fastai for the benchmark (this takes a few minutes) ..."
	@rm -rf .venv-bench
	@$(BIN)/python -m venv .venv-bench
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$(.venv-bench/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/babilim-env.pth"
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check lightning fastai
	@touch $@

bench: .venv-bench/.installed
	@.venv-bench/bin/python benchmarks/bench.py $(ARGS)

chaos: .venv/.installed-dev
	@$(BIN)/python chaos/chaos.py $(ARGS)

parity: .venv/.installed-dev
	@$(BIN)/python tools/parity_table.py $(ARGS)

lab: .venv/.installed-dev data
	@test -x $(BIN)/jupyter-lab || $(PIP) install --quiet --disable-pip-version-check jupyterlab ipywidgets
	@BABILIM_BACKEND=$(BACKEND) $(BIN)/jupyter-lab nbs

outputs: .venv/.installed-dev  # the tutorial on all data, on both backends: about 15 minutes
	@$(MAKE) --no-print-directory data BACKEND=pytorch
	@$(MAKE) --no-print-directory data BACKEND=tf2
	@$(BIN)/python tools/store_outputs.py nbs/0*.ipynb

docs: .venv/.installed-dev
	@$(BIN)/python tools/build_readme.py
	@$(BIN)/python tools/build_docs.py
	@echo "The site is written: open docs/index.html"

docs-check: .venv/.installed-dev
	@$(BIN)/python tools/build_readme.py --check
	@$(BIN)/python tools/build_docs.py --check
	@$(BIN)/python tools/check_site.py

clean:
	rm -rf build dist *.egg-info _proc $(if $(ALL),.venv data .logs .cache)
	find babilim nbs tools -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf
