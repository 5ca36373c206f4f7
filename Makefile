# Two commands: `make demo` and `make test`. Everything else is optional; `make help` lists it.
# All paths are relative, so a checkout on a path with spaces works.
PYTHON ?= python3
PY := .venv/bin/python
TORCH_CPU := https://download.pytorch.org/whl/cpu
NOTEBOOKS := $(wildcard notebooks/*.ipynb)

.PHONY: help setup demo lab test test-notebooks test-browser playwright test-colab lint lock notebooks slides student picture benchmark benchmarks clean colab colab-list address

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*##/  make \1\t/p' Makefile

demo: setup  ## denoise a photograph: run notebook 01 without a browser (about two minutes)
	$(PY) tests/tools/run_notebook.py notebooks/01_single_image_demo.ipynb --output build/demo

lab: setup  ## open JupyterLab with notebook 01
	$(PY) -m jupyterlab notebooks/01_single_image_demo.ipynb

# In smoke mode each notebook takes seconds: the same cells and assertions as in quick mode, shorter trainings.
# Two at a time, one thread each: a file stays together, so that a notebook has one kernel.
test: setup  ## run the tests, the notebooks among them (about a quarter of an hour)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	N2VLIB_DOWNLOAD=$${N2VLIB_DOWNLOAD:-0} N2VLIB_MODE=$${N2VLIB_MODE:-smoke} OMP_NUM_THREADS=1 \
	  $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-notebooks: setup  ## run the notebooks in quick mode, as students do (13 minutes)
	N2VLIB_DOWNLOAD=$${N2VLIB_DOWNLOAD:-0} N2VLIB_MODE=$${N2VLIB_MODE:-quick} $(PY) -m pytest notebooks

# playwright's version stands in pyproject.toml; nothing but these tests needs it. Without it they are skipped.
test-browser: playwright  ## move the notebooks' widgets in a real browser (Chromium; without one, skipped)
	$(PY) -m pytest -m browser tests/project/test_browser.py

playwright: setup
	@$(PY) -c 'import playwright' 2>/dev/null || \
	  $(PY) -m pip install --quiet --disable-pip-version-check --editable '.[browser]' || \
	  echo "playwright could not be installed: the tests in a browser will be skipped"

test-colab: setup  ## run all notebooks, widgets used, with the versions of Google Colab (eight minutes)
	$(PY) -m pytest -m colab tests/project/test_colab.py

# What an older build left in build/lib would get into the wheel.
colab: setup  ## make build/colab, a folder to upload to Colab or Drive: the wheel and the notebooks
	rm -rf build/colab build/lib
	$(PY) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build/colab .
	cp notebooks/*.ipynb build/colab/

colab-list: setup  ## take the versions that Colab has today into tests/project/colab_packages.txt
	$(PY) tests/tools/make_colab_list.py

address: setup  ## write the repository's address on GitHub everywhere: make address OWNER=name
	$(PY) tests/tools/set_address.py "$(OWNER)"

setup: .venv/ready  ## make the virtual environment .venv with the pinned packages

# On Linux without an NVIDIA GPU, torch's default wheel would bring gigabytes of CUDA. There we ask
# PyTorch's own index for the CPU build; if that does not answer, pip takes what it has at hand
# (PIP_FIND_LINKS names a folder of wheels) and else the default wheel.
.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "n2vlib needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv .venv
	@extra=""; \
	if [ "$$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null 2>&1; then \
	  if $(PY) -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=5)' $(TORCH_CPU)/ 2>/dev/null; \
	  then extra="--extra-index-url $(TORCH_CPU)"; \
	  else echo "PyTorch's CPU index does not answer: taking the torch wheel that pip finds"; fi; \
	fi; \
	echo "installing the packages of requirements.lock into .venv (once, a few minutes)"; \
	$(PY) -m pip install --quiet --disable-pip-version-check $$extra -r requirements.lock
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

lock: setup  ## pin all dependencies of pyproject.toml anew (needs uv: pip install uv)
	$(PY) tests/tools/make_lock.py

# Pictures of data that may not be passed on must not get into the stored outputs.
notebooks: setup  ## run all notebooks in quick mode, without downloads, and store their outputs in them
	@for notebook in $(NOTEBOOKS); do \
	  N2VLIB_DATA= N2VLIB_DOWNLOAD=0 $(PY) tests/tools/run_notebook.py "$$notebook" --inplace || exit 1; \
	done

slides: setup  ## make slides of all notebooks in build/slides, that work without a network (needs npm once)
	$(PY) tests/tools/make_slides.py

student: setup  ## write the notebooks without the solutions of their tasks to build/student
	$(PY) tests/tools/make_student.py

picture: setup  ## make the picture of the README anew (about two minutes)
	$(PY) tests/tools/make_picture.py

benchmark: setup  ## compare with CAREamics and BM3D: one table, its charts (9 min; more in tests/benchmarks/README.md)
	$(PY) tests/benchmarks/proof.py

benchmarks: setup  ## all the other comparisons, one after the other (an hour)
	for part in single twelve predict floor; do $(PY) tests/benchmarks/run.py $$part || exit 1; done
	for part in training prediction memory channels quality; do $(PY) tests/benchmarks/jump.py $$part || exit 1; done

lint: setup  ## sort imports, format, and check the style
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean:  ## remove the virtual environment and all that was built
	rm -rf .venv build
