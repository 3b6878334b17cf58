# Every target sets up what it needs: the environment is made on first use and again when its inputs change.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready
PEERS := .venv-peers/.ready

.PHONY: explore demo test lint types contracts pytest flower wheel soak bench .venv-peers docs clean

demo: $(STAMP)
	$(BIN)/tacit demo

test: lint types contracts pytest flower wheel

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

contracts: $(STAMP)
	$(BIN)/lint-imports --no-cache

pytest: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not gpu and not soak"

# The same tests on examples that nobody has tried yet.
explore: $(STAMP)
	HYPOTHESIS_PROFILE=explore $(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not gpu and not soak"

# The names taken from Flower, against the oldest and the newest version of it that is permitted.
flower: $(STAMP)
	$(BIN)/python tests/packaging/flowers.py

# What takes many minutes: two hundred kills of a federation and a thousand of a ledger, shown as they happen (TACIT_KILL_SEED=N repeats some); the last one in an
# environment with the newest Flower.
soak: $(STAMP)
	$(BIN)/python -m pytest -q -s -m soak
	$(BIN)/python tests/packaging/flowers.py soak

# The wheel, built from a clean copy (a stale build/ resurrects deleted files), passes the tests marked for it.
wheel: $(STAMP)
	$(BIN)/python tests/packaging/wheel.py

# About a quarter of an hour: accounting; Tacit beside Flower, pfl, Opacus and a loop by hand, in one run, with what was asked; its
# engines one by one.
bench: $(STAMP) $(PEERS)
	$(BIN)/python benchmarks/accounting.py
	$(BIN)/python benchmarks/peers.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/engines.py --repeats 3
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/language.py

# The peers live apart: they pin other versions of what Tacit uses.
.venv-peers: $(PEERS)

$(PEERS): benchmarks/contenders/requirements.txt benchmarks/contenders/constraints.txt
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/contenders/requirements.txt -c benchmarks/contenders/constraints.txt
	touch $(PEERS)

# What the code says of itself in docs/: the configuration's keys, the table of claims, the picture of the demo.
docs: $(STAMP)
	$(BIN)/python docs/configuration.py
	$(BIN)/python docs/claims.py
	$(BIN)/python docs/picture.py

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Tacit needs Python 3.11 or newer; found " + sys.version.split()[0] + ". Try: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)

clean:
	rm -rf .venv .venv-peers build dist *.egg-info
