# libre.sh: everything a person or a CI runs, by name. `make` alone lists it.
#
#   NODES=3          nodes of the local cluster          SUFFIX=example.org   the names' ending (default: localhost)
#   ARGS="…"         more arguments for libresh          PYTHON=python3.13    another Python for the environment

PYTHON ?= python3
VENV := .venv
LIBRESH := $(VENV)/bin/python -m libresh.cli
PYTEST := $(VENV)/bin/python -m pytest
UP_ARGS := $(if $(NODES),--nodes $(NODES)) $(if $(SUFFIX),--suffix $(SUFFIX)) $(ARGS)

export PYTHON

.DEFAULT_GOAL := help
.PHONY: help up down purge status check test test-api test-e2e test-ha conformance bench format generate verify lock venv clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: ## From a bare machine to a Matrix that answers (root; again: takes seconds)
	@tools/venv run
	@$(LIBRESH) up $(UP_ARGS)

down: ## Stop all of it; the data stays
	@tools/venv run
	@$(LIBRESH) down $(ARGS)

purge: ## Stop all of it and remove the data, after asking
	@tools/venv run
	@$(LIBRESH) purge $(ARGS)

status: ## What runs, what is wrong and what to do
	@tools/venv run
	@$(LIBRESH) status $(ARGS)

venv: ## The Python environment for working on libre.sh, in .venv
	@tools/venv dev

check: venv ## The fast part: format, lint, types, layers, unit and law tests (a minute)
	@tools/check $(ARGS)

test: venv ## Everything: check, then the tests on a real API server and a real cluster (root)
	@tools/check all $(ARGS)

test-api: venv ## Only the tests that need a real API server
	@$(PYTEST) -m apiserver $(ARGS)

test-e2e: venv ## Only the tests that need the local cluster (root)
	@$(PYTEST) -m "e2e and not ha" $(ARGS)

test-ha: venv ## Only the tests of Garage, which is compiled first if it is not yet: six minutes on two cores (root)
	@$(PYTEST) -m ha $(ARGS)

conformance: venv ## Every driver through the same cases on the cluster of the kubeconfig (docs/conformance); DRIVER=static
	@PYTHONPATH=tests $(VENV)/bin/python -m support.trying $(DRIVER) --report docs/conformance $(ARGS)

bench: venv ## Measure: the operator against its baselines, and how long things take (docs/performance.md)
	@$(VENV)/bin/python -m bench $(ARGS)

format: venv ## Lay the code out, repair what can be repaired
	@$(VENV)/bin/ruff format src tests bench tools
	@$(VENV)/bin/ruff check --fix src tests bench tools

generate: venv ## Write what is generated: CRDs, RBAC, manifests
	@$(VENV)/bin/python tools/generate.py
	@$(VENV)/bin/python tools/manifests.py

verify: venv ## Fail if anything generated is not as make generate would write it
	@$(VENV)/bin/python tools/generate.py --check
	@$(VENV)/bin/python tools/manifests.py --check

lock: ## Renew requirements/*.txt from pyproject.toml
	@tools/lock

clean: ## Remove the Python environment and caches (not the cluster, not its data)
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
