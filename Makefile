# make serve         set up, prepare the demo model, and serve it on port 9000
# make test          set up and run the tests
# make test-clients  run every published client against the server, and the notebook
# make fuzz          make thousands of requests of its OpenAPI
# make test-page     look at the page in a real Chromium
# make screenshots   the same, and take the pictures of docs/page.md anew
# make test-chaos    kill, drown and stop the server
# make test-nodes    split a model over two hosts that are network namespaces, and cut one off
# make deploy-check  hold the Helm chart against Kubernetes' schemas, alerts against a Prometheus, the unit against systemd
# make image-check   build the image for the CPU without Docker, and run it (as root, some minutes; not part of CI)
# make install       the set-up alone, into .venv

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LICENSE ?= 000000-00000-00000-00000
PORT ?= 9000

.PHONY: serve install test test-clients test-page screenshots test-chaos test-nodes deploy-check image-check fuzz lint format bench build lock clean

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

# The published clients that the tests run, each in an environment of its own, as its users have it. They share this
# environment's pip, and compile nothing before it is imported: that makes them in a third of the time.
$(VENV)/clients/%/.installed: requirements/clients/%.lock | $(VENV)/.installed
	$(BIN)/python -m venv --clear --without-pip $(VENV)/clients/$*
	$(BIN)/python -m pip --disable-pip-version-check --python $(VENV)/clients/$*/bin/python \
		install --quiet --no-deps --no-compile --requirement $<
	@touch $@

CLIENTS := $(patsubst requirements/clients/%.lock,$(VENV)/clients/%/.installed,$(wildcard requirements/clients/*.lock))
REFERENCE_CLIENTS := $(filter %/maritalk-0.2.3/.installed %/maritalk-0.3.2/.installed,$(CLIENTS))

# An engine takes both cores of a small machine: those that start one are run one after the other.
QUICK := $(patsubst %,--ignore=tests/%,clients chaos nodes playground/browser deploy observability)

test: $(VENV)/.installed-dev $(REFERENCE_CLIENTS)
	scripts/debian tmux
	$(BIN)/python -m pytest $(QUICK) -m "not engine" --numprocesses 2
	$(BIN)/python -m pytest $(QUICK) -m engine

test-clients: $(VENV)/.installed-dev $(CLIENTS)
	$(BIN)/python -m pytest tests/clients

$(VENV)/.installed-page: $(VENV)/.installed-dev requirements/page.lock
	scripts/install $(VENV) requirements/page.lock
	@touch $@

test-page: $(VENV)/.installed-page
	chromium=$$(scripts/chromium) && CHROMIUM=$$chromium $(BIN)/python -m pytest tests/playground/browser

screenshots:
	SCREENSHOTS=docs/images $(MAKE) test-page

# A few minutes with the numbers that CI takes: CHAOS_KILLS=3 CHAOS_REQUESTS=1000.
test-chaos: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/chaos

# As root: that makes network namespaces. Elsewhere it is skipped.
test-nodes: $(VENV)/.installed-dev
	scripts/debian iproute2:ip
	$(BIN)/python -m pytest tests/nodes

$(VENV)/.installed-deploy: $(VENV)/.installed-dev requirements/deploy.lock scripts/helm
	scripts/install $(VENV) requirements/deploy.lock
	$(BIN)/python scripts/helm $(VENV)/deploy
	@touch $@

deploy-check: $(VENV)/.installed-deploy
	scripts/debian prometheus systemd
	$(BIN)/python -m pytest tests/deploy tests/observability

image-check: $(VENV)/.installed-deploy
	scripts/debian debootstrap curl
	$(BIN)/python -m tests.deploy.image

# More than 50,000 requests made of our own OpenAPI, for every night; test-clients makes a tenth of them.
fuzz: $(VENV)/.installed-dev $(CLIENTS)
	SCHEMATHESIS_EXAMPLES=4100 SCHEMATHESIS_SEEDS=4 $(BIN)/python -m pytest tests/clients/test_schemathesis.py

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
	$(BIN)/python scripts/lock

clean:
	rm -rf $(VENV) .pytest_cache build dist
