"""The pipeline without ROS: who is answered, who is dropped and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event
from time import monotonic, sleep
from typing import Any, Callable, Optional

import numpy as np
import pytest
from resnet_trt_node.errors import BackendUnavailable, FrameError, InferenceError
from resnet_trt_node.inference.backend import Backend, BackendInfo
from resnet_trt_node.inference.classifier import Prediction
from resnet_trt_node.inference.frame import Frame
from resnet_trt_node.inference.spec import ModelSpec, ResizeRule
from resnet_trt_node.node.frame_queue import Ticket
from resnet_trt_node.node.pipeline import LiveSettings, Pipeline, PipelineHooks

SIZE = 8
SPEC = ModelSpec(
    height=SIZE, width=SIZE, labels=tuple(f'value_{i}' for i in range(256)),
    resize=ResizeRule(SIZE, SIZE, SIZE), precision='fp32')


class GatedBackend(Backend):
    """Answers a frame's value as its class, when the gate is open; can be told to fail."""

    def __init__(self, max_batch_size: int, num_buffers: int = 2) -> None:
        super().__init__(SPEC, BackendInfo('gated', '1', 'none', {}), [
            np.zeros((max_batch_size, SIZE, SIZE, 3), np.uint8) for _ in range(num_buffers)])
        self.gate = Event()
        self.gate.set()
        self.entered = Event()
        self.batches: list[list[int]] = []
        self.failure: Optional[BaseException] = None

    def _submit(self, batch_size: int, index: int) -> None:
        self.entered.set()
        assert self.gate.wait(10)
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        self.batches.append(self._buffers[index][:batch_size, 0, 0, 0].tolist())

    def _collect(self, batch_size: int, index: int) -> np.ndarray:
        values = self._buffers[index][:batch_size, 0, 0, 0]
        return np.eye(256, dtype=np.float32)[values]

    def _close(self) -> None:
        pass


@dataclass
class Bench:
    """A pipeline with everything it tells written down."""

    cameras: tuple[str, ...] = ('front',)
    max_batch_size: int = 4
    queue_depth: int = 1
    settings: LiveSettings = field(default_factory=lambda: LiveSettings(top_k=1))
    results: list[tuple[str, int, int]] = field(default_factory=list)
    bad_frames: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    in_delivery: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.backend = GatedBackend(self.max_batch_size)
        hooks = PipelineHooks(
            lambda: self.backend, self._decode, self._deliver,
            lambda camera, reason: self.bad_frames.append(f'{camera}: {reason}'),
            self.failures.append)
        self.pipeline = Pipeline(
            self.cameras, self.queue_depth, 'exact', self.settings, hooks)
        self.pipeline.start()
        self.backend.batches.clear()  # those of the warm-up
        self.backend.entered.clear()
        self.pipeline.resume()

    def _decode(self, message: Any) -> Frame:
        if message == 'broken':
            raise FrameError('broken on purpose')
        if message == 'odd':
            raise ZeroDivisionError('nobody foresaw this')
        return Frame(np.full((SIZE, SIZE, 3), message, np.uint8), 'rgb')

    def _deliver(self, ticket: Ticket, predictions: list[Prediction]) -> None:
        self.in_delivery()
        self.results.append((ticket.camera, ticket.message, predictions[0].index))

    def hold(self, message: Any = 0, camera: str = 'front') -> None:
        """Have the backend busy with one frame until `release`."""
        self.backend.gate.clear()
        self.pipeline.offer(camera, message)
        assert self.backend.entered.wait(5)

    def release(self) -> None:
        self.backend.gate.set()

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = monotonic() + 5
        while not condition():
            assert monotonic() < deadline, (self.results, self.pipeline.accounting.total())
            sleep(0.001)

    def settle(self) -> None:
        self.wait(lambda: self.pipeline.accounting.total().in_progress == 0)

    @property
    def dropped(self) -> dict[str, int]:
        return {reason: number for reason, number
                in self.pipeline.accounting.total().dropped.items() if number}


@pytest.fixture
def make_bench():
    benches = []

    def make(**options: Any) -> Bench:
        benches.append(Bench(**options))
        return benches[-1]

    yield make
    for bench in benches:
        bench.backend.gate.set()
        assert bench.pipeline.close(5.0), 'a thread was left behind'
        total = bench.pipeline.accounting.total()
        if bench.pipeline.fault is None:
            assert total.received == total.answered + sum(total.dropped.values())
        assert bench.backend.closed


