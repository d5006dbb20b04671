# make demo   install, then run issuer, gateway and agent backend; a page to chat on
# make demo SAY="..."   the same without a browser: sign in, ask, print the answer, stop
# make test   install, then run every test; those that drive a browser only if there is one, the last line says so
# make browser  those alone: the demo page, the kit, the Next.js example (Chromium, Node.js 20.9 or newer); none is skipped
# make check  format, lint, types, import contracts
# make attack run every attack we know against a running gateway, print the table
# make bench  measure the gateway beside nginx and haproxy (Linux, a C compiler); ARGS="--quick" to see that it works
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test browser check attack bench format lock clean

demo: .venv/run
	@$(BIN)/python -m gateway demo $${SAY:+--say "$$SAY"} $${PORT:+--port "$$PORT"}

# Two at a time, on machines with more cores too: many tests are about time, and must not be short of it. To look
# closely at some: make test ARGS="-n 0 --pdb tests/gateway".
test: .venv/dev
	$(BIN)/python -m pytest -n 2 --no-loadscope-reorder --cov --cov-report=term $(ARGS)

# With CI set a test whose browser is missing fails.
browser: .venv/dev
	CI=1 $(BIN)/python -m pytest tests/browser $(ARGS)

check: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

attack: .venv/dev
	$(BIN)/python -m tests.attack

bench: .venv/bench
	@$(BIN)/python -m tests.bench $(ARGS)

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Ranges live in pyproject.toml; these files pin what is installed, with hashes, for every platform.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade
lock: .venv/dev
	$(PIP) uv
	$(COMPILE) pyproject.toml --group build -o requirements/run.txt
	$(COMPILE) pyproject.toml --group build --group test --group check -c requirements/run.txt -o requirements/dev.txt
	$(COMPILE) --group bench -c requirements/dev.txt -o requirements/bench.txt

clean:
	rm -rf .venv .demo .bench .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/run: requirements/run.txt pyproject.toml | .venv/bin/python
	$(PIP) --require-hashes -r requirements/run.txt
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev: requirements/dev.txt pyproject.toml | .venv/bin/python
	$(PIP) --require-hashes -r requirements/dev.txt
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@ .venv/run

.venv/bench: requirements/bench.txt | .venv/run
	$(PIP) --require-hashes -r requirements/bench.txt
	@touch $@
