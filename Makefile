# make serve         set up, prepare the demo model, and serve it on port 9000
# make test          set up and run the fast tests and the core of those on the real engine
# make test-all      every lane of tests but what is for the night
# make test-rest     what test-all runs beside test
# make nightly       test-all in full, and the generated requests, kills, interpreters and images that take long
# make install       the set-up alone, into .venv
# make PYTHON=python3.12 serve    the same with another Python, of 3.11 to 3.13
# make lock          all locks anew; with UPGRADE=1 the newest versions
#
# One lane, where its name in pyproject.toml is not enough to run it:
# make test-unit, test-engine, test-clients, test-page, test-chaos, test-nodes, deploy-check
# make test-pythons  the unit lane on Python 3.12 and 3.13, where this machine has them
# make screenshots   the page's lane, which takes the pictures of docs/page.md again
# make fuzz          the generated requests of the clients' lane, more than 50,000 of them
# make image-check   build the image for the CPU without Docker, and run it (as root, some minutes)
# make audit         look every pinned package up in the database of known vulnerabilities, which has to be in reach
# make digests       pin what the images begin with by digest, as their registry has it now
# make mutations     break decisions of the supervisor one at a time: the unit lane has to find each
# make coverage      the unit lane, and what it covers

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LICENSE ?= 000000-00000-00000-00000
PORT ?= 9000

.PHONY: serve install architectures check-python clients lint format test test-unit test-pythons test-all test-rest test-rest-engine \
	test-rest-deploy nightly test-engine test-clients test-page screenshots test-chaos test-nodes deploy-check fuzz \
	image-check audit digests mutations coverage bench build lock clean

serve: install
	$(BIN)/maritalk-serve --license $(LICENSE) --port $(PORT)

install: $(VENV)/.installed

# Each target sets up first, and so asks this first: nothing is downloaded for a Python that does not do.
check-python:
	@scripts/python $(PYTHON) $(VENV) "$(origin PYTHON)"

$(VENV)/.installed: requirements/cpu.lock requirements/torch-cpu.lock requirements/build.lock requirements/uv.lock \
		pyproject.toml scripts/install scripts/packages scripts/uv | check-python
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	scripts/install $(VENV) requirements/cpu.lock
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements/dev.lock
	scripts/install $(VENV) requirements/dev.lock
	@touch $@

# The published clients that the tests run, each in an environment of its own, as its users have it.
$(VENV)/clients/%/.installed: requirements/clients/%.lock | $(VENV)/.installed
	$(BIN)/python -m venv --clear --without-pip $(VENV)/clients/$*
	$(BIN)/python scripts/uv pip install --quiet --python $(VENV)/clients/$*/bin/python --no-deps --require-hashes \
		--no-build --requirement $<
	@touch $@

