# Every chore has a target here; `make` alone lists them. Needs Python 3.11 or newer with pip, git and make: no root,
# no service, no other language.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help

# The distribution's own Python where it will do: Debian's seals a tenth more in the same time than one compiled with the
# default options. `make PYTHON=python3.12 install` takes another one.
PYTHON ?= $(shell /usr/bin/python3 -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
  echo /usr/bin/python3 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
# The system's pip installs into .venv, since Debian's Python has venv without ensurepip. Locks are whole, so it installs
# them without resolving: pip 23 takes `coverage[toml]>=7` of a hashed lock for another, unpinned package once a newer
# coverage is out.
PIP = $(PYTHON) -m pip --disable-pip-version-check --python $(BIN)/python

# Coverage of lines and branches that a full run must reach, in percent. Here and not in pyproject.toml, so that
# `pytest PATH` works.
COVERAGE_MIN := 90
# The same for the packages that a verdict rests on. Never lower than it was: what a test cannot reach is taken out.
COVERED := tlog:98 crypt:100 ledger:98 seal:97
# Processes that share the files of `make test`: one for each of two cores keeps it under ten minutes.
TESTERS := 2

# Minutes of a whole service, handled roughly and read through every door: `make kills`, and not part of `make test`.
ROUGH := tests/kills tests/integration/badinput tests/integration/search tests/integration/demo/test_tour.py \
  tests/integration/service/test_operations.py tests/integration/service/test_service.py \
  tests/integration/service/test_signer_apart.py tests/integration/service/test_shards.py
# Minutes of every write step that fails or is the last, and of ledgers changed at random: `make damage`, likewise.
DAMAGE := tests/faults tests/integration/prove/test_shards.py tests/integration/prove/test_turns.py \
  tests/integration/prove/test_pruning.py tests/integration/prove/test_combined.py tests/integration/prove/test_mutations.py \
  tests/integration/prove/test_random_changes.py tests/verifier/test_mutations.py

ARGS ?=
# `make bench NAME=seal` runs one benchmark.
NAME ?= gateway seal verify
# `make replay FILE=...` replays another file.
FILE ?= ../shared/data/trajectories/gpt-4o-airline.json

# An installation is current when a stamp of its name exists. The name is a digest of everything that went into it, not
# a time: a moved checkout, another Python, an older branch and a copied tree all install anew, and only they do.
# In a shell where .venv is activated, python3 is .venv's own, which has no pip and cannot build itself: step behind it.
override PYTHON := $(or $(shell $(PYTHON) -c 'import os, sys; \
  print(sys._base_executable if os.path.realpath(sys.prefix) == os.path.realpath("$(VENV)") else sys.executable)' 2>/dev/null),$(PYTHON))
PYTHON_ID := $(shell $(PYTHON) -c 'import sys; print(sys.version, sys.base_prefix)' 2>&1)
BASE_KEY := $(shell printf '%s' '$(CURDIR) $(PYTHON_ID)' | sha256sum | cut -c 1-16)
FULL_KEY := $(shell { echo $(BASE_KEY); cat pyproject.toml requirements/dev.txt src/affidavit/__init__.py; } | sha256sum | cut -c 1-16)
BASE_STAMP := $(VENV)/python-$(BASE_KEY)
FULL_STAMP := $(VENV)/installed-$(FULL_KEY)

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)$$/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS=$$'\t' read -r target text; do
	  printf '  make %-9s %s\n' "$$target" "$$text"
	done

.PHONY: python
python: ## print which Python make installs with
	@echo $(PYTHON)

.PHONY: install
install: $(FULL_STAMP) ## make .venv/ with bin/affidavit, everything it can use, and the test tools

$(BASE_STAMP):
	@if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
	  echo "affidavit needs Python 3.11 or newer, and '$(PYTHON)' is not; name another one: make PYTHON=python3.12 install. Nothing was changed." >&2
	  exit 1
	fi
	if ! $(PYTHON) -m pip --version >/dev/null 2>&1; then
	  echo "pip is missing for '$(PYTHON)': install the Debian package python3-pip (apt-get install python3-pip) and run make again. Nothing was changed." >&2
	  exit 1
	fi
	$(PYTHON) -m venv --without-pip --clear $(VENV)
	touch $@

$(FULL_STAMP): $(BASE_STAMP)
	@rm -f $(VENV)/installed-*
	$(PIP) install --quiet --require-hashes --no-deps -r requirements/dev.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --no-index --force-reinstall --editable .
	touch $@

