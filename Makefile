# The whole developer interface. `make demo` and `make test` work on a fresh machine.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
SEEDS  ?= 2000

.PHONY: demo test lint types sim bench docs dev clean

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(VENV)/.ready  ## three regions, their own data, one partitioned job
	$(BIN)/python examples/demo.py

test: $(VENV)/.ready lint types  ## everything this machine can test
	$(BIN)/pytest tests -n auto --dist loadgroup
	$(MAKE) --no-print-directory sim

lint: $(VENV)/.ready
	$(BIN)/ruff check src tests benchmarks examples docs/generate.py docs/fault_codes.py
	$(BIN)/ruff format --check src tests benchmarks examples docs/generate.py docs/fault_codes.py
	$(BIN)/lint-imports

types: $(VENV)/.ready
	$(BIN)/mypy

sim: $(VENV)/.ready  ## seeded whole-cluster simulation: make sim SEEDS=20000
	$(BIN)/python -m bacalhau.testing.sim --seeds $(SEEDS)

bench: $(VENV)/.ready  ## against yardsticks in the same run; writes docs/performance.md
	$(BIN)/python benchmarks/run.py

docs: $(VENV)/.ready  ## regenerate docs/reference from the code
	$(BIN)/python docs/generate.py

dev: $(VENV)/.ready  ## orchestrator and three nodes in one process
	$(BIN)/bacalhau devstack

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
