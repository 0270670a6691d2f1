"""A pipeline with a backend under control, and everything that it reports written down."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from threading import Event
from time import monotonic, sleep
from typing import Any, Callable, Optional

import numpy as np
from resnet_trt_node.backends.base import Backend, BackendInfo
from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.contract.spec import ModelSpec, ResizeRule
from resnet_trt_node.errors import FrameError, InferenceError
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.node.pipeline.frame_queue import InFlightFrame
from resnet_trt_node.node.pipeline.inference.backend_state import BackendPhase
from resnet_trt_node.node.pipeline.inference.inference_worker import NUM_BUFFERS
from resnet_trt_node.node.pipeline.pipeline import Pipeline
from resnet_trt_node.node.pipeline.settings import LiveSettings, PipelineHooks
from resnet_trt_node.node.pipeline.work import FrameInput, WholeFrames

SIZE = 8
SPEC = ModelSpec(
    height=SIZE, width=SIZE, labels=tuple(f'value_{i}' for i in range(256)),
    resize=ResizeRule(SIZE, SIZE, SIZE), precision='fp32')


@dataclass
class Faults:
    """What goes wrong; shared by all backends that a pipeline opens one after the other."""

    #: Raised by the next batches, one each, None for a batch that goes well.
    batches: deque[Optional[BaseException]] = field(default_factory=deque)
    #: Raised once by the batch that holds the frame of this value, whichever batch that is.
    frames: dict[int, BaseException] = field(default_factory=dict)
    #: Raised by every batch while set.
    always: Optional[BaseException] = None
    #: Raised by the next openings, None for one that goes well.
    openings: deque[Optional[BaseException]] = field(default_factory=deque)
    #: Whether failures come out of collect, as those of a device do, or out of submit.
    late: bool = False
    #: What a backend makes of its answers, float32 (batch, 256), after the warm-up.
    result: Callable[[np.ndarray], Any] = lambda answers: answers


class GatedBackend(Backend):
    """Answers a frame's value as its class, when the gate is open; can be made to fail."""

    def __init__(
            self, max_batch_size: int, faults: Faults, gate: Event,
            num_buffers: int = NUM_BUFFERS) -> None:
        super().__init__(SPEC, BackendInfo('gated', '1', 'none', {}), [
            np.zeros((max_batch_size, SIZE, SIZE, 3), np.uint8) for _ in range(num_buffers)])
        self.gate = gate
        self.entered = Event()
        self.batches: list[list[int]] = []
        self.faults = faults
        self.warm = False
        #: The buffers and what they held at the end: nobody may write to them afterwards.
        self.freed: list[tuple[np.ndarray, np.ndarray]] = []
        self._owned = list(self._buffers)
        # One for each buffer, as TensorRT's: the next batch of the buffer overwrites it.
        self._answers = np.zeros((num_buffers, max_batch_size, 256), np.float32)

    def _submit(self, batch_size: int, index: int) -> None:
        self.entered.set()
        assert self.gate.wait(120)
        values = self._buffers[index][:batch_size, 0, 0, 0].tolist()
        if not self.faults.late:
            self._fail(values)
        self.batches.append(values)

    def _collect(self, batch_size: int, index: int) -> np.ndarray:
        values = self._buffers[index][:batch_size, 0, 0, 0]
        if self.faults.late:
            self._fail(values.tolist())
        self._answers[index, :batch_size] = np.eye(256, dtype=np.float32)[values]
        answers = self._answers[index, :batch_size]
        return self.faults.result(answers) if self.warm else answers

    def _fail(self, values: list[int]) -> None:
        if not self.warm:
            # The warm-up's batches; a failing one is a failing opening, see `Faults.openings`.
            return
        for value in values:
            if value in self.faults.frames:
                raise self.faults.frames.pop(value)
        failure = self.faults.batches.popleft() if self.faults.batches else self.faults.always
        try:
            if failure is not None:
                raise failure
        finally:
            # Or its traceback, this frame and the failure hold each other, and the batch too.
            del failure

    def _close(self) -> None:
        self.freed = [(buffer, buffer.copy()) for buffer in self._owned]

    @property
    def untouched(self) -> bool:
        """Tell whether the buffers are as they were when they were freed."""
        return all((now == then).all() for now, then in self.freed)


#: A row's value that cannot be written.
UNFILLABLE = -1


class RowsInput:
    """Frames of several rows: a message is a tuple of values, one for each row, or a bad one."""

    def use_model(self, spec: ModelSpec) -> None:
        pass

    def num_regions(self, message: Any) -> int:
        return len(message) if isinstance(message, tuple) else 1

    def begin(
            self, camera: str, message: Any, decode: Callable[..., Frame],
            picture_of: Any = None) -> Rows:
        if not isinstance(message, tuple):
            decode(message, None)
        return Rows(message)


class Rows:
    """Answers the class of each of its rows, None for one that failed."""

    def __init__(self, values: tuple[int, ...]) -> None:
        self.values = values
        self.num_rows = len(values)
        self.classes: list[Optional[int]] = [None] * self.num_rows
        self.outcomes: dict[str, int] = {}

    def fill(self, index: int, row: np.ndarray) -> None:
        if self.values[index] == UNFILLABLE:
            raise FrameError('a row broken on purpose')
        row[:] = self.values[index]

    def take(self, index: int, probabilities: np.ndarray) -> None:
        assert self.classes[index] is None
        self.classes[index] = int(probabilities.argmax())

    def fail(self, index: int) -> bool:
        return False

    def answer(self, settings: LiveSettings) -> Any:
        failed = self.classes.count(None)
        self.outcomes = {'answered': self.num_rows - failed, 'failed': failed}
        return tuple(self.classes)


