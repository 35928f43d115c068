# Persistent Terminal Hub. Needs make and Python 3.11 or newer; everything else lands in .venv and
# .cache of this checkout. A step runs again only when its inputs changed (images/once.py).

.DEFAULT_GOAL := help
.PHONY: help run test bench screenshots lint docs image wheel ui ui-packages clean venv requirements emulator install install-test proxy test-tools serve-ready image-parts test-ready
.SUFFIXES:
MAKEFLAGS += --no-print-directory --no-builtin-rules

# Another interpreter: make PYTHON=/path/to/python3.12 run
ifndef PYTHON
PYTHON := $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
    "$$p" -c 'import sys; sys.version_info >= (3, 11) and print(sys.executable)' 2>/dev/null | grep . && break; done)
endif

# Arguments for what is started: make run ARGS="--config my.yaml", make test ARGS="-k keeper -x"
ARGS ?=
# Test files that run side by side (they mostly wait; tests/three_workers.py says which). One after the other: make test WORKERS=0
WORKERS ?= 3

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
LABEXTENSION := share/jupyter/labextensions/persistent-terminal-hub
PAGES := share/persistent-terminal-hub/pages
EMULATOR := persistent_terminal_hub/server/keyframe_node
ONCE = @$(PYTHON) images/once.py
WHEEL_INPUTS := $(foreach path,persistent_terminal_hub etc share pyproject.toml setup.cfg README.md LICENSE \
    jupyterhub_config.py images/wheel.py,--input $(path))

# What pyproject.toml requires for these extras, as quoted arguments for pip.
requirements = $(shell $(PYTHON) images/requirements.py $(1) | sed "s/.*/'&'/")
RUN_REQUIREMENTS = $(call requirements,hub workspace client)
TEST_REQUIREMENTS = $(call requirements,hub workspace client test)
DOCS_REQUIREMENTS = $(call requirements,docs)
PIP_INSTALL := $(BIN)/pip install -qq

# Nothing outside the checkout, caches included.
export PIP_CACHE_DIR ?= $(CURDIR)/.cache/pip
export npm_config_cache ?= $(CURDIR)/.cache/npm
export npm_config_update_notifier := false
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: serve-ready ## install everything, then serve (ARGS="--config FILE")
	@exec $(BIN)/persistent-terminal-hub serve $(ARGS)

test: test-ready ## install everything, then run all tests (ARGS="-k NAME")
	@exec env PTH_TEST_PROXY_BIN=$(CURDIR)/$(VENV)/lib/pth-node/node_modules/.bin/configurable-http-proxy \
	    PTH_TEST_NODE_MODULES=$(CURDIR)/$(VENV)/lib/pth-node-test/node_modules \
	    $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

bench: install install-test proxy ## measure against the peers, under six minutes (ARGS="--quick", "--only bulk")
	@exec env PTH_TEST_PROXY_BIN=$(CURDIR)/$(VENV)/lib/pth-node/node_modules/.bin/configurable-http-proxy \
	    $(BIN)/python -m tests.benchmarks.bench $(ARGS)

screenshots: test-ready ## picture every page and state into .cache/screenshots (ARGS="--docs", "--only panel")
	@exec env PTH_TEST_PROXY_BIN=$(CURDIR)/$(VENV)/lib/pth-node/node_modules/.bin/configurable-http-proxy \
	    $(BIN)/python -m tests.screenshots $(ARGS)

lint: install-test ui ## ruff, mypy, the walls between rooms, eslint, file lengths
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@PYTHONPATH=. $(BIN)/lint-imports
	@images/ui $(VENV) lint
	@$(PYTHON) images/check_lengths.py persistent_terminal_hub images

docs: venv ## build the documentation into .cache/site
	$(ONCE) $(STAMPS)/docs --say "Installing what the documentation needs" \
	    --input $(STAMPS)/venv --alone pip \
	    -- $(PIP_INSTALL) $(DOCS_REQUIREMENTS)
	@echo "==> Building the documentation"
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir .cache/site
	@echo "    .cache/site/index.html"

image: wheel ## build the workspaces' container image (needs a Docker Engine)
	@$(BIN)/python images/build $(ARGS)

wheel: emulator ui ## build our wheel into .cache/dist
	$(ONCE) .cache/stamps/wheel --say "Building the wheel" --input $(STAMPS)/venv $(WHEEL_INPUTS) --output .cache/dist \
	    -- $(BIN)/python images/wheel.py

