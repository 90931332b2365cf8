# make serve         install, prepare the demo model, and serve it on port 9000
# make test          install, and run the unit lane and the core of the lanes with commands, the stub engine and the engine
# make test-all      every lane except nightly
# make test-rest     what test-all runs besides test and test-stub; best with --jobs 2
# make nightly       every lane in full, with the long runs: generated requests, kills, interpreters, images
# make install       install into .venv only
# make help          print this list
# make PYTHON=python3.12 serve    use another Python, 3.11 to 3.13
# make lock          write all locks again; with UPGRADE=1 the newest versions
#
# Single lanes, and other checks:
# make test-unit, test-commands, test-stub, test-engine, test-clients, test-page, test-chaos, test-nodes, deploy-check
# make test-cuda     vLLM's CUDA build without a GPU, in an environment of its own of some 8 GB
# make test-pythons  the lanes unit, commands and stub on Python 3.12 and 3.13, where this machine has them
# make docs          the site of the documents, in site/, in English and Portuguese; it opens without a server
# make release       the files of a release, in dist/release; with SNAPSHOT=1 before the changelog has its version
# make screenshots   the page lane in full, which also takes the screenshots of docs/page.md
# make fuzz          the generated requests of the clients lane, more than 50,000
# make image-check   build the CPU image without Docker, and run it (as root, some minutes)
# make audit         look up every pinned package in the database of known vulnerabilities, which must be reachable
# make digests       pin the base images by the current digests of their registry
# make mutations     break decisions of the supervisor one at a time: the tests must notice each
# make coverage      the unit lane with its code coverage

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LICENSE ?= 000000-00000-00000-00000
PORT ?= $(or $(MARITALK_PORT),9000)

# Some containers set this. Every process would then compile all modules of torch, vLLM and the clients that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: serve help install architectures check-python environments lint format test test-unit test-core test-commands test-stub test-pythons test-all test-rest \
	test-rest-engine test-rest-deploy nightly test-engine test-clients test-page screenshots test-chaos test-nodes test-cuda \
	deploy-check fuzz image-check audit digests mutations coverage bench build docs lock release clean

serve: install
	$(BIN)/maritalk-serve --license $(LICENSE) --port $(PORT)

# The first lines of this file, down to the first that is no comment.
help:
	@sed -n '/^#/!q; s/^# \{0,1\}//; p' $(firstword $(MAKEFILE_LIST))

install: $(VENV)/.installed

# Every target depends on this, so that nothing is downloaded for an unsupported Python.
check-python:
	@scripts/python $(PYTHON) $(VENV) "$(origin PYTHON)"

$(VENV)/.installed: requirements/cpu.lock requirements/torch-cpu.lock requirements/build.lock requirements/uv.lock \
		pyproject.toml scripts/install scripts/packages scripts/uv | check-python
	@PYTHON=$(PYTHON) scripts/install $(VENV) requirements/cpu.lock
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements/dev.lock
	@scripts/install $(VENV) requirements/dev.lock
	@touch $@

# The published clients, each in an environment of its own with the dependencies that its users have.
$(VENV)/clients/%/.installed: requirements/clients/%.lock | $(VENV)/.installed
	$(BIN)/python -m venv --clear --without-pip $(VENV)/clients/$*
	$(BIN)/python scripts/uv pip install --quiet --python $(VENV)/clients/$*/bin/python --no-deps --require-hashes \
		--no-build --requirement $<
	@touch $@

