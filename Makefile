# Everything a developer types. Needs Python 3.11 to 3.13, git and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed-run
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.installed-bench
WEB_STAMP := $(VENV)/.installed-web
# Two test processes: the servers they start need a core as well.
JOBS ?= 2
# Containers set it; then each of the many processes of the tests would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

FAULT_TESTS := tests/chaos tests/redis_kinds tests/gateway/test_login_race.py \
	tests/process/test_ghosts.py tests/process/test_half_open.py tests/process/test_workers.py \
	tests/process/test_rolling_restart.py \
	tests/discovery/test_moving.py
FUZZ_TESTS := $(wildcard tests/*/test_fuzz*.py)
# What a user sees of Redis; `make chaos` has the whole of tests/gateway run on these.
KINDS := cluster sentinel
KIND_TESTS := $(addprefix tests/gateway/test_, cluster.py groups.py offline.py order.py \
	private.py receipts.py social.py)

.PHONY: help run test chaos screenshots bench autobahn fuzz format lint proto api clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(RUN_STAMP): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info < (3, 14); sys.exit(0 if ok else "Python 3.11 to 3.13 is needed; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

# What developers need takes as long again; who tries the chat does not wait for it.
$(STAMP): $(RUN_STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,mysql,otel]'
	@touch $@

# The plot of `make bench` is the only thing that needs this much more.
$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@

# Node.js and what drives a browser, for the tests of the clients; `make run` does without.
$(WEB_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[web]'
	@touch $@

run: $(RUN_STAMP) ## Start the whole chat on this machine, from etc/ws.yaml
	@exec $(BIN)/skyeim-ws demo -f etc/ws.yaml

test: $(WEB_STAMP) ## Check format, lint and types, run all tests with branch coverage
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@tools/install-test-servers
	@tools/install-browser
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup --cov --cov-report=term --cov-report=
	for kind in $(KINDS); do REDIS_KIND=$$kind $(BIN)/python -m pytest -n $(JOBS) $(KIND_TESTS) || exit 1; done

chaos: $(STAMP) ## Kill everything while people chat, for minutes; all fault tests in their long form
	$(BIN)/python -m tests.chaos
	LONG_TESTS=1 $(BIN)/python -m pytest --timeout=600 --async-test-timeout=600 $(FAULT_TESTS)
	for kind in $(KINDS); do REDIS_KIND=$$kind $(BIN)/python -m pytest -n $(JOBS) tests/gateway || exit 1; done

screenshots: $(WEB_STAMP) ## Take the pictures of the chats anew, into docs/images
	@tools/install-browser
	SCREENSHOTS=1 $(BIN)/python -m pytest -q tests/web/test_screenshots.py tests/cli/test_chat_picture.py

bench: $(BENCH_STAMP) ## Measure against the goals, half an hour; with QUICK=1 a look of 8 minutes
	$(BIN)/python -m bench $(if $(QUICK),--quick)

autobahn: $(STAMP) ## Run the Autobahn testsuite against our connections, plain and TLS; 2 minutes
	tools/install-autobahn $(VENV)/autobahn $(abspath $(BIN))/python
	$(BIN)/python -m tests.autobahn --suite $(VENV)/autobahn/wstest

fuzz: $(STAMP) ## Feed every parser with what is nearly right, fifty times as much as in all tests
	LONG_TESTS=1 $(BIN)/python -m pytest -n $(JOBS) --timeout=3600 --async-test-timeout=3600 $(FUZZ_TESTS)

format: $(STAMP) ## Format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(STAMP) ## Check format, lint and types only
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

proto: $(STAMP) ## Generate skyeim_ws/contract/pb from proto/
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -Iskyeim_ws/contract/pb=proto --python_out=. \
		--grpc_python_out=. --mypy_out=. --mypy_grpc_out=. proto/*.proto

api: $(STAMP) ## Generate docs/asyncapi.json and docs/openapi.json from the message types
	$(BIN)/python -m tools.api

clean: ## Remove what the other targets have made, but not the data folder
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* bench-results \
		autobahn-results
