# Every target works in a plain clone on a machine that has only Python 3.11 or newer and make.

PYTHON ?= python3
BIN := .venv/bin
BENCH := $(sort $(filter-out bench/environments.py bench/table.py, $(wildcard bench/*.py)))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo serve test bench docs dist environments constraints clean gone

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

demo: .venv/installed-demo ## forecast, score, rank and draw the embedded benchmark, into demo/
	$(BIN)/zapeval demo --out demo

serve: .venv/installed-serve ## a leaderboard at http://127.0.0.1:8000, kept in zapeval-board/
	$(BIN)/zapeval serve

test: .venv/installed-test ## lint, formatting, types, entries, then every test, the slow ones too
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/zapeval entries check --quiet
	$(BIN)/pytest

bench: .venv/installed-test ## run the programs that measure performance
	@set -e; for program in $(BENCH); do echo "$$program"; $(BIN)/python "$$program"; done

docs: .venv/installed-docs ## the site of docs/, in site/; a broken link ends it
	$(BIN)/properdocs build --strict

dist: .venv/installed-test ## wheel and sdist, in dist/
	$(BIN)/python -m hatchling build -t wheel -t sdist

environments: .venv/installed-test ## install each extra on each Python found, with its size, and run its part
	$(BIN)/python bench/environments.py

constraints: ## resolve constraints.txt anew, on the oldest Python that is supported, with docs/licences.md
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo 'make: $(PYTHON) is not Python 3.11; name it: make constraints PYTHON=...' >&2; exit 1; }
	rm -rf build/constraints
	$(PYTHON) -m venv build/constraints
	build/constraints/bin/python -m pip install --quiet --disable-pip-version-check '.[dev]'
	{ echo '# What make installs: zapeval with its extra dev, which brings all others, to the exact version.'; \
	  echo '# Written by "make constraints" on Python 3.11; do not edit by hand.'; \
	  build/constraints/bin/python -m pip freeze --exclude zapeval | LC_ALL=C sort -f; \
	} > build/constraints.txt
	build/constraints/bin/python docs/licences.py build/constraints.txt > build/licences.md
	mv build/constraints.txt constraints.txt
	mv build/licences.md docs/licences.md
	rm -rf build/constraints

clean: ## remove everything that the other targets made
	rm -rf .venv build dist site demo .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name .git -prune -o -type d -name __pycache__ -exec rm -rf {} +

# A stamp is worth nothing where the Python that it was made with is gone.
GONE := $(shell test -x $(BIN)/python || echo gone)

.venv/installed-demo: EXTRAS := figures,baselines
.venv/installed-serve: EXTRAS := leaderboard,submit
.venv/installed-test: EXTRAS := dev
.venv/installed-docs: EXTRAS := docs
.venv/installed-%: pyproject.toml constraints.txt $(GONE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'make: $(PYTHON) is no Python 3.11 or newer; name one: make PYTHON=python3.12' >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@
