# make serve     set up, prepare the demo model, and serve it on port 9000
# make test      set up and run the tests
# make install   the set-up alone, into .venv

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LICENSE ?= 000000-00000-00000-00000
PORT ?= 9000

.PHONY: serve install test lint format bench build lock clean

serve: install
	$(BIN)/maritalk-serve --license $(LICENSE) --port $(PORT)

install: $(VENV)/.installed

$(VENV)/.installed: requirements/cpu.lock pyproject.toml scripts/install
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	scripts/install $(VENV) requirements/cpu.lock
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements/dev.lock
	scripts/install $(VENV) requirements/dev.lock
	@touch $@

# The published clients that the tests run, each in an environment of its own, as its users have it.
$(VENV)/clients/%/.installed: requirements/client-%.lock
	$(PYTHON) -m venv $(VENV)/clients/$*
	$(VENV)/clients/$*/bin/python -m pip --disable-pip-version-check install --no-deps --requirement $<
	@touch $@

CLIENTS := $(patsubst requirements/client-%.lock,$(VENV)/clients/%/.installed,$(wildcard requirements/client-*.lock))

test: $(VENV)/.installed-dev $(CLIENTS)
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Against a server that is already running (make serve, in another terminal).
bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.batching --url http://127.0.0.1:$(PORT)

build: $(VENV)/.installed-dev
	$(BIN)/python -m build

lock: $(VENV)/.installed-dev
	$(BIN)/python scripts/lock

clean:
	rm -rf $(VENV) build dist
