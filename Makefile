# `make help` says what there is. The first target that needs it makes .venv, a changed lock brings it up to date.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp

.PHONY: help demo test check lint testbed images crds screenshots bench lock clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

demo bench screenshots: export PYTHONPATH := tests
demo: $(STAMP) ## a cluster with the operator and a gateway; shows what it does
	$(BIN)/python demo/demo.py

test: lint testbed ## check, and the tests on a real cluster (the first run may build one: tests/testbed)
	eval "$$(tests/testbed/up.sh)" && images/build >/dev/null
	@# What uses the cluster expects to be alone there, and waits most of the time: all else runs beside it.
	@mkdir -p .build; trap 'kill $$! 2>/dev/null' EXIT; \
	$(BIN)/pytest -p no:cacheprovider tests/unit tests/chart tests/page tests/images >.build/test.log 2>&1 & \
	status=0; $(BIN)/pytest tests/api tests/e2e || status=$$?; \
	if wait $$!; then tail -n 1 .build/test.log; else status=$$?; cat .build/test.log; fi; exit $$status

check: lint ## format, lint, types, layers, shell scripts, unit tests: no cluster needed
	$(BIN)/pytest -q tests/unit

lint: $(STAMP)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	grep -rIlE --exclude-dir=.{venv,git,build} '^(#!/bin/(ba)?sh|#!/usr/bin/env bash|# shellcheck shell=)' . | xargs $(BIN)/shellcheck -x -P SCRIPTDIR

testbed: ## what a kind cluster needs: found on this machine, pulled or built
	tests/testbed/up.sh >/dev/null

images: $(STAMP) ## build the container images; their names go to .build/images.yaml
	images/build

crds: $(STAMP) ## write the CRDs, the chart's copies and docs/reference.md anew from operator/mailfilter/api
	$(BIN)/mailfilter crds crds --reference docs/reference.md
	rm -f $(CHART_CRDS)/*.yaml && cp crds/*.yaml $(CHART_CRDS)

screenshots: $(STAMP) ## take the pictures of the quarantine's page anew, into docs/images
	$(BIN)/python -m support.screenshots docs/images

bench: $(STAMP) ## a gateway against the hand-made system: speed, cost, verdicts; N=300 mails a round
	$(BIN)/python -m bench --mails $(or $(N),300)

lock: ## resolve requirements/*.txt anew from pyproject.toml
	$(PYTHON) -m venv .build/uv && .build/uv/bin/pip install -q uv
	$(LOCK) -o requirements/runtime.txt pyproject.toml
	$(LOCK) --extra dev -o requirements/dev.txt pyproject.toml
	$(LOCK) --group build -o requirements/build.txt

clean: ## delete the clusters of tests and demo, .build and .venv; the testbed's cache stays
	-command -v docker >/dev/null && tests/testbed/down.sh
	rm -rf .build .venv

CHART_CRDS := charts/mailfilter-operator/files/crds
LOCK := .build/uv/bin/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Python 3.11 or later is needed and $(PYTHON) is {v.major}.{v.minor}: make PYTHON=/path/to/python3")'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv; } \
	  || { echo "$(PYTHON) has no ensurepip: install it (Debian: python3-venv)" >&2; exit 1; }
	[ -x $(BIN)/pip ] || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
