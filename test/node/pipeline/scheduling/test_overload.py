"""More frames than the backend can bear: fair, fresh, at full speed and in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Thread
from typing import Callable

import numpy as np
from pipelines.pipeline_bench import raises
from pipelines.simulated_time import SimulatedTime
import psutil
import pytest
from resnet_trt_node.backends.simulated import SimulatedBackend, SimulatedOptions
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.node.pipeline.inference.inference_worker import NUM_BUFFERS
from resnet_trt_node.node.pipeline.pipeline import Pipeline
from resnet_trt_node.node.pipeline.settings import LiveSettings, PipelineHooks
from resnet_trt_node.node.pipeline.work import WholeFrames

CAMERAS = ('front', 'left', 'right', 'rear')


class Device(SimulatedBackend):
    """
    Takes a while to be given a batch, and knows how long it had nothing to do.

    :param slow: by the number of the batch, in what multiple of its time it is inferred.
    """

    def __init__(
            self, time: SimulatedTime, options: SimulatedOptions,
            slow: Callable[[int], float]) -> None:
        self._time, self._slow, self._steady_s = time, slow, options.simulated_ms / 1e3
        self.sizes: list[int] = []
        self.idle_s = 0.0
        super().__init__('', options)

    def _submit(self, batch_size: int, index: int) -> None:
        self._time.sleep(0.0003)
        self.idle_s += max(0.0, self._time.now_s() - self._idle_s)
        self._fixed_s = self._steady_s * self._slow(len(self.sizes))
        self.sizes.append(batch_size)
        super()._submit(batch_size, index)


@dataclass
class Load:
    """What a pipeline made of a load, after the first moments."""

    idle: float
    sizes: set[int]
    answers: dict[str, int]
    dropped: dict[str, int]
    oldest_ms: float
    most_waiting: int
    grown_mib: float

    @property
    def difference(self) -> int:
        """Return by how many answers the best served camera is ahead of the worst."""
        return max(self.answers.values()) - min(self.answers.values())


@pytest.fixture
def drive(simulated_time):
    """
    Give a function that offers frames of all cameras in turn to a simulated device.

    By a simulated clock: how much is answered is the pipeline's doing and not the machine's.
    Real seconds are for `make bench`.
    """
    def drive(
            batch_ms: float, batch_size: int, frames_hz: float, seconds: float,
            settings: LiveSettings, slow: Callable[[int], float] = lambda number: 1.0) -> Load:
        picture = np.zeros((48, 64, 3), np.uint8)
        ages_ms: list[float] = []

        def open_backend():
            return Device(simulated_time, SimulatedOptions(
                max_batch_size=batch_size, num_buffers=NUM_BUFFERS, simulated_ms=batch_ms), slow)

        def decode(message, side):
            simulated_time.sleep(0.0005)
            return Frame(picture, 'rgb')

        def publish(frame, predictions):
            ages_ms.append((simulated_time.now_s() - frame.message) * 1e3)
            simulated_time.sleep(0.0002)

        pipeline = Pipeline(CAMERAS, 1, WholeFrames('fast'), settings, PipelineHooks(
            open_backend, decode, publish, lambda *_: None, lambda *_: None))

        def offer_for(seconds: float) -> int:
            """Return how many waited at most."""
            most_waiting, start_s = 0, simulated_time.now_s()
            for number in range(round(seconds * frames_hz)):
                pipeline.offer(CAMERAS[number % len(CAMERAS)], simulated_time.now_s())
                most_waiting = max(most_waiting, len(pipeline._scheduler._waiting))
                simulated_time.sleep(start_s + (number + 1) / frames_hz - simulated_time.now_s())
            return most_waiting

        def answered():
            return {name: c.answered for name, c in pipeline.counters.counts().items()}

        pipeline.start()
        pipeline.resume()
        device, process = pipeline.backend, psutil.Process()
        with simulated_time.standing_still():
            offer_for(0.3)
            device.sizes.clear()
            before, idle_s, memory = answered(), device.idle_s, process.memory_info().rss
            most_waiting = offer_for(seconds)
            load = Load(
                (device.idle_s - idle_s) / seconds, set(device.sizes),
                {name: number - before[name] for name, number in answered().items()}, {},
                max(ages_ms), most_waiting, (process.memory_info().rss - memory) / 2**20)
        assert pipeline.drain(60.0) == 0
        assert pipeline.close(60.0)
        total = pipeline.counters.total()
        assert total.received == total.answered + sum(total.dropped.values())
        load.dropped = {reason: number for reason, number in total.dropped.items() if number}
        return load

    return drive


def test_twice_the_load_that_the_backend_can_bear(drive):
    # 10 ms for 4 frames are 400 frames a second; 800 are offered.
    load = drive(10.0, 4, 800.0, 2.0, LiveSettings(max_age_ms=60.0))
    assert load.oldest_ms <= 60.0
    assert load.most_waiting <= len(CAMERAS)
    assert load.grown_mib < 4
    assert set(load.dropped) <= {'superseded', 'stale'}
    assert load.sizes == {4}
    assert load.idle < 0.001, load
    assert sum(load.answers.values()) == pytest.approx(800, abs=4), load
    assert load.difference <= 2, load


@pytest.mark.parametrize('max_age_ms', [100.0, 150.0])
def test_little_time_to_answer_costs_neither_throughput_nor_fairness(drive, max_age_ms):
    """Two batches ahead would be 120 ms: frames must be taken late, not dropped afterwards."""
    load = drive(40.0, 3, 150.0, 2.4, LiveSettings(max_age_ms=max_age_ms))
    assert load.oldest_ms <= max_age_ms
    assert load.sizes == {3}
    assert load.idle < 0.01, load
    assert sum(load.answers.values()) == pytest.approx(180, abs=5), load
    assert load.difference <= 2, load


def test_an_uneven_device_makes_no_answer_too_old(drive):
    """Every twelfth batch takes three times as long, and what it holds grows too old."""
    load = drive(
        40.0, 3, 150.0, 4.8, LiveSettings(max_age_ms=150.0),
        lambda number: 1.0 if number % 12 else 3.0)
    assert load.oldest_ms <= 150.0
    assert load.dropped['stale']
    assert load.idle < 0.05, load
    assert load.difference <= 0.1 * max(load.answers.values()), load


@pytest.mark.parametrize('asynchronous', [True, False])
def test_cameras_share_an_overloaded_backend_evenly(make_bench, asynchronous):
    """A camera that sends four times as much takes nothing from the others."""
    bench = make_bench(cameras=CAMERAS, max_batch_size=3, asynchronous=asynchronous)
    for number in range(200):
        bench.hold(number % 256, 'front')
        for camera in (*CAMERAS, 'front', 'front', 'front'):
            bench.pipeline.offer(camera, number % 256)
        bench.release()
        for camera in CAMERAS[1:]:
            bench.wait(lambda camera=camera: bench.pipeline.counters.counts()[
                camera].in_progress == 0)
        bench.finish()
    counts = bench.pipeline.counters.counts()
    assert [counts[camera].answered for camera in CAMERAS[1:]] == [200] * 3


def test_cameras_of_one_rate_get_equal_shares(make_bench):
    """Each round offers every camera twice what one batch takes from it."""
    bench = make_bench(cameras=CAMERAS, max_batch_size=2)
    for number in range(300):
        bench.gate.clear()
        for _ in range(2):
            for camera in CAMERAS:
                bench.pipeline.offer(camera, number % 256)
        bench.gate.set()
        bench.wait(lambda: bench.waiting <= 2)
    bench.finish()
    answered = [counts.answered for counts in bench.pipeline.counters.counts().values()]
    assert bench.dropped['superseded'] > 0
    mean = sum(answered) / len(answered)
    assert all(abs(number - mean) <= 0.05 * mean for number in answered), answered


def test_offering_from_several_threads_while_the_backend_fails(make_bench):
    bench = make_bench(cameras=CAMERAS, settings=LiveSettings(
        top_k=1, reopen_backoff_sec=0.001, reopen_after_failures=2, max_reopen_attempts=0))
    bench.faults.batches.extend([raises() if number % 3 else None for number in range(300)])

    def offer(camera: str) -> None:
        for number in range(300):
            bench.pipeline.offer(camera, number % 256)
            if number % 10 == 0:
                bench.wait(lambda: bench.waiting < len(CAMERAS))

    threads = [Thread(target=offer, args=(camera,)) for camera in CAMERAS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    bench.finish()
    total = bench.pipeline.counters.total()
    assert total.received == 1200 == total.answered + sum(total.dropped.values())
    assert total.answered == len(bench.results)
    # Every answer is its own frame's.
    assert all(value == predicted for _, value, predicted in bench.results)
