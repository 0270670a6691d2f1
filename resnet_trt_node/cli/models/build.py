"""`resnet_trt build`: builds the engine of a model ahead of time."""

from __future__ import annotations

from argparse import Namespace
from contextlib import ExitStack
from dataclasses import asdict
from typing import Optional

from resnet_trt_node.backends.cuda.device import CudaDevice
from resnet_trt_node.backends.engines.cache import BuiltEngine, default_engine_dir
from resnet_trt_node.backends.tensorrt import versions
from resnet_trt_node.backends.tensorrt.engine import EngineSource, NODE_OPTIONS
from resnet_trt_node.backends.tensorrt.options import TensorRtOptions
from resnet_trt_node.cli.support.console import log, print_json, write
from resnet_trt_node.cli.support.options import backend_options
from resnet_trt_node.contract.model_file import read_model_spec


def run(arguments: Namespace) -> int:
    """Build the engine and print its properties."""
    largest = arguments.batch_size
    usual = tuple(sorted({1, largest})) if arguments.min_batch_size == 1 < largest else ()
    options = TensorRtOptions(
        max_batch_size=largest, opt_batch_sizes=arguments.opt_batch_size or usual,
        target_sm=arguments.target_sm, log=log, **backend_options(arguments))
    # Before TensorRT is looked for: what is no model has no engine anywhere.
    read_model_spec(arguments.model)
    trt = versions.load_module(arguments.flavour)
    with ExitStack() as stack:
        device: Optional[CudaDevice] = None
        if arguments.target_sm is None:
            device = stack.enter_context(CudaDevice(arguments.device, log))
        source = EngineSource(
            trt, arguments.flavour, arguments.model, options, device, arguments.min_batch_size)
        engine = source.get(force=arguments.force, must_store=True)
        if engine.builder and engine.builder != source.key.builder:
            # Building anew is how an engine gets on towards later versions: 8 to 10, 10 to 11.
            engine = source.get(force=True, must_store=True)
    _report(source, engine, arguments.json)
    return 0


def _report(source: EngineSource, engine: BuiltEngine, as_json: bool) -> None:
    key = source.key
    if as_json:
        print_json('build', {
            'engine': str(engine.path), 'bytes': len(engine.plan), 'built': bool(engine.reason),
            'reason': engine.reason, 'build_s': round(engine.build_s, 3),
            'precision': engine.spec.precision,
            'sparsity': None if engine.sparsity is None else asdict(engine.sparsity),
            'runtime_version': key.version, **{
                name: value for name, value in key.to_json().items() if name != 'version'}})
        return
    done = f'built in {engine.build_s:.0f} s, {engine.reason}' if engine.reason else 'found'
    sizes = ', '.join(f'{low} to {high}, best at {opt}' for low, opt, high in key.profiles)
    write(f'{engine.path}: {len(engine.plan) / 1e6:.1f} MB, {done}')
    version = key.version or f'{key.builder} or later'
    write(f'  {key.flavour} {version}, {key.device or "any GPU"} of compute capability '
          f'{key.compute_capability}')
    write(f'  {engine.spec.architecture} {engine.spec.precision}, batch sizes {sizes}')
    if engine.sparsity is not None:
        write(f'  sparse weights: {engine.sparsity.describe()}')
    write(f'  {_how_the_node_finds(source)}')


def _how_the_node_finds(source: EngineSource) -> str:
    """Return with which parameters the node finds this engine."""
    profiles = source.key.profiles
    if profiles[0][0] > 1:
        return 'the node does not find this engine: it needs batch sizes from 1 on'
    largest, tuned = profiles[-1][-1], [opt for _, opt, _ in profiles]
    given = {}
    if source.cache.folder != default_engine_dir():
        given['engine_dir'] = str(source.cache.folder.absolute())
    if tuned != sorted({1, largest}):
        if len(tuned) > 1:
            return ('the node does not find this engine: its own are best at 1 and the largest, '
                    'or at one size')
        given['opt_batch_size'] = str(tuned[0])
    for name in (*NODE_OPTIONS, 'version_compatible'):
        value = getattr(source.options, name)
        if value != getattr(TensorRtOptions, name):
            given[name] = str(value).lower()
    if source.options.version_compatible:
        given['engine_host_code'] = 'true'
    return ('the node finds it where the smaller of batch_size and cameras x queue_depth is '
            f'{largest}' + ''.join(f', {name} {value}' for name, value in given.items()))
