# make demo   set everything up and score an example dive
# make test   set everything up and run the tests
# make test-thorough  whole commands and training runs, some seconds each
# make test-cluster  the tests that start a Ray cluster on loopback (Linux)
# make lint   style, types and layers
# make pictures  draw the pictures of the README again (the page's needs Chromium)
# make bench  measure, side by side, in one run
# make benchmark-data   simulate the data of the named benchmark (SIZE=full or small, OUT=data/benchmark,
#                       BACKGROUNDS=folder of photographs to stand behind its wild dives and negatives)

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Tests run in so many processes, of one thread each.
WORKERS ?= 2

export OMP_NUM_THREADS ?= 2

# Tests start Python a hundred times and rewrite their assertions: compiled modules are kept, whoever forbids it.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test test-thorough test-cluster lint pictures bench benchmark-data clean

demo: $(READY)
	$(BIN)/finecausal score examples/dives/626C-10m-excellent.mp4 --dive 626C --height 10

test: export OMP_NUM_THREADS = 1
test: $(READY)
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

test-thorough: export OMP_NUM_THREADS = 1
test-thorough: $(READY)
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal -m thorough

test-cluster: export OMP_NUM_THREADS = 1
test-cluster: $(READY)
	$(BIN)/python -m pip install --quiet --requirement requirements-ray.txt
	$(BIN)/python -m pytest -m cluster

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

pictures: $(READY)
	$(BIN)/python examples/pictures.py

bench: $(READY)
	$(BIN)/python -m benchmarks

SIZE ?= full
OUT ?= data/benchmark
BACKGROUNDS ?=

benchmark-data: $(READY)
	$(BIN)/python -m benchmarks.data $(OUT) --size $(SIZE) --workers $(WORKERS) $(if $(BACKGROUNDS),--backgrounds "$(BACKGROUNDS)")

clean:
	rm -rf $(VENV)

$(READY): pyproject.toml requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@