@dataclass
class Bench:
    """A pipeline with everything it reports written down."""

    cameras: tuple[str, ...] = ('front',)
    max_batch_size: int = 4
    queue_depth: int = 1
    num_buffers: int = NUM_BUFFERS
    asynchronous: bool = True
    settings: LiveSettings = field(default_factory=lambda: LiveSettings(top_k=1))
    preprocess_threads: int = 1
    frames: FrameInput = field(default_factory=lambda: WholeFrames('exact'))
    results: list[tuple[str, Any, Any]] = field(default_factory=list)
    bad_frames: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    in_publishing: Callable[[], Any] = lambda: None
    in_decoding: Callable[[Any], Any] = lambda message: None

    def __post_init__(self) -> None:
        self.faults = Faults()
        self.gate = Event()
        self.gate.set()
        self.backends: list[GatedBackend] = []
        hooks = PipelineHooks(
            self._open, self._decode, self._publish,
            lambda camera, reason: self.bad_frames.append(f'{camera}: {reason}'),
            self.failures.append)
        self.pipeline = Pipeline(
            self.cameras, self.queue_depth, self.frames, self.settings, hooks,
            self.preprocess_threads)
        self.pipeline.start()
        self.backend.batches.clear()  # those of the warm-up
        self.backend.entered.clear()
        self.backend.warm = True
        self.pipeline.resume()

    @property
    def backend(self) -> GatedBackend:
        """Return the last opened backend."""
        return self.backends[-1]

    def _open(self) -> Backend:
        failure = self.faults.openings.popleft() if self.faults.openings else None
        if failure is not None:
            raise failure
        backend = GatedBackend(self.max_batch_size, self.faults, self.gate, self.num_buffers)
        backend.asynchronous = self.asynchronous
        self.backends.append(backend)
        return backend

    def _decode(self, message: Any, side: Optional[int]) -> Frame:
        self.in_decoding(message)
        # What is decoded is inferred after the warm-up.
        self.backend.warm = True
        if message == 'broken':
            raise FrameError('broken on purpose')
        if message == 'odd':
            raise ZeroDivisionError('nobody foresaw this')
        return Frame(np.full((SIZE, SIZE, 3), message, np.uint8), 'rgb')

    def _publish(self, frame: InFlightFrame, answer: Any) -> None:
        self.in_publishing()
        self.results.append((
            frame.camera, frame.message,
            answer[0].index if answer and isinstance(answer[0], Prediction) else answer))

    def hold(self, message: Any = 0, camera: str = 'front') -> None:
        """Have the backend busy with one frame until `release`."""
        self.gate.clear()
        self.backend.entered.clear()
        self.pipeline.offer(camera, message)
        assert self.backend.entered.wait(60)

    def release(self) -> None:
        self.gate.set()

    def answer(self, message: Any, camera: str = 'front') -> None:
        """Offer a frame and wait until it has come to its end."""
        self.pipeline.offer(camera, message)
        self.finish()

    def wait(self, condition: Callable[[], Any]) -> None:
        deadline = monotonic() + 60
        while not condition():
            assert monotonic() < deadline, (
                self.results, self.failures, self.pipeline.counters.total())
            sleep(0.001)

    def finish(self) -> None:
        """Wait until every frame has come to its end."""
        self.wait(lambda: self.pipeline.counters.total().in_progress == 0)

    @property
    def waiting(self) -> int:
        """Return how many frames wait in the queue."""
        return len(self.pipeline._scheduler._waiting)

    @property
    def reopening(self) -> str:
        """Return why the backend is being opened again, '' while it is not."""
        state = self.pipeline.backend_state
        return state.reason if state.phase is BackendPhase.REOPENING else ''

    @property
    def disabled(self) -> str:
        """Return why the backend was disabled, '' while it was not."""
        state = self.pipeline.backend_state
        return state.reason if state.disabled else ''

    @property
    def dropped(self) -> dict[str, int]:
        return {reason: number for reason, number
                in self.pipeline.counters.total().dropped.items() if number}

    @property
    def events(self) -> dict[str, int]:
        return {event: number for event, number
                in self.pipeline.counters.events().items() if number}

    def check_end(self) -> None:
        """End the pipeline; every frame is accounted for and every backend closed."""
        self.gate.set()
        # One that hung is not waited for by `close`; it comes back through the open gate.
        assert self.pipeline.close(60.0) or self.pipeline.join(60.0), 'a thread was left behind'
        # Closing counts nothing as failed where all threads ended by themselves.
        total = self.pipeline.counters.total()
        assert total.received == total.answered + sum(total.dropped.values())
        assert total.mismatch is None
        for backend in self.backends:
            assert backend.closed
            assert backend.untouched, 'a freed buffer was written to'


def raises(text: str = 'device fell off') -> InferenceError:
    """Return what a backend raises when its device fails."""
    return InferenceError(text)
