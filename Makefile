# The commands of a working day. `make` alone lists them. Everything is kept in .venv and var; `make clean` removes both.

SHELL := /bin/sh
PYTHON_OF_VENV := .venv/bin/python
# More for the program that is started, for example: make run ARGS=--fresh, make test ARGS="-k cart".
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test soak check format topics screenshots setup setup-dev clean

help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: setup ## The demo: a shop with the bubble, the inbox and the outgoing mail (ARGS=--fresh starts over)
	@exec $(PYTHON_OF_VENV) -m chatd demo $(ARGS)

test: setup-dev ## All tests, in two processes
	@sh scripts/setup.sh node chromium redis
	@exec $(PYTHON_OF_VENV) -m pytest -n 2 --dist loadgroup $(ARGS)

soak: setup-dev ## The long tests: 200 kills under load, 10,000 schedules, outages of full length
	@exec $(PYTHON_OF_VENV) -m pytest -m soak -s -o faulthandler_timeout=3600 $(ARGS)

check: setup-dev ## Lint, format, types, generated files and scripts for the browser
	@sh scripts/setup.sh node
	@$(PYTHON_OF_VENV) -m ruff check --quiet --output-format concise .
	@$(PYTHON_OF_VENV) -m ruff format --check --quiet . || { echo "not formatted; run: make format"; exit 1; }
	@$(PYTHON_OF_VENV) -m mypy
	@$(PYTHON_OF_VENV) -m chatd.wire.generate --check
	@$(PYTHON_OF_VENV) scripts/check_static.py

format: setup-dev ## Put the Python files into the one format
	@$(PYTHON_OF_VENV) -m ruff check --quiet --fix . ; $(PYTHON_OF_VENV) -m ruff format .

topics: setup-dev ## Train the model of topics anew, measure it, write topics/report.md (minutes, one core)
	@exec nice -n 19 $(PYTHON_OF_VENV) -m chatd topics train --output chatd/topics/model.npz --report topics \
		--evaluation topics/evaluation $(ARGS)

screenshots: setup-dev ## Pictures of bubble and inbox, taken from the running program
	@sh scripts/setup.sh chromium fonts
	@exec $(PYTHON_OF_VENV) -m tests.screenshots $(ARGS)

setup: ## What `run` needs, in .venv
	@sh scripts/setup.sh run

setup-dev: ## What `test` and `check` need, in .venv
	@sh scripts/setup.sh dev

clean: ## Remove .venv, caches and everything the demo kept
	@rm -rf .venv var build dist node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
