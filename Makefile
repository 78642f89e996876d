# Two commands do everything:
#   make serve   create .venv, install the live server (no torch), start it, print the address
#   make test    create .venv-test, install what the tests need, run all checks and tests
#
# Options:  make serve ARGS="--port 9000"      flags of `daetalker serve`
#           make test ARGS="-k windower"       flags of pytest
#           make ... PYTHON=/path/to/python3.12
#           make test TORCH="torch==2.13.0"    another build or version of torch

ARGS ?=
TORCH ?= torch==2.13.0
EXTRAS := train,c2pa,camera,livekit,mqtt,pipecat,dev
VENV := .venv
TEST_VENV := .venv-test
# Paths are absolute so that an activated environment does not matter.
RUN := $(CURDIR)/$(TEST_VENV)/bin
PIP_INSTALL := -m pip install --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help serve test style types web format system clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed -n '1,9p'

serve: $(VENV)/.ready
	@$(VENV)/bin/daetalker serve $(ARGS)

$(VENV)/.ready: pyproject.toml
	@scripts/venv.sh $(VENV)
	@echo "Installing daetalker into $(VENV) (about 330 MB, once)"
	@$(VENV)/bin/python $(PIP_INSTALL) --editable .
	@touch $@

# torch goes first and alone: what the extras ask for is then satisfied by exactly this build.
$(TEST_VENV)/.ready: pyproject.toml
	@scripts/venv.sh $(TEST_VENV)
	@echo "Installing $(TORCH) into $(TEST_VENV)"
	@$(TEST_VENV)/bin/python $(PIP_INSTALL) $(TORCH)
	@echo "Installing daetalker[$(EXTRAS)] into $(TEST_VENV)"
	@$(TEST_VENV)/bin/python $(PIP_INSTALL) --editable ".[$(EXTRAS)]"
	@touch $@

system:
	@scripts/system-packages.sh

# Every check runs even when an earlier one fails; pytest comes last, so its summary closes the
# output.  The exit code is pytest's, or 1 if only another check failed.
test: system $(TEST_VENV)/.ready
	@failed=; \
	for check in style types web; do \
	  echo "== $$check"; \
	  $(MAKE) --no-print-directory $$check || failed="$$failed $$check"; \
	done; \
	echo "== pytest"; \
	if [ -n "$$failed" ]; then echo "Failed before pytest, see above:$$failed"; fi; \
	$(RUN)/python -m pytest $(ARGS) || exit $$?; \
	[ -z "$$failed" ]

style: $(TEST_VENV)/.ready
	@$(RUN)/ruff check .
	@$(RUN)/ruff format --check .

types: $(TEST_VENV)/.ready
	@$(RUN)/mypy
	@$(RUN)/lint-imports --no-cache

web: node_modules/.ready
	@if command -v npm >/dev/null 2>&1; then npm run --silent check; \
	else echo "No npm here: the checks of the page are skipped."; fi

node_modules/.ready: package.json $(wildcard package-lock.json)
	@if command -v npm >/dev/null 2>&1; then \
	  if [ -f package-lock.json ]; then npm ci --no-audit --no-fund --silent; \
	  else npm install --no-audit --no-fund --silent; fi && touch $@; \
	fi

format: $(TEST_VENV)/.ready
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

clean:
	rm -rf $(VENV) $(TEST_VENV) node_modules dist build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