def test_each_frame_gets_its_own_answer(make_bench):
    bench = make_bench(queue_depth=50)
    for value in range(50):
        bench.pipeline.offer('front', value)
    bench.settle()
    assert bench.results == [('front', value, value) for value in range(50)]
    assert bench.dropped == {}


def test_newest_frame_wins_and_the_rest_are_counted(make_bench):
    bench = make_bench(max_batch_size=1)
    bench.hold(1)
    # One more is fitted into the second buffer while the backend is busy; wait for that, so that
    # the rest compete for the one place in the queue.
    bench.pipeline.offer('front', 2)
    bench.wait(lambda: bench.pipeline.waiting == 0)
    for value in (3, 4, 5):
        bench.pipeline.offer('front', value)
    bench.release()
    bench.settle()
    assert [value for _, value, _ in bench.results] == [1, 2, 5]
    assert bench.dropped == {'superseded': 2}


def test_frames_that_wait_are_batched(make_bench):
    bench = make_bench(cameras=('front', 'left', 'rear'), max_batch_size=4)
    bench.hold(1)
    for camera, value in (('left', 2), ('rear', 3), ('front', 4)):
        bench.pipeline.offer(camera, value)
    bench.wait(lambda: bench.pipeline.waiting == 0)
    bench.release()
    bench.settle()
    assert [len(batch) for batch in bench.backend.batches] == [1, 3]
    assert sorted(bench.results) == [
        ('front', 1, 1), ('front', 4, 4), ('left', 2, 2), ('rear', 3, 3)]
    assert bench.pipeline.accounting.mean_batch_size() == 2.0


def test_first_frame_waits_for_others_up_to_max_wait(make_bench):
    bench = make_bench(
        cameras=('front', 'left'), max_batch_size=2,
        settings=LiveSettings(top_k=1, max_wait_ms=2000.0))
    bench.pipeline.offer('front', 1)
    bench.wait(lambda: bench.pipeline.waiting == 0)
    assert bench.results == []
    bench.pipeline.offer('left', 2)
    bench.settle()
    assert bench.backend.batches == [[1, 2]]


def test_a_lonely_frame_goes_when_max_wait_is_over(make_bench):
    bench = make_bench(settings=LiveSettings(top_k=1, max_wait_ms=20.0))
    start = monotonic()
    bench.pipeline.offer('front', 1)
    bench.settle()
    assert bench.results == [('front', 1, 1)]
    assert 0.02 <= monotonic() - start < 2


def test_no_camera_starves_another(make_bench):
    bench = make_bench(cameras=('fast', 'slow'), max_batch_size=1, queue_depth=20)
    bench.hold(0, 'fast')
    for value in range(1, 20):
        bench.pipeline.offer('fast', value)
    bench.pipeline.offer('slow', 100)
    bench.release()
    bench.settle()
    # After the two that the buffers held, the slow camera's only frame is next but one at most.
    assert [camera for camera, _, _ in bench.results].index('slow') <= 3


@pytest.mark.parametrize(('message', 'told'), [
    ('broken', 'front: broken on purpose'),
    ('odd', "front: ZeroDivisionError('nobody foresaw this')")])
def test_a_bad_frame_is_counted_and_the_next_is_answered(make_bench, message, told):
    bench = make_bench()
    bench.pipeline.offer('front', message)
    bench.settle()
    bench.pipeline.offer('front', 7)
    bench.settle()
    assert bench.dropped == {'malformed': 1}
    assert bench.bad_frames == [told]
    assert bench.results == [('front', 7, 7)]


def test_a_failing_batch_is_counted_and_the_next_is_answered(make_bench):
    bench = make_bench()
    bench.backend.failure = InferenceError('device fell off')
    bench.pipeline.offer('front', 1)
    bench.settle()
    bench.pipeline.offer('front', 2)
    bench.settle()
    assert bench.dropped == {'failed': 1}
    assert bench.failures == ['device fell off']
    assert bench.results == [('front', 2, 2)]