.PHONY: test
test: install ## run the tests and demand the coverage: 90% of all, every branch of the packages that a verdict rests on
	@rm -f .coverage .coverage.*
	$(BIN)/pytest -n $(TESTERS) --dist loadfile --ignore=tests/foreign --ignore=tests/attacks --ignore=tests/browser $(ROUGH:%=--ignore=%) $(DAMAGE:%=--ignore=%) --cov=src --cov-report=term --cov-fail-under=$(COVERAGE_MIN) $(ARGS)
	# Silent where all is well, so that pytest has the last word.
	for package in $(COVERED); do
	  if ! found=$$($(BIN)/coverage report --fail-under=$${package#*:} --include="src/affidavit/$${package%:*}/*"); then
	    echo "$$found"
	    echo "of $${package%:*}, at least $${package#*:}% of lines and branches must be run" >&2
	    exit 1
	  fi
	done

.PHONY: lint
lint: install ## ruff, formatting, types, layers
	@failed=""  # all four speak, even when the first has something to say
	$(BIN)/ruff check . || failed+=" ruff"
	$(BIN)/ruff format --check . || failed+=" format"
	$(BIN)/mypy --strict src $(wildcard verifier/*.py) || failed+=" mypy"
	$(BIN)/lint-imports --no-cache || failed+=" lint-imports"
	if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi

.PHONY: check
check: lint ## lint, the tests of the documentation, and the consistency of what is installed
	@$(PIP) check
	$(BIN)/pytest tests/docs

.PHONY: format
format: install ## rewrite the code as `make lint` wants it
	@$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: demo
demo: install ## run the guided tour; ARGS=--once runs it through and leaves
	@$(BIN)/affidavit demo $(ARGS)

.PHONY: replay
replay: install ## send real conversations through the gateway and compare every byte (FILE=...)
	@$(BIN)/python bench/replay.py $(FILE) $(ARGS)

.PHONY: bench
bench: install ## run the benchmarks, or one (NAME=...)
	@for name in $(NAME); do
	  $(BIN)/affidavit bench $$name $(ARGS)
	done

.PHONY: kills
kills: install ## whole services: kills under load, full disks, stepped clocks, every reading door (`ARGS="-m long"`: ten times each)
	@$(BIN)/pytest $(ROUGH) $(ARGS)

.PHONY: damage
damage: install ## every write step that fails or is the last, and ledgers changed at random
	@$(BIN)/pytest -n $(TESTERS) $(DAMAGE) $(ARGS)

# mutmut and what it stands on have a lock and an environment of their own, since nobody needs them but this target.
MUTMUT_VENV := build/mutmut

.PHONY: mutants
mutants: install ## change tlog and crypt in thousands of ways: a test notices each, or a reason why none can is kept
	@$(PYTHON) -m venv --without-pip $(MUTMUT_VENV)
	$(PYTHON) -m pip --disable-pip-version-check --python $(MUTMUT_VENV)/bin/python install --quiet --require-hashes --no-deps -r requirements/mutation.txt
	$(BIN)/python tests/mutation/mutants.py --mutmut $(MUTMUT_VENV)/bin/mutmut $(ARGS)

.PHONY: attacks
attacks: install ## play every attempt of the threat model; results in build/attacks.json
	@$(BIN)/pytest tests/attacks $(ARGS)

.PHONY: browser
browser: install ## check the page that checks proofs, in a real Chromium (where one is installed)
	@$(BIN)/pytest tests/browser $(ARGS)

.PHONY: foreign
foreign: install ## let strangers' programs check our logs (Go, Rust, Python 3.12; what is missing is skipped by name)
	@$(BIN)/pytest tests/foreign $(ARGS)

.PHONY: wheel
wheel: install ## build the wheel into dist/
	@rm -rf dist
	$(BIN)/python -m hatchling build -t wheel -d dist

# uv is pinned and hashed like everything else, in a lock of its own, since nobody needs it but this target.
UV_VENV := build/uv
COMPILE := $(UV_VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(ARGS)

.PHONY: lock
lock: ## compile requirements/*.txt again (ARGS=--upgrade takes newer versions)
	@$(PYTHON) -m venv --without-pip $(UV_VENV)
	$(PYTHON) -m pip --disable-pip-version-check --python $(UV_VENV)/bin/python install --quiet --require-hashes --no-deps -r requirements/lock.txt
	# One resolution for all: the smaller locks are cuts of the first, so that tests run what users install.
	$(COMPILE) pyproject.toml --extra demo --group dev -o requirements/dev.txt
	$(COMPILE) pyproject.toml -c requirements/dev.txt -o requirements/client.txt
	$(COMPILE) pyproject.toml --extra server -c requirements/dev.txt -o requirements/server.txt
	$(COMPILE) pyproject.toml --extra demo -c requirements/dev.txt -o requirements/demo.txt
	$(COMPILE) requirements/lock.in -o requirements/lock.txt
	$(COMPILE) requirements/mutation.in -c requirements/dev.txt -o requirements/mutation.txt

.PHONY: clean
clean: ## remove everything that make made
	@rm -rf $(VENV) build dist .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
