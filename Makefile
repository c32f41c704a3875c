# The two commands of the README, and what stands behind them. Python >= 3.10 and
# git are all that must be there; everything else comes into .venv.

PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv

.PHONY: demo test frameworks lab check bench clean help

help:
	@echo "make demo    take notebooks/00-tour.ipynb through record, verify, build, rollout, trace"
	@echo "make test    run the tests (those that need an engine, a cluster or a browser if there)"
	@echo "make frameworks  install torch, JAX, XGBoost…, whose tests are skipped without them"
	@echo "make lab     open JupyterLab on the notebooks"
	@echo "make check   ruff, mypy --strict, import-linter"
	@echo "make bench   measure against peers"

# uv resolves and installs in seconds what pip takes minutes for.
$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "mlrepro-nb needs Python 3.10 or newer: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check uv

.venv/.demo: pyproject.toml | $(UV)
	$(UV) pip install --quiet --python $(BIN)/python -e '.[demo]'
	@touch $@

.venv/.dev: pyproject.toml | $(UV)
	$(UV) pip install --quiet --python $(BIN)/python -e '.[demo]' --group dev --group browser --group bench
	@touch $@ .venv/.demo

.venv/.frameworks: pyproject.toml .venv/.dev
	$(UV) pip install --quiet --python $(BIN)/python --group frameworks
	@touch $@

.venv/.lab: pyproject.toml | $(UV)
	$(UV) pip install --quiet --python $(BIN)/python -e '.[demo]' --group lab
	@touch $@ .venv/.demo

demo: .venv/.demo
	@$(BIN)/python notebooks/tour.py

test: .venv/.dev
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# Torch, JAX, XGBoost, LightGBM: their tests run where they are installed.
frameworks: .venv/.frameworks

lab: .venv/.lab
	$(BIN)/jupyter lab --notebook-dir notebooks $(LAB_ARGS)

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: .venv/.dev
	$(BIN)/python -m benchmarks.run $(BENCH_ARGS)

clean:
	rm -rf .venv demo-out artifacts build dist .mlrepro
