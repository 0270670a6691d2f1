"""
Polygraphy's runners: one over any subject of this package, and Polygraphy's own as subjects.

The only module that needs Polygraphy when it is imported, since its classes derive from
Polygraphy's; go through `choice.import_runners`, which says what to do where it is missing.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Callable, Mapping, Optional, Tuple, TYPE_CHECKING, Union

import numpy as np

from polygraphy.backend.base import BaseRunner
from polygraphy.common import TensorMetadata
from polygraphy.exception import PolygraphyException
from polygraphy.logger import G_LOGGER
from resnet_trt_node.backends.base import BackendInfo
from resnet_trt_node.backends.onnxruntime import OnnxRuntimeOptions
from resnet_trt_node.backends.onnxruntime_session import CpuSession
from resnet_trt_node.backends.result_check import refuse_bad
from resnet_trt_node.backends.tensorrt import versions
from resnet_trt_node.backends.tensorrt.options import TensorRtOptions
from resnet_trt_node.compare.subject import Answer, Subject
from resnet_trt_node.contract.model_file import parse_model, read_model, spec_in
from resnet_trt_node.contract.spec import INPUT_NAME, ModelSpec, OUTPUT_NAME
from resnet_trt_node.errors import (
    BackendError, BackendUnavailable, InferenceError, UsageError)

if TYPE_CHECKING:
    from numpy.typing import NDArray


class SubjectRunner(BaseRunner):  # type: ignore[misc]
    """
    A Polygraphy runner over a backend of this package, here or in another Python.

    As with Polygraphy's own runners, what it is given decides who closes it: an open subject
    stays the caller's, a callable is called by `activate` and its subject closed by `deactivate`.

    :param subject: an open subject, or a callable that opens one.
    :param name: what Polygraphy calls it.
    """

    def __init__(
            self, subject: Union[Subject, Callable[[], Subject]],
            name: Optional[str] = None) -> None:
        super().__init__(name=name, prefix='resnet-trt-runner')
        self._source = subject

    def activate_impl(self) -> None:
        """Open the subject, unless it is open."""
        self.subject = self._source if isinstance(self._source, Subject) else self._source()

    def get_input_metadata_impl(self) -> Any:
        """Return name, type and shape of the one input; None is the dynamic N."""
        spec = self.subject.spec
        return TensorMetadata().add(
            INPUT_NAME, dtype=np.uint8, shape=(None, spec.height, spec.width, 3))

    def infer_impl(self, feed_dict: Mapping[str, NDArray[np.uint8]]) -> Any:
        """Infer one batch; the time is the subject's own, not that of the way to it."""
        answer = self.subject.infer(feed_dict[INPUT_NAME])
        self.inference_time = answer.took_ns / 1e9
        return OrderedDict([(OUTPUT_NAME, answer.probabilities)])

    def deactivate_impl(self) -> None:
        """Close the subject if this opened it."""
        if not isinstance(self._source, Subject):
            self.subject.close()
        del self.subject


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
    """

    def __init__(
            self, runner: BaseRunner, spec: ModelSpec, info: BackendInfo,
            max_batch_size: int) -> None:
        super().__init__(spec, info)
        self._runner = runner
        self._max_batch_size = max_batch_size
        self._feed: dict[str, NDArray[np.uint8]] = {}

    def load(self, frames: NDArray[np.uint8]) -> None:
        """Keep the frames."""
        spec = self.spec
        if not 1 <= len(frames) <= self._max_batch_size or frames.shape[1:] != (
                spec.height, spec.width, 3):
            raise UsageError(
                f'frames of shape {frames.shape}: this runner takes up to '
                f'{(self._max_batch_size, spec.height, spec.width, 3)}')
        self._feed = {INPUT_NAME: frames}

    def answer(self) -> Answer:
        """Infer the kept batch once."""
        start_ns = perf_counter_ns()
        outputs = self._infer()
        took_ns = perf_counter_ns() - start_ns
        probabilities = np.array(outputs[OUTPUT_NAME])
        refuse_bad(probabilities, len(self._feed[INPUT_NAME]), self.spec.num_classes)
        return Answer(probabilities, took_ns)

    def time(self, settle: int, count: int) -> list[int]:
        """Infer the kept batch again and again."""
        for _ in range(settle):
            self._infer()
        took_ns = []
        for _ in range(count):
            start_ns = perf_counter_ns()
            self._infer()
            took_ns.append(perf_counter_ns() - start_ns)
        return took_ns

    def lend_runner(self) -> BaseRunner:
        """Return the runner, inactive, for the Comparator to activate."""
        if self._runner.is_active:
            self._runner.deactivate()
        return self._runner

    def close(self) -> None:
        """Deactivate the runner."""
        self._feed = {}
        if self._runner.is_active:
            self._runner.deactivate()

    def _infer(self) -> Any:
        if not self._feed:
            raise UsageError('no batch is loaded: call load first')
        try:
            if not self._runner.is_active:
                self._runner.activate()
            return self._runner.infer(self._feed, check_inputs=False)
        except PolygraphyException as error:
            raise InferenceError(f'Polygraphy: {error}') from error


def open_polygraphy(
        name: str, path: Union[str, Path], options: Mapping[str, Any]) -> PolygraphySubject:
    """
    Open a model with one of Polygraphy's own runners.

    :param name: 'polygraphy:onnxrt' or 'polygraphy:trt'.
    :param path: the deployable ONNX file.
    :param options: `max_batch_size`, and `cpu_threads` or `device_id`, `optimization_level`,
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


def runner_for(subject: Subject, name: str) -> BaseRunner:
    """
    Return what the Comparator runs for a subject.

    :param name: what Polygraphy calls it in its results.
    """
    if isinstance(subject, PolygraphySubject):
        runner = subject.lend_runner()
        runner.name = name
        return runner
    return SubjectRunner(subject, name)


def _onnxrt(
        data: bytes, path: Union[str, Path],
        options: OnnxRuntimeOptions) -> Tuple[BaseRunner, str, str]:
    # Polygraphy's loader has no way to set the threads; all else is as it would have it.
    session = CpuSession(data, path, options.cpu_threads, defaults=True)
    from polygraphy.backend.onnxrt import OnnxrtRunner
    return OnnxrtRunner(session), session.version, 'CPU'


def _trt(
        data: bytes, spec: ModelSpec, options: TensorRtOptions) -> Tuple[BaseRunner, str, str]:
    trt = versions.load_module('tensorrt')
    if options.device_id:
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
    options.log('polygraphy:trt builds its engine anew each time, which may take minutes')
    try:
        engine = EngineFromNetwork(
            NetworkFromOnnxBytes(data, strongly_typed=typed), config=config)()
    except PolygraphyException as error:
        raise BackendError(f'Polygraphy cannot build an engine: {error}') from error
    return TrtRunner(engine), str(trt.__version__), 'GPU 0'
