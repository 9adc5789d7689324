# make test, lint, docs, gate, demo, train-tiny: each sets up .venv first, when it is missing or its requirements changed.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TORCH := $(shell grep '^torch==' constraints.txt)

# What the runtime's tests need beside the light installation: onnx writes the toy bundles.
LIGHT_TESTS := pytest pytest-xdist onnx

.PHONY: demo test test-runtime test-arm lint types docs rooms gate train-tiny constraints clean kernels plugins gpu

demo: $(READY)
	$(BIN)/rsvl export --model cd2fsan-tiny --fp16 -o demo/cd2fsan-tiny.bundle
	$(BIN)/rsvl check demo/cd2fsan-tiny.bundle
	$(BIN)/rsvl run demo/cd2fsan-tiny.bundle docs/scene.jpg -o demo \
		--text "the white building" --text "the blue building located above the white building" \
		--text "the red vehicle to the right of the white building"
	@echo "The picture: $(CURDIR)/demo/scene-overlay.png"

# One thread a worker: torch would otherwise start as many as there are cores in each of them.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8

# The runtime's and the command's tests with the light installation alone: PYTHON=python3.10, EXTRAS=geo for rasterio, too.
# What needs more is skipped.
test-runtime: VERSION = $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
test-runtime: LIGHT = build/light-$(VERSION)
test-runtime:
	$(PYTHON) -m venv $(LIGHT)
	$(LIGHT)/bin/python -m pip install --quiet -c $(or $(wildcard constraints-$(VERSION).txt),constraints.txt) \
		-e '.$(EXTRAS:%=[%])' $(LIGHT_TESTS)
	OMP_NUM_THREADS=1 $(LIGHT)/bin/python -m pytest -n auto --maxprocesses 8 tests/runtime tests/cli

lint: types
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY) rooms
	MYPYPATH=build/rooms $(BIN)/mypy -p rsvl

# The documentation as web pages in build/site. A link, a cross-reference or an API page that leads nowhere fails the build.
docs: $(READY) rooms
	rm -rf build/pages && mkdir -p build/pages
	ln -s $(addprefix ../../,$(wildcard *.md) docs examples benchmarks rsvl) build/pages/
	$(BIN)/mkdocs build --strict

# The golden tests on an emulated Arm CPU with float16 instructions, which build/arm is set up for from Debian's
# and PyPI's packages: 200 MB, some minutes. Where that cannot be done it says why.
test-arm: $(READY) rooms
	$(BIN)/python .ci/arm.py build/arm

# mypy and mkdocs do not follow setuptools' package-dir: build/rooms shows them the rooms as the one package they install as.
rooms:
	rm -rf build/rooms && mkdir -p build/rooms/rsvl
	ln -s $(addprefix ../../../,$(wildcard rsvl/*) export runtime benchmarks plugins) build/rooms/rsvl/

# All that a machine with an NVIDIA GPU can tell, in eight minutes, by its own Python and without installing anything.
gpu: PYTHON := python3
gpu: rooms
	PYTHONPATH=$(CURDIR)/build/rooms $(PYTHON) benchmarks/laboratory/gpu

# The weights that ship, from nothing by their recipes: hours for each on two cores. One of them: MODELS=tgfnet-tiny.
# REAL names the folder of the real datasets, which some need (docs/training.md).
train-tiny: $(READY)
	$(BIN)/python -m rsvl.benchmarks.laboratory.train_shipped -o build/train-tiny $(REAL:%=--real %) $(MODELS)

# Every shipped model's other precisions against its float32, two models at a time; the reports are in build/gate.
gate: $(READY)
	rm -rf build/gate
	ls rsvl/models/weights/*.safetensors | OMP_NUM_THREADS=1 xargs -n 1 -P 2 $(BIN)/python .ci/gate.py build/gate

# What pyproject.toml's ranges give today, around the torch that constraints.txt names already.
constraints:
	rm -rf build/newest && $(PYTHON) -m venv build/newest
	build/newest/bin/python -m pip install --quiet $(TORCH)
	build/newest/bin/python -m pip install --quiet -e '.[dev,ray]'
	( echo '# The exact versions that .venv gets; pyproject.toml has the ranges. Renewed by: make constraints'; \
	  build/newest/bin/python -m pip freeze --all --exclude-editable --exclude pip | sed 's/+.*//' ) > build/constraints.txt
	mv build/constraints.txt constraints.txt

# The same for the light installation on a Python that cannot have the above: rm constraints-3.10.txt, then make it.
constraints-%.txt:
	rm -rf build/newest-$* && python$* -m venv build/newest-$*
	build/newest-$*/bin/python -m pip install --quiet -e '.[geo]' $(LIGHT_TESTS)
	( echo '# The exact versions that make test-runtime gets on Python $*. Renewed by: rm $@ && make $@'; \
	  build/newest-$*/bin/python -m pip freeze --exclude-editable ) > build/$@
	mv build/$@ $@

# Every CUDA source for every GPU, by nvcc and by NVRTC as far as they are here: some minutes.
kernels: $(READY)
	RSVL_ALL_ARCHITECTURES=1 $(BIN)/python -m pytest tests/plugins/test_kernels_compile.py

# build/plugins/librsvl_plugins.so, by cmake and nvcc; TENSORRT_ROOT names the folder with TensorRT's include/.
plugins:
	cmake -S plugins/library -B build/plugins $(if $(TENSORRT_ROOT),-DTENSORRT_ROOT=$(TENSORRT_ROOT))
	cmake --build build/plugins

clean:
	rm -rf $(VENV) build demo *.egg-info .pytest_cache .mypy_cache .ruff_cache

# torch goes first and by its exact version: asked for it alone, pip takes the build that constraints.txt names.
$(READY): pyproject.toml constraints.txt
	@echo "Setting up $(VENV): some minutes the first time"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt $(TORCH)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@