ui: ui-packages ## build what runs in browsers (ui/) into share/
	$(ONCE) .cache/stamps/ui --say "Building the browser side" --input $(STAMPS)/ui-packages --input images/ui \
	    --input ui/tsconfig.base.json $(foreach path,package.json tsconfig.json install.json schema src style,--input ui/lab/$(path)) \
	    $(foreach path,package.json tsconfig.json tsconfig.build.json src,--input ui/client/$(path)) --output ui/client/lib/index.js \
	    $(foreach path,package.json tsconfig.json vite.config.ts admin.html terminal.html src,--input ui/pages/$(path)) \
	    --output $(PAGES)/admin.html --output $(PAGES)/terminal.html --output $(PAGES)/assets \
	    --output $(LABEXTENSION)/package.json --output $(LABEXTENSION)/static --output $(LABEXTENSION)/schemas \
	    -- images/ui $(VENV) build

clean: ## remove all that was built here (not your data, not Docker's images)
	rm -rf $(VENV) .cache ui/node_modules ui/*/lib share/jupyter/labextensions $(PAGES) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# --- steps that the targets above are made of ---

# The installed wheel is what runs: data files do not land with `pip install -e`.
serve-ready: install proxy
	@if $(BIN)/python images/build --engine; then $(MAKE) image ARGS=; else \
	    echo "==> No Docker Engine answers: no image is built, workspaces will be plain processes."; fi

venv:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none is on PATH. On Debian 12 or newer:\
	 apt-get install python3 python3-venv; or name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv module. On Debian and\
	 Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(ONCE) $(STAMPS)/venv --say "Making a virtual environment in $(VENV)" --output $(BIN)/python \
	    --value "$(CURDIR)" --value "$$($(PYTHON) -VV)" \
	    -- sh -c 'rm -rf $(VENV) && $(PYTHON) -m venv $(VENV) && $(BIN)/pip install -qq "setuptools>=77" wheel'

requirements: venv
	$(ONCE) $(STAMPS)/requirements --say "Installing JupyterHub, JupyterLab and what they need (a minute or two at first)" \
	    --input $(STAMPS)/venv --alone pip \
	    -- $(PIP_INSTALL) $(RUN_REQUIREMENTS)

# xterm.js, the emulator behind keyframes, goes into the wheel.
emulator: requirements
	$(ONCE) $(STAMPS)/emulator --say "Fetching the terminal emulator (@xterm/headless)" --input $(EMULATOR)/package-lock.json \
	    --input images/npm --input $(STAMPS)/requirements --output $(EMULATOR)/xterm-headless.js \
	    -- sh -c 'images/npm $(VENV) $(EMULATOR) $(VENV)/lib/pth-emulator && sed "/^..# sourceMappingURL=/d" \
	        $(VENV)/lib/pth-emulator/node_modules/@xterm/headless/lib-headless/xterm-headless.js > $(EMULATOR)/xterm-headless.js'

ui-packages: requirements
	$(ONCE) $(STAMPS)/ui-packages --say "Fetching what the browser side is built with (npm, about 20 s)" \
	    --input ui/package.json --input ui/package-lock.json --input ui/lab/package.json --input ui/client/package.json \
	    --input ui/pages/package.json --input images/ui \
	    --input $(STAMPS)/requirements --output ui/node_modules/.package-lock.json -- images/ui $(VENV) install

install: wheel
	$(ONCE) $(STAMPS)/wheel --say "Installing our wheel" --input .cache/stamps/wheel --input $(STAMPS)/requirements --alone pip \
	    -- sh -c '$(BIN)/pip install -qq --no-index --no-deps --force-reinstall .cache/dist/*.whl'

install-test: requirements
	$(ONCE) $(STAMPS)/test --say "Installing what tests and linters need" \
	    --input $(STAMPS)/requirements --alone pip \
	    -- $(PIP_INSTALL) $(TEST_REQUIREMENTS)

proxy: requirements
	$(ONCE) $(STAMPS)/proxy --say "Installing the proxy (configurable-http-proxy)" --input images/proxy --input images/npm \
	    --input $(STAMPS)/requirements -- images/npm $(VENV) images/proxy $(VENV)/lib/pth-node

# All that tests need. With `make -j` its steps run side by side (.ci/run).
test-ready: install-test serve-ready test-tools

# Ahead of our wheel: two minutes that need not wait for it. One build of the image at a time, says images/build.
image-parts: venv
	@if $(BIN)/python images/build --engine 2>/dev/null; then $(BIN)/python images/build --parts; fi

test-tools: requirements
	$(ONCE) $(STAMPS)/test-tools --say "Installing the OIDC provider that tests log in at" --input tests/node \
	    --input images/npm --input $(STAMPS)/requirements -- images/npm $(VENV) tests/node $(VENV)/lib/pth-node-test