CLIENTS := $(patsubst requirements/clients/%.lock,$(VENV)/clients/%/.installed,$(wildcard requirements/clients/*.lock))
CORE_CLIENTS := $(filter %/maritalk-0.2.3/.installed %/maritalk-0.3.2/.installed,$(CLIENTS))

PYTEST = $(BIN)/python -m pytest
# An engine takes both cores of a small machine, and one server is shared by a whole session of pytest: tests that use an
# engine run one after the other.
# Three, for two cores: many tests wait for processes that they have started.
PARALLEL = --numprocesses 3 --dist worksteal
WITH_ENGINE = engine or clients or page or chaos or nodes or (deploy and shares_server)

test: test-unit $(CORE_CLIENTS)
	scripts/debian tmux
	$(PYTEST) -m core

test-unit: $(VENV)/.installed-dev
	$(PYTEST) -m "unit and not nightly" $(PARALLEL)

test-all: test test-rest

# One session for all that an engine takes part in, without what `make test` has run. With `make --jobs 2`, the rest of the
# deploy lane, which starts no engine, runs beside it.
test-rest: test-rest-engine test-rest-deploy

test-rest-engine: $(VENV)/.installed-all
	$(WITH_CHROMIUM) $(PYTEST) -m "($(WITH_ENGINE)) and not core and not nightly"

test-rest-deploy: $(VENV)/.installed-all
	$(PYTEST) -m "deploy and not shares_server"

# Every client's environment.
clients: $(CLIENTS)

nightly: test test-rest-deploy
	HYPOTHESIS_PROFILE=nightly $(PYTEST) -m unit $(PARALLEL)
	HYPOTHESIS_PROFILE=nightly CHAOS_KILLS=30 CHAOS_REQUESTS=10000 SCHEMATHESIS_EXAMPLES=4100 SCHEMATHESIS_SEEDS=4 \
		$(WITH_CHROMIUM) $(PYTEST) -m "($(WITH_ENGINE)) and not core"
	AUDIT=$(if $(CI),,optional) $(MAKE) audit
	$(MAKE) test-pythons mutations image-check

test-pythons:
	scripts/pythons 3.12 3.13

test-engine: $(VENV)/.installed-dev $(CORE_CLIENTS)
	scripts/debian tmux
	$(PYTEST) -m "engine and not nightly"

test-clients: $(VENV)/.installed-dev $(CLIENTS)
	scripts/debian openjdk-17-jdk-headless:javac
	$(PYTEST) -m "clients and not nightly"

$(VENV)/.installed-page: $(VENV)/.installed-dev requirements/page.lock
	scripts/install $(VENV) requirements/page.lock
	@touch $@

WITH_CHROMIUM = CHROMIUM=$$(scripts/chromium)

test-page: $(VENV)/.installed-page
	$(WITH_CHROMIUM) $(PYTEST) -m "page and not nightly"

screenshots:
	SCREENSHOTS=docs/images $(MAKE) test-page

test-chaos: $(VENV)/.installed-dev
	$(PYTEST) -m "chaos and not nightly"

# As root: that makes network namespaces. Elsewhere it is skipped.
test-nodes: $(VENV)/.installed-dev
	scripts/debian iproute2:ip
	$(PYTEST) -m "nodes and not nightly"

$(VENV)/.installed-deploy: $(VENV)/.installed-dev requirements/deploy.lock scripts/helm
	scripts/install $(VENV) requirements/deploy.lock
	$(BIN)/python scripts/helm $(VENV)/deploy
	scripts/debian prometheus systemd
	@touch $@

deploy-check: $(VENV)/.installed-deploy
	$(PYTEST) -m "deploy and not nightly"

# What every lane needs.
$(VENV)/.installed-all: $(VENV)/.installed-page $(VENV)/.installed-deploy $(CLIENTS)
	scripts/debian tmux iproute2:ip openjdk-17-jdk-headless:javac
	@touch $@

fuzz: $(VENV)/.installed-dev $(CLIENTS)
	SCHEMATHESIS_EXAMPLES=4100 SCHEMATHESIS_SEEDS=4 $(PYTEST) tests/clients/test_schemathesis.py

image-check: $(VENV)/.installed-deploy
	scripts/debian debootstrap curl
	$(BIN)/python -m tests.deploy.image

$(VENV)/audit/.installed: requirements/audit.lock | $(VENV)/.installed
	$(BIN)/python -m venv --clear --without-pip $(VENV)/audit
	$(BIN)/python scripts/uv pip install --quiet --python $(VENV)/audit/bin/python --no-deps --require-hashes \
		--no-build --requirement $<
	@touch $@

audit: $(VENV)/audit/.installed
	$(BIN)/python scripts/audit

digests: $(VENV)/.installed
	$(BIN)/python scripts/digests

mutations: $(VENV)/.installed-dev
	$(BIN)/python -m tests.mutations

coverage: $(VENV)/.installed-dev
	$(PYTEST) -m "unit and not nightly" $(PARALLEL) --cov

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Against a server that is already running (make serve, in another terminal).
bench: $(VENV)/.installed-dev
	$(BIN)/maritalk-vllm bench --url http://127.0.0.1:$(PORT)

build: $(VENV)/.installed-dev
	$(BIN)/python -m build

lock: $(VENV)/.installed-dev
	UPGRADE=$(UPGRADE) $(BIN)/python scripts/lock

# What the installed classes of transformers and vLLM make of keys that config.json leaves out.
architectures: $(VENV)/.installed-dev
	$(BIN)/python scripts/architectures

clean:
	rm -rf $(VENV) .pytest_cache build dist
