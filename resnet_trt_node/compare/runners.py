"""
Polygraphy's own runners as subjects.

The only module that needs Polygraphy when it is imported; go through `choice.import_runners`,
which says what to do where it is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Tuple, Union

import numpy as np
from numpy.typing import NDArray

from polygraphy.backend.base import BaseRunner
from polygraphy.exception import PolygraphyException
from polygraphy.logger import G_LOGGER
from resnet_trt_node.backends.base import BackendInfo
from resnet_trt_node.backends.onnxruntime import OnnxRuntimeOptions
from resnet_trt_node.backends.onnxruntime_session import CpuSession
from resnet_trt_node.backends.tensorrt import versions
from resnet_trt_node.backends.tensorrt.options import TensorRtOptions
from resnet_trt_node.compare.subject import Subject
from resnet_trt_node.contract.model_file import parse_model, read_model, spec_in
from resnet_trt_node.contract.spec import INPUT_NAME, ModelSpec, OUTPUT_NAME
from resnet_trt_node.errors import BackendError, BackendUnavailable, InferenceError


class PolygraphySubject(Subject):
    """
    One of Polygraphy's own runners.

    What is timed is the runner's `infer` as its user calls it, without its checks of the input.
    It copies frames from ordinary memory, which this package's GPU backends need not: that is
    part of what it costs.

    :param runner: an inactive runner over something that is loaded already.
    :param spec: the contract of the model.
    :param info: who computes.
    :param max_batch_size: the largest batch.
    :raises BackendError: if it cannot be activated.
    """

    def __init__(
            self, runner: BaseRunner, spec: ModelSpec, info: BackendInfo,
            max_batch_size: int) -> None:
        super().__init__(spec, info, max_batch_size)
        self._runner = runner
        self._feed: dict[str, NDArray[np.uint8]] = {}
        try:
            runner.activate()
        except PolygraphyException as error:
            raise BackendError(f'Polygraphy: {error}') from error

    def load(self, frames: NDArray[np.uint8]) -> None:
        """Take a batch for the next calls."""
        self._feed = {INPUT_NAME: frames}

    def _run(self) -> Any:
        try:
            return self._runner.infer(self._feed, check_inputs=False)[OUTPUT_NAME]
        except PolygraphyException as error:
            raise InferenceError(f'Polygraphy: {error}') from error

    def close(self) -> None:
        """Free the runner and what it runs."""
        self._feed = {}
        if self._runner.is_active:
            self._runner.deactivate()


def open_polygraphy(
        name: str, path: Union[str, Path], options: Mapping[str, Any]) -> PolygraphySubject:
    """
    Open a model with one of Polygraphy's own runners.

    :param name: 'polygraphy:onnxrt' or 'polygraphy:trt'.
    :param path: the deployable ONNX file.
    :param options: `max_batch_size`, and `threads` or `device`, `optimization_level`,
        `tf32`, `sparse_weights` are used.
    :raises BackendUnavailable: if the runtime behind it is missing.
    :raises ModelError: if the runtime cannot use the model.
    :raises BackendError: if no engine can be built.
    """
    data = read_model(path)
    spec = spec_in(parse_model(data, path), path)
    with G_LOGGER.verbosity(G_LOGGER.CRITICAL):
        runner, version, device = (
            _onnxrt(data, path, OnnxRuntimeOptions(**options)) if name == 'polygraphy:onnxrt'
            else _trt(data, spec, TensorRtOptions(**options)))
    return PolygraphySubject(
        runner, spec, BackendInfo(name, version, device, {}), options['max_batch_size'])


def _onnxrt(
        data: bytes, path: Union[str, Path],
        options: OnnxRuntimeOptions) -> Tuple[BaseRunner, str, str]:
    # Polygraphy's loader has no way to set the threads; all else is as it would have it.
    session = CpuSession(data, path, options.threads, defaults=True)
    from polygraphy.backend.onnxrt import OnnxrtRunner
    return OnnxrtRunner(session), session.version, 'CPU'


def _trt(
        data: bytes, spec: ModelSpec, options: TensorRtOptions) -> Tuple[BaseRunner, str, str]:
    trt = versions.load_module('tensorrt')
    if options.device:
        raise BackendUnavailable(
            'Polygraphy runs TensorRT on GPU 0 only: choose it with CUDA_VISIBLE_DEVICES')
    from polygraphy.backend.trt import (
        CreateConfig, EngineFromNetwork, NetworkFromOnnxBytes, Profile, TrtRunner)

    typed = versions.is_strongly_typed(trt, dla=False)
    side = (spec.height, spec.width, 3)
    largest = (options.max_batch_size, *side)
    # One profile, as a user of Polygraphy would write it: best at the largest batch.
    profile = Profile().add(INPUT_NAME, min=(1, *side), opt=largest, max=largest)
    config = CreateConfig(
        profiles=[profile], tf32=options.tf32,
        fp16=not typed and spec.precision != 'fp32', int8=not typed and spec.precision == 'int8',
        builder_optimization_level=options.optimization_level,
        sparse_weights=options.sparse_weights)
    options.log('polygraphy:trt builds its engine every time, which may take minutes')
    try:
        engine = EngineFromNetwork(
            NetworkFromOnnxBytes(data, strongly_typed=typed), config=config)()
    except PolygraphyException as error:
        raise BackendError(f'Polygraphy cannot build an engine: {error}') from error
    return TrtRunner(engine), str(trt.__version__), 'GPU 0'
