# Everything that needs no ROS 2 workspace; `colcon build` needs none of this.
# `make venv PYTHON=...` names the interpreter, ROS=jazzy takes that ROS 2 instead of Kilted, in an
# environment beside it; tools/setup_venv.sh tells the rest.

SHELL := /bin/sh
.DEFAULT_GOAL := help
ROS ?= kilted
export ROS
python := .venv$(if $(filter-out kilted,$(ROS)),-$(ROS))/bin/python

ifdef PYTHON
export PYTHON
endif
# A Python of another environment with ROS 2 wheels hands down the paths of its own libraries; where
# a GPU is tested, GPU_PYTHON is of that environment, and TensorRT may lie in one of these paths.
ifdef _ROS_WHEELS_BOOTSTRAP_COMPLETE
ifeq ($(filter gpu-test gpu-bench,$(MAKECMDGOALS)),)
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE LD_LIBRARY_PATH
endif
endif

.PHONY: help venv demo docs docs-serve test test-ros test-fast fuzz lint gpu-test gpu-bench bench soak \
  clean

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

venv: ## create or refresh .venv with everything that the others need
	@tools/setup_venv.sh

# Without PyTorch, which `make venv` adds; a whole environment that is there already does as well.
demo: ## real photographs through a real node in two minutes; pictures and a table come out
	@PARTS='runtime demo' tools/setup_venv.sh
	$(python) tools/demo.py

# The theme tells of its future at each call otherwise.
docs docs-serve: export NO_MKDOCS_2_WARNING := 1
docs docs-serve: export PARTS := runtime test docs
docs: venv ## the pages as a site in build/site, on Python 3.11 or later; a warning is an error
	$(python) -m mkdocs build

docs-serve: venv ## the same at http://127.0.0.1:8000, built again as you write
	$(python) -m mkdocs serve --no-strict

# One command, so that pytest's closing line is the last one. Many tests wait for other processes,
# so that one worker more than there are cores is of use; a file's tests stay together.
WORKERS ?= $(shell cores=$$(nproc); echo $$((cores < 3 ? cores + 1 : 4)))
pytest = $(python) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# A test that hangs is ended, and where it hangs in C++ its worker is; the limits are far above what
# the slowest takes on a busy machine. Tests that use DDS, other processes or PyTorch get a second
# try, a few in a run: the summary lists each, with the traceback of the first try.
patiently = --timeout=1500 -o faulthandler_timeout=1600 -o faulthandler_exit_on_timeout=true \
  --reruns 1 --max-suite-reruns 9 --rerun-show-tracebacks -raR
test: venv ## linters, mypy and all tests; WORKERS=3 at once
	$(pytest) $(patiently)

# What another distribution of ROS 2 can change, in an environment that has only what it takes; a
# whole one that is there already does as well.
ROS_TESTS := test/node test/launch_support test/bench $(wildcard test/bag/test_replay*.py) \
  test/package/test_interfaces.py test/docs/test_regions_commands.py
test-ros: ## the tests that need ROS 2; ROS=jazzy runs them on Jazzy
	@PARTS='runtime test' tools/setup_venv.sh
	$(pytest) $(patiently) $(ROS_TESTS)

# A fast test that does what it must not do fails; test/helpers/tiers.py says how to mark slow ones.
# None waits for anything, so that a worker for each core is best.
test-fast: WORKERS := $(shell cores=$$(nproc); echo $$((cores < 4 ? cores : 4)))
test-fast: venv ## the tests that use no process, network, PyTorch or ROS, in a minute
	$(pytest) --timeout=600 -m 'not slow'

# N inputs for each reader; TARGET=image is one of them, see test/fuzz/fuzz.py.
N ?= 1000000
fuzz: venv ## broken images, bags, metadata, labels and odd detections; N=1000000 of each
	$(python) test/fuzz/fuzz.py --number $(N) $(if $(TARGET),--target $(TARGET))

lint: venv ## ruff, mypy, ament_flake8, ament_pep257 and the oldest Python
	$(python) -m pytest -q --timeout=3000 test/package/test_lint.py

# Not in .venv: TensorRT comes with the machine. GPU_PYTHON has it, pycuda, onnx and pytest. Where it
# has tensorrt_lean too, that is tried in a process of its own.
gpu_pytest = $(or $(GPU_PYTHON),python3) -m pytest -q -p no:cacheprovider
gpu_tests = test/backends/contract/test_backend_contract.py \
  test/backends/contract/test_backend_lifetime.py test/backends/tensorrt/test_tensorrt_gpu.py \
  test/backends/cuda/test_resized_rows_gpu.py
gpu-test: ## the backend's tests on this machine's TensorRT and GPU
	RESNET_TRT_GPU_TEST=1 $(gpu_pytest) -k 'not rtx and not tensorrt_lean' $(gpu_tests)
	$(gpu_pytest) -rs -k tensorrt_lean $(gpu_tests)

# FP16 and INT8 are ResNet-50 models; GPU_PYTHON has ROS 2 too. OUT= another JSON file.
gpu-bench: ## the whole node on this machine's GPU, about 15 minutes; see docs/how-to/gpu.md
	PYTHONPATH=tools:.$(if $(PYTHONPATH),:$(PYTHONPATH)) $(or $(GPU_PYTHON),python3) \
	  -m tools.gpu.node.bench --fp16 $(or $(FP16),models/gpu/resnet50_fp16.onnx) \
	  --int8 $(or $(INT8),models/gpu/resnet50_int8.onnx) --out $(or $(OUT),build/gpu/gpu_node.json) \
	  $(ARGUMENTS)

bench: venv ## real-time figures beside a plain node, about 11 minutes; QUICK=1 takes two
	PYTHONPATH=tools $(python) -m bench $(if $(QUICK),--quick)

soak: venv ## six cameras and faults for HOURS=0.17 hours; DEPLOYMENT=default loses frames
	PYTHONPATH=tools $(python) -m bench --soak-hours $(or $(HOURS),0.17) \
	  $(if $(DEPLOYMENT),--deployment $(DEPLOYMENT))

clean: ## remove what the others made, .venv too
	rm -rf .venv .venv-* .venv.lock build install log demo .mypy_cache .ruff_cache .pytest_cache \
	  .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
