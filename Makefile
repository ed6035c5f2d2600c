# Two commands matter: `make demo` and `make test`. Both set up what they need.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LINT_HOME := dbt_project/target/lint-home
export DBT_SEND_ANONYMOUS_USAGE_STATS := false

.DEFAULT_GOAL := help
.PHONY: help demo test test-stack bench-models test-parity stack-up stack-status stack-down test-crash test-mutations docs lint format lock bench bench-land clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.demo ## Set up, then run the whole line on real purchases (ARGS="--clients all" for the whole shop)
	$(BIN)/lakehouse demo $(ARGS)

test: $(VENV)/.dev ## Set up, then lint, type-check and run all tests
	$(MAKE) --no-print-directory lint
	$(BIN)/pytest -n auto --maxprocesses=4 --dist loadfile --no-loadscope-reorder --durations=25 $(ARGS)

test-stack: $(VENV)/.dev ## Start the stack as processes, and test the line on it
	$(BIN)/pytest tests/stack -n 2 --durations=25 $(ARGS)

test-parity: $(VENV)/.dev ## All models and data tests on three engines: an hour on two cores
	LAKEHOUSE_PARITY=full $(BIN)/pytest -s tests/stack/test_parity.py $(ARGS)

stack-up: $(VENV)/.dev ## Start the whole stack as processes of this machine, to try things on
	$(BIN)/python -m tests.stack.native up

stack-status: $(VENV)/.dev ## Which services of it run, and how to reach them
	$(BIN)/python -m tests.stack.native status

stack-down: $(VENV)/.dev ## End it, and delete what it kept
	$(BIN)/python -m tests.stack.native down

test-crash: $(VENV)/.dev ## Kill the landing 200 times instead of the 40 of `make test` (some minutes)
	LAKEHOUSE_CRASH_KILLS=200 $(BIN)/pytest -s tests/crash $(ARGS)

test-mutations: $(VENV)/.dev ## Break the platform in eleven ways, each of which named conformance cases must notice
	$(BIN)/python -m tests.conformance.mutations

docs: $(VENV)/.dev ## Build the site of the documentation, with the data dictionary, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open site/index.html; with search: $(BIN)/python -m http.server --directory site --bind 127.0.0.1"

lint: $(VENV)/.dev ## Check format, style, types, SQL and the layers of the dbt project
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	mkdir -p $(LINT_HOME)
	cd dbt_project && LAKEHOUSE_HOME=../$(LINT_HOME) ../$(BIN)/dbt parse --quiet --no-partial-parse --show-all-deprecations --warn-error
	cd dbt_project && LAKEHOUSE_HOME=../$(LINT_HOME) ../$(BIN)/sqlfluff lint models tests --disable-progress-bar
	cd dbt_project && ../$(BIN)/dbt-bouncer --config-file dbt-bouncer.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.lakehouse.yml
	$(BIN)/hadolint infra/*/Dockerfile

format: $(VENV)/.dev ## Format Python and SQL
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	mkdir -p $(LINT_HOME)
	cd dbt_project && LAKEHOUSE_HOME=../$(LINT_HOME) ../$(BIN)/sqlfluff fix models tests

bench: $(VENV)/.dev ## Measure speed and memory side by side with peers
	$(BIN)/python -m bench

bench-models: $(VENV)/.dev ## Backtest forecasts, recommendations and churn against their baselines, on the whole shop
	$(BIN)/python -m bench forecast recommend churn

bench-land: $(VENV)/.dev ## Measure landing alone: rates, bad messages, many schemas
	$(BIN)/python -m bench land poison

lock: $(VENV)/.uv ## Resolve the dependencies anew
	$(VENV)/uv/bin/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra demo --extra dev --extra bench pyproject.toml -o requirements/dev.lock
	$(VENV)/uv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra demo -c requirements/dev.lock pyproject.toml -o requirements/demo.lock
	$(VENV)/uv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra drift --extra features-stack --extra kafka --extra mariadb --extra metastore --extra ml --extra postgres --extra prefect --extra s3 --extra spark --extra trino -c requirements/dev.lock pyproject.toml -o requirements/stack.lock
	for service in prefect mlflow superset; do \
	    $(VENV)/uv/bin/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header infra/$$service/requirements.in -o infra/$$service/requirements.txt || exit 1; \
	done

clean: ## Remove the environment and the demo's lake
	rm -rf $(VENV) lake site .lake-pii.key dbt_project/target dbt_project/logs

# uv lives in a small environment of its own, so that installing from the lock cannot remove it.
$(VENV)/.uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; say which with PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PYTHON) -m venv $(VENV)/uv
	$(VENV)/uv/bin/python -m pip install --quiet 'uv>=0.8,<1'
	touch $@

$(VENV)/.demo: requirements/demo.lock pyproject.toml | $(VENV)/.uv
	VIRTUAL_ENV=$(VENV) $(VENV)/uv/bin/uv pip install --quiet --compile-bytecode --require-hashes -r requirements/demo.lock
	VIRTUAL_ENV=$(VENV) $(VENV)/uv/bin/uv pip install --quiet --no-deps -e .
	touch $@

$(VENV)/.dev: requirements/dev.lock pyproject.toml | $(VENV)/.uv
	VIRTUAL_ENV=$(VENV) $(VENV)/uv/bin/uv pip install --quiet --compile-bytecode --require-hashes -r requirements/dev.lock
	VIRTUAL_ENV=$(VENV) $(VENV)/uv/bin/uv pip install --quiet --no-deps -e .
	touch $@ $(VENV)/.demo