CLIENTS := $(patsubst requirements/clients/%.lock,$(VENV)/clients/%/.installed,$(wildcard requirements/clients/*.lock))
CORE_CLIENTS := $(filter %/maritalk-0.2.3/.installed %/maritalk-0.3.2/.installed,$(CLIENTS))

PYTEST = $(BIN)/python -m pytest
# Tests that use an engine run one after the other: an engine uses both cores of a small machine, and a session of pytest
# shares one server. Other tests run in more processes than there are cores, since many wait for child processes.
PARALLEL = --dist worksteal --numprocesses $(1)
UNIT = $(PYTEST) -m "(unit or (commands or stub) and core) and not nightly" $(call PARALLEL,4)
WITH_ENGINE = engine or clients or page or chaos or nodes or (deploy and shares_server)

test: test-unit test-core

test-unit: $(VENV)/.installed-dev
	$(UNIT)

test-core: $(VENV)/.installed-dev $(CORE_CLIENTS)
	scripts/debian tmux
	$(PYTEST) -m "core and not (commands or stub)"

# With `make --jobs 2 test-rest`, these run beside the tests with an engine, on what those leave idle of the processor.
# None of them depends on how fast it is, unlike those of the stub engine.
BESIDE_ENGINE = nice -n 5

test-commands: $(VENV)/.installed-dev
	$(BESIDE_ENGINE) $(PYTEST) -m "commands and not core and not nightly" $(call PARALLEL,3)

test-stub: $(VENV)/.installed-dev
	$(PYTEST) -m "stub and not core and not nightly" $(call PARALLEL,3)

test-all: test test-stub test-rest

# One session for all tests with an engine that `make test` has not run, and the lanes that can run beside it.
test-rest: test-rest-engine test-rest-deploy test-commands

test-rest-engine: $(VENV)/.installed-all
	$(WITH_CHROMIUM) $(PYTEST) -m "($(WITH_ENGINE)) and not core and not nightly"

test-rest-deploy: $(VENV)/.installed-all
	$(BESIDE_ENGINE) $(PYTEST) -m "deploy and not shares_server"

nightly: test test-rest-deploy
	HYPOTHESIS_PROFILE=nightly $(PYTEST) -m "unit or commands or stub" $(call PARALLEL,3)
	HYPOTHESIS_PROFILE=nightly CHAOS_KILLS=30 CHAOS_REQUESTS=10000 SCHEMATHESIS_EXAMPLES=4100 SCHEMATHESIS_SEEDS=4 \
		$(WITH_CHROMIUM) $(PYTEST) -m "($(WITH_ENGINE)) and not core"
	AUDIT=$(if $(CI),,optional) $(MAKE) audit
	$(MAKE) test-pythons mutations image-check test-cuda

test-pythons:
	scripts/pythons 3.12 3.13

test-engine: $(VENV)/.installed-dev $(CORE_CLIENTS)
	scripts/debian tmux
	$(PYTEST) -m "engine and not nightly"

test-clients: $(VENV)/.installed-dev $(CLIENTS)
	scripts/debian openjdk-17-jdk-headless:javac
	$(PYTEST) -m "clients and not nightly"

$(VENV)/.installed-page: $(VENV)/.installed-dev requirements/page.lock
	@scripts/install $(VENV) requirements/page.lock
	@touch $@

WITH_CHROMIUM = CHROMIUM=$$(scripts/chromium)

test-page: $(VENV)/.installed-page
	$(WITH_CHROMIUM) $(PYTEST) -m "page and not nightly"

screenshots: $(VENV)/.installed-page
	SCREENSHOTS=docs/images $(WITH_CHROMIUM) $(PYTEST) -m page

test-chaos: $(VENV)/.installed-dev
	$(PYTEST) -m "chaos and not nightly"

# Needs root, for network namespaces; otherwise the tests are skipped.
test-nodes: $(VENV)/.installed-dev
	scripts/debian iproute2:ip
	$(PYTEST) -m nodes

# vLLM's CUDA build, with stand-ins for the driver. A package index beside the main one may have torch for the CPU alone.
$(VENV)/cuda/.installed: requirements/cuda13.lock requirements/dev.lock requirements/build.lock pyproject.toml \
		scripts/install scripts/packages scripts/uv | $(VENV)/.installed
	$(BIN)/python -m venv --clear $(VENV)/cuda
	@UV_INDEX= UV_FIND_LINKS= scripts/install $(VENV)/cuda requirements/cuda13.lock requirements/dev.lock
	@touch $@

test-cuda: $(VENV)/.installed-dev $(VENV)/cuda/.installed
	$(PYTEST) -m cuda
	$(VENV)/cuda/bin/python -m pytest -m "(unit or commands) and not nightly" tests/cli tests/planning tests/tools

$(VENV)/.installed-deploy: $(VENV)/.installed-dev $(VENV)/docs/.installed requirements/deploy.lock scripts/helm
	@scripts/install $(VENV) requirements/deploy.lock
	$(BIN)/python scripts/helm $(VENV)/deploy
	scripts/debian prometheus systemd
	@touch $@

deploy-check: $(VENV)/.installed-deploy
	$(PYTEST) -m "deploy and not nightly"

$(VENV)/docs/.installed: requirements/docs.lock | $(VENV)/.installed
	$(BIN)/python -m venv --clear --without-pip $(VENV)/docs
	$(BIN)/python scripts/uv pip install --quiet --python $(VENV)/docs/bin/python --no-deps --require-hashes \
		--no-build --requirement $<
	@touch $@

MKDOCS = NO_MKDOCS_2_WARNING=1 $(VENV)/docs/bin/mkdocs build --quiet --strict --config-file

# All files of a release, with one version.
release: $(VENV)/.installed-dev
	rm -rf dist/release
	$(BIN)/python scripts/release $(if $(SNAPSHOT),--snapshot )dist/release

docs: $(VENV)/docs/.installed
	$(MKDOCS) mkdocs.yml
	$(MKDOCS) mkdocs.pt.yml

# What all lanes need. With --jobs, install it first: else the longest lane waits for it while others start.
environments: $(VENV)/.installed-all

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
	$(UNIT) --cov

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

# Defaults of the installed classes of transformers and vLLM for keys that config.json omits.
architectures: $(VENV)/.installed-dev
	$(BIN)/python scripts/architectures

clean:
	rm -rf $(VENV) .pytest_cache build dist site
