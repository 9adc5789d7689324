# make test, lint, gate, demo, train-tiny: each sets up .venv first, when it is missing or its requirements changed.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TORCH := $(shell grep '^torch==' constraints.txt)

.PHONY: demo test lint gate train-tiny constraints clean kernels plugins gpu

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

lint: $(READY) build/rooms
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	MYPYPATH=build/rooms $(BIN)/mypy -p rsvl

# The rooms as the one package that they install as, for programs that do not follow setuptools' package-dir.
build/rooms: $(wildcard rsvl/*)
	rm -rf $@ && mkdir -p $@/rsvl
	ln -s $(addprefix ../../../,$(wildcard rsvl/*) export runtime benchmarks plugins) $@/rsvl/
	touch $@

# All that a machine with an NVIDIA GPU can tell, in eight minutes, by its own Python and without installing anything.
gpu: PYTHON := python3
gpu: build/rooms
	PYTHONPATH=$(CURDIR)/build/rooms $(PYTHON) benchmarks/laboratory/gpu

# The weights that ship, from nothing by their recipes: hours for each on two cores. One of them: MODELS=tgfnet-tiny.
train-tiny: $(READY)
	$(BIN)/python -m rsvl.cli.train_shipped -o build/train-tiny $(MODELS)

# Every shipped model's other precisions against its float32, two models at a time; the reports are in build/gate.
gate: $(READY)
	rm -rf build/gate
	ls rsvl/models/weights/*.safetensors | OMP_NUM_THREADS=1 xargs -n 1 -P 2 $(BIN)/python .ci/gate.py build/gate

# What pyproject.toml's ranges give today, around the torch that constraints.txt names already.
constraints:
	rm -rf build/newest && $(PYTHON) -m venv build/newest
	build/newest/bin/python -m pip install --quiet $(TORCH)
	build/newest/bin/python -m pip install --quiet -e '.[dev]'
	( echo '# The exact versions that .venv gets; pyproject.toml has the ranges. Renewed by: make constraints'; \
	  build/newest/bin/python -m pip freeze --all --exclude-editable --exclude pip | sed 's/+.*//' ) > build/constraints.txt
	mv build/constraints.txt constraints.txt

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
