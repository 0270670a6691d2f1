"""
What TVM's rules make of the loops for GPUs, run thread after thread on the CPU.

Races and missing barriers do not show here, nor what only the compiler for CUDA does.
"""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest

from resnet_trt_node.backends.tvm.gpu_loops import cuda_target, gpu_module, schedule_gpu
from resnet_trt_node.backends.tvm.runtime import load_tvm
from resnet_trt_node.cli.main import main

pytestmark = pytest.mark.slow

pytest.importorskip('tvm', reason='Apache TVM is not installed')

#: A tile has 32 pixels: 5 pictures of 32x32 fill it, miss it and begin another on their way.
SIZES = [1, 5]


@pytest.fixture(scope='module')
def resnet18(tmp_path_factory):
    """Return ResNet-18 of random weights for pictures of 32x32."""
    pytest.importorskip('torch', reason='PyTorch, which exports the network')
    path = tmp_path_factory.mktemp('resnet18') / 'resnet18.onnx'
    assert main([
        'export', '--arch', 'resnet18', '--weights', 'random', '--num-classes', '10',
        '--image-size', '32', '--resize', '36', '-o', str(path), '--json']) == 0
    return path


def thread_after_thread(tvm, function):
    """Return a scheduled function with loops for its threads, and all its memory in the open."""
    source = tvm.IRModule({'main': function.with_attr('global_symbol', 'main')}).script()
    source = re.sub(
        r'T\.thread_binding\((T\.int64\(\d+\)|\d+), thread="[^"]*"(, annotations=\{[^}]*\})?\)',
        r'T.serial(\1)', source)
    return tvm.script.from_source(re.sub(r', scope="(shared|local)"', '', source))['main']


def compiled(tvm, functions):
    return tvm.compile(tvm.IRModule({
        name: function.with_attr('global_symbol', name)
        for name, function in functions.items()}), target='llvm')


def differences(path, sizes):
    """Return how far each scheduled function is from the unscheduled one, as part of its range."""
    tvm = load_tvm()
    with cuda_target(tvm, 'sm_90'), tvm.transform.PassContext(opt_level=3):
        module = gpu_module(tvm, onnx.load(str(path)), sizes)
        scheduled = {name.name_hint: function
                     for name, function in schedule_gpu(tvm, module).functions.items()}
    plain = {name.name_hint: function for name, function in module.functions.items()
             if isinstance(function, tvm.tirx.PrimFunc)}
    right = compiled(tvm, plain)
    tried = compiled(tvm, {name: thread_after_thread(tvm, scheduled[name]) for name in plain})
    random = np.random.default_rng(0)
    found = {}
    for name, function in plain.items():
        arrays = []
        for buffer in function.params:
            shape = [int(side) for side in buffer.shape]
            values = random.integers(0, 256, shape) if str(buffer.dtype) == 'uint8' else \
                random.normal(size=shape)
            arrays.append(values.astype(str(buffer.dtype)))
        results = []
        for library in (right, tried):
            arguments = [tvm.runtime.tensor(array) for array in arrays]
            library[name](*arguments)
            results.append(arguments[-1].numpy())
        wanted, got = results
        found[name] = np.abs(got - wanted).max() / np.abs(wanted).max()
    return found


def test_schedules_compute_what_their_loops_do(resnet18):
    found = differences(resnet18, SIZES)
    assert len(found) > 20 * len(SIZES)
    assert {name: difference for name, difference in found.items() if not difference < 1e-5} == {}
