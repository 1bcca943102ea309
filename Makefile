# deeprig: `make demo` shows it on a throwaway box, `make test` proves it. docs/development.md
PYTHON ?= python3
BIN = .venv/bin
TOOLS = deeprig/catalog/notebook/notebook

.PHONY: help env demo test test-lab unit coverage bench lint lock release
help:
	@echo "make demo               deploy to a throwaway box, verify, deploy again, take it down"
	@echo "make demo KEEP=1        the same, and leave the box up"
	@echo "make demo HOST=me@box   on a machine of yours that may be changed"
	@echo "make test               everything that runs in half an hour (needs root for containers)"
	@echo "make test-lab LANE=...  one of the longer lanes; without LANE: their names"
	@echo "make unit               what needs no machine: seconds"
	@echo "make coverage           the same, and how much of each folder that ran"
	@echo "make release            wheel, source, sums and SBOM in dist/, of the tag that is here"
	@echo "make bench              timings side by side (an hour; BENCH='--rtt 0 50 --times 3')"

env: .venv/ready

.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || sh .ci/install-venv $(PYTHON)
	@echo "Making .venv from requirements.lock (about a minute, once)"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --no-index -e .
	@touch $@

demo: env
	@$(BIN)/deeprig demo $(if $(HOST),--host $(HOST)) $(if $(KEEP),--keep)

test: env
	@$(BIN)/python -m tests.lanes quick

test-lab: env
	@$(BIN)/python -m tests.lanes $(LANE)

unit: env
	@$(BIN)/python -m tests.lanes unit

coverage: env
	@$(BIN)/python -m tests.lanes coverage

bench: env
	@$(BIN)/python -m bench $(BENCH)

lint: env
	@$(BIN)/python -m tests.lanes lint types

lock: env
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --generate-hashes \
		--python-version 3.11 --upgrade --quiet --output-file requirements.lock
	$(BIN)/uv pip compile --group release --universal --generate-hashes \
		--python-version 3.11 --upgrade --quiet --output-file release.lock
	{ head -n 2 $(TOOLS).lock; $(BIN)/uv pip compile $(TOOLS).in --universal --generate-hashes \
		--python-version 3.10 --upgrade --quiet --no-header --no-annotate; } > $(TOOLS).new
	mv $(TOOLS).new $(TOOLS).lock

release: env
	@$(BIN)/python tools/release.py
