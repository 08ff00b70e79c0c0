# Everything from nothing but make and Python 3.11 or newer; all of it lands in .venv, build, dist and demo-out.
#
# On Linux, PyPI's torch is the CUDA build of several GB. Without a GPU, take the build for the processor instead:
#     make demo PIP_INSTALL_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"
# Another Python than the first that is found:
#     make demo PYTHON=/opt/python3.12/bin/python3.12

VENV ?= .venv
PIP_INSTALL_FLAGS ?=
PYTEST_FLAGS ?= -n 2
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.posekit-installed
SOURCES := posekit calibration bootstrap datasets apps

# A name on the PATH need not run (pyenv's shims), and Debian's python3 comes without ensurepip: each candidate is tried.
CANDIDATES := $(if $(PYTHON),$(PYTHON),python3.13 python3.12 python3.11 python3)
FIND_PYTHON := python=; old=; bare=; \
	for candidate in $(CANDIDATES); do \
		"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || { old="$$old $$candidate"; continue; }; \
		"$$candidate" -c 'import venv, ensurepip' >/dev/null 2>&1 || { bare="$$bare $$candidate"; continue; }; \
		python="$$candidate"; break; \
	done; \
	if [ -z "$$python" ] && [ -n "$$bare" ]; then \
		echo "make:$$bare has no venv module with pip; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; \
	elif [ -z "$$python" ]; then \
		echo "make: no Python 3.11 or newer among$$old; install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; \
	fi

.PHONY: help demo test lint format-check types check-wheel system-libraries clean
.DEFAULT_GOAL := help

help:
	@echo "make demo         the whole chain on a synthetic capture; pictures and a table in demo-out"
	@echo "make test         the tests"
	@echo "make lint         ruff's rules, and its formatting"
	@echo "make types        mypy, strict"
	@echo "make check-wheel  sdist -> wheel -> a fresh environment -> its command and demo, away from the sources"
	@echo "make clean        removes everything that make made"

demo: $(INSTALLED)
	$(BIN)/posekit demo --out demo-out

test: $(INSTALLED)
	$(BIN)/pytest $(PYTEST_FLAGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .

format-check: $(INSTALLED)
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/python .ci/link_types.py
	$(BIN)/mypy -p posekit

check-wheel: $(INSTALLED)
	.ci/check-wheel $(BIN)/python

system-libraries: $(INSTALLED)
	@sh system-libraries.sh $(BIN)/python

clean:
	rm -rf $(VENV) build dist demo-out *.egg-info .mypy_cache .pytest_cache .ruff_cache

# Open3D has no wheel for every system; the rest is complete without it, so its absence costs a line and not the install.
$(INSTALLED): pyproject.toml constraints.txt
	@$(FIND_PYTHON); \
	[ -x $(BIN)/python ] || { echo "make: creating $(VENV) with $$python"; "$$python" -m venv $(VENV); }
	@echo "make: installing posekit and what it needs into $(VENV) (minutes the first time)"
	@install="$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off $(PIP_INSTALL_FLAGS) -c constraints.txt -e"; \
	$$install '.[view,dev]' || { \
		echo "make: that failed; trying without Open3D (the view extra), which has no wheel for every system and Python" >&2; \
		$$install '.[dev]'; \
	}
	@sh system-libraries.sh $(BIN)/python
	@touch $@
