"""An engine built with as little around it as possible, and what its inspector tells."""

from __future__ import annotations

import json
from typing import Any

from resnet_trt_node.backends.tensorrt import versions
from resnet_trt_node.contract.sparsity import SparseBuild
from resnet_trt_node.contract.spec import INPUT_NAME
import tensorrt as trt

#: The first layers are told, which show how the picture is taken.
_FIRST = 8
# TensorRT keeps the first one that it is given, to the end of the process.
_loggers: list[Any] = []


def build(
        model: bytes, batch: int, level: int, *, sparse: bool,
        fours: bool) -> tuple[bytes, dict[str, Any]]:
    """
    Build an engine of one batch size.

    :param model: ONNX of int8 precision, its batch dynamic.
    :param level: of the builder.
    :param sparse: let it run 2:4 weights on sparse kernels.
    :param fours: the input is (N, 3, H, W) of int8, each pixel's channels together with a fourth.
    :returns: the plan; and the first layers, and of sparse weights what the log and the inspector
        say.
    :raises SystemExit: with TensorRT's words.
    """
    said: list[str] = []
    errors: list[str] = []

    def take(severity: str, line: str) -> None:
        if 'ERROR' in severity:
            errors.append(line)
        elif line.startswith('(Sparsity)'):
            said.append(line)

    logger = versions.make_logger(trt, take)
    _loggers.append(logger)
    builder = trt.Builder(logger)
    config = builder.create_builder_config()
    config.builder_optimization_level = level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    versions.time_carefully(trt, config)
    versions.share_profiles(trt, config)
    versions.restrict_tactics(trt, config)
    config.clear_flag(trt.BuilderFlag.TF32)
    for flag in versions.precision_flags(trt, 'int8', dla=False):
        config.set_flag(flag)
    if sparse:
        config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
    network = builder.create_network(versions.network_flags(trt, dla=False))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        raise SystemExit(f'the parser refuses it: {parser.get_error(0).desc()}; {errors[-3:]}')
    taken = network.get_input(0)
    if fours:
        taken.allowed_formats = 1 << int(trt.TensorFormat.CHW4)
    profile = builder.create_optimization_profile()
    shape = (batch, *taken.shape[1:])
    profile.set_shape(INPUT_NAME, shape, shape, shape)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise SystemExit(f'TensorRT cannot build it: {errors[-3:]}')
    data = bytes(plan)
    layers = inspected(trt.Runtime(logger).deserialize_cuda_engine(data))
    details: dict[str, Any] = {'layers': len(layers), 'first': layers[:_FIRST]}
    if sparse:
        found = SparseBuild.of_log(0, said)
        details['sparsity'] = {
            'log': said, 'eligible': found.eligible, 'chosen': found.chosen,
            'layers': found.layers, 'kernels': [
                one for one in layers if 'sparse' in one['tactic'].lower()]}
    return data, details


def inspected(engine: Any) -> list[dict[str, str]]:
    """Return each layer's name, kind, kernel and how its input lies, as the inspector tells."""
    text = engine.create_engine_inspector().get_engine_information(
        trt.LayerInformationFormat.JSON)
    layers = []
    # TensorRT 8.6 separates names by a control character, which JSON does not allow.
    for one in json.loads(text, strict=False)['Layers']:
        # Of an engine that was not built in detail it is the name alone.
        known = one if isinstance(one, dict) else {'Name': one}
        layers.append({
            'name': str(known.get('Name')), 'kind': str(known.get('LayerType', '')),
            'tactic': str(known.get('TacticName', '')),
            'input': ', '.join(str(given.get('Format/Datatype'))
                               for given in known.get('Inputs', []))})
    return layers