def test_an_unforeseen_error_is_kept_and_nothing_hangs(make_bench):
    bench = make_bench()
    bench.backend.failure = ZeroDivisionError('a bug')
    bench.pipeline.offer('front', 1)
    bench.wait(lambda: bench.pipeline.fault is not None)
    assert isinstance(bench.pipeline.fault, ZeroDivisionError)
    bench.pipeline.offer('front', 2)
    assert bench.dropped == {'refused': 1}
    assert not bench.pipeline.accepting


def test_a_frame_too_old_to_be_answered_in_time_is_not_inferred(make_bench):
    bench = make_bench(max_batch_size=1, settings=LiveSettings(top_k=1, max_age_ms=200.0))
    bench.hold(1)
    bench.pipeline.offer('front', 2)
    bench.wait(lambda: bench.pipeline.waiting == 0)
    bench.pipeline.offer('front', 3)
    sleep(0.25)  # the age is what is tested
    bench.release()
    bench.settle()
    assert bench.results == []
    # 1 and 2 were in the backend's hands already and came out too late, 3 never went in.
    assert bench.dropped == {'stale': 3}
    assert bench.backend.batches == [[1], [2]]


def test_drain_answers_what_was_taken_and_refuses_what_comes_later(make_bench):
    bench = make_bench(queue_depth=8, max_batch_size=2)
    for value in range(8):
        bench.pipeline.offer('front', value)
    assert bench.pipeline.drain(5.0)
    bench.pipeline.offer('front', 99)
    assert [value for _, value, _ in bench.results] == list(range(8))
    assert bench.dropped == {'refused': 1}
    bench.pipeline.resume()
    bench.pipeline.offer('front', 9)
    bench.settle()
    assert bench.results[-1] == ('front', 9, 9)


def test_drain_gives_up_on_a_backend_that_hangs(make_bench):
    bench = make_bench(max_batch_size=1, queue_depth=8)
    bench.hold(1)
    for value in (2, 3, 4):
        bench.pipeline.offer('front', value)
    bench.wait(lambda: bench.pipeline.waiting == 2)
    assert not bench.pipeline.drain(0.05)
    assert bench.dropped == {'refused': 2}
    assert not bench.pipeline.close(0.05)
    bench.release()
    bench.settle()


def test_delivery_does_not_hold_up_the_backend(make_bench):
    gate = Event()
    bench = make_bench(queue_depth=4, max_batch_size=1, in_delivery=lambda: gate.wait(5))
    for value in (1, 2, 3):
        bench.pipeline.offer('front', value)
    bench.wait(lambda: len(bench.backend.batches) == 3)
    assert bench.results == []
    gate.set()
    bench.settle()
    assert [value for _, value, _ in bench.results] == [1, 2, 3]


def test_settings_change_while_frames_flow(make_bench):
    bench = make_bench(settings=LiveSettings(top_k=1, max_age_ms=0.0))
    bench.pipeline.settings = LiveSettings(top_k=1, max_age_ms=0.001)
    bench.pipeline.offer('front', 1)
    bench.settle()
    assert bench.dropped == {'stale': 1}


def test_stages_are_timed(make_bench):
    bench = make_bench()
    bench.pipeline.offer('front', 1)
    bench.settle()
    percentiles = bench.pipeline.accounting.percentiles_ms()
    stages = {name: p50 for name, (p50, _, _) in percentiles.items()}
    assert all(value >= 0 for value in stages.values())
    parts = sum(value for name, value in stages.items() if name != 'total')
    assert parts == pytest.approx(stages['total'], abs=0.01)


def test_a_backend_that_cannot_be_opened_is_told_to_the_caller():
    def fail() -> Backend:
        raise BackendUnavailable('no device')

    pipeline = Pipeline(('front',), 1, 'fast', LiveSettings(), PipelineHooks(
        fail, lambda message: message, lambda *_: None, lambda *_: None, lambda *_: None))
    with pytest.raises(BackendUnavailable, match='no device'):
        pipeline.start()
    assert pipeline.close(5.0)


def test_opening_can_be_given_up():
    gate = Event()
    backend = GatedBackend(1)

    def slow() -> Backend:
        gate.wait(5)
        return backend

    pipeline = Pipeline(('front',), 1, 'fast', LiveSettings(), PipelineHooks(
        slow, lambda message: message, lambda *_: None, lambda *_: None, lambda *_: None))
    with pytest.raises(TimeoutError):
        pipeline.start(still_wanted=lambda: False)
    gate.set()
    assert pipeline.close(5.0)
    assert backend.closed
