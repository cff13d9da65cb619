# Every target prepares .venv by itself; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

PYTEST := $(BIN)/pytest -q
# Where it is set (in many containers), each of a thousand programs would compile Tracer anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo test proof check chaos mutants format clean

help:  ## Show this list, with the time that each takes on two quiet cores
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

setup: $(STAMP)  ## Prepare .venv with `tracer` in it (1 to 2 minutes, once)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Tracer needs Python 3.11 or newer: make PYTHON=python3.12 …" if sys.version_info < (3, 11) else 0)'
	@echo "Installing into $(VENV) (a minute or two, the first time) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(STAMP)

demo: setup  ## The whole system on this machine: 60 companies, twice, paid for once (1 minute)
	@$(BIN)/tracer demo

test: check  ## Every check, and every behaviour once (3 to 4 minutes)
	@$(PYTEST) -n 4 --dist worksteal -m "not proof" # most of them wait most of the time: with two, cores idle

proof: setup  ## The rest of the tests: all enumerations, chaos, containers, browser, poolers (6 to 10 minutes)
	@$(PYTEST) -n 4 --dist worksteal -m "proof or hypothesis" --hypothesis-profile=proof

check: setup  ## Format, lint, types, import rules (half a minute)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

chaos: setup  ## SIGKILL, SIGSTOP and cut connections at random, and nothing is lost (3 minutes)
	@$(BIN)/python -m tests.system.chaos

mutants: setup  ## Take each guard away, and see a test fail (an hour)
	@$(BIN)/python -m tests.system.mutants --write

format: setup  ## Bring the code to its format (seconds)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:  ## Stop the local stack; remove .venv and all local data (seconds)
	@test ! -x $(BIN)/tracer || $(BIN)/tracer down
	@rm -rf $(VENV) .tracer
