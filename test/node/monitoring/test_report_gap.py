"""A report is deferred while frames are in flight, but not for ever."""

from __future__ import annotations

from types import SimpleNamespace

from builtin_interfaces.msg import Time
import pytest
from resnet_trt_node.node.monitoring import reporter as module
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters

pytestmark = pytest.mark.slow


class Timer:
    """A timer that goes off by hand."""

    def __init__(self, period_sec, callback):
        self.period_sec, self.callback, self.running = period_sec, callback, True

    def reset(self):
        self.running = True

    def cancel(self):
        self.running = False


class Node:
    """What a reporter needs of a node, without ROS."""

    def __init__(self):
        self.timers, self.published = [], []

    def create_timer(self, period_sec, callback, clock):
        self.timers.append(Timer(period_sec, callback))
        return self.timers[-1]

    def create_publisher(self, *_):
        return SimpleNamespace(publish=self.published.append)

    def create_service(self, *_):
        return None

    def get_clock(self):
        return SimpleNamespace(now=lambda: SimpleNamespace(to_msg=Time))

    def get_fully_qualified_name(self):
        return '/classifier'


@pytest.fixture
def scene(make_bench, monkeypatch):
    """Give a reporter on a pipeline, its two timers and a clock that is set by hand."""
    bench, node = make_bench(), Node()
    scene = SimpleNamespace(bench=bench, published=node.published, now_ns=0)
    monkeypatch.setattr(module, 'perf_counter_ns', lambda: scene.now_ns)
    parameters = NodeParameters(diagnostics_period_sec=1.0)
    module.Reporter(node, lambda: parameters, None).opened(bench.pipeline, {})
    scene.period, = (timer for timer in node.timers if timer.period_sec == 1.0)
    scene.gap, = (timer for timer in node.timers if timer.period_sec < 0.01)
    return scene


def in_progress(published):
    return [next(item.value for item in array.status[0].values if item.key == 'in_progress')
            for array in published]


def test_an_idle_node_reports_at_once(scene):
    assert not scene.gap.running
    scene.period.callback()
    assert in_progress(scene.published) == ['0']
    assert not scene.gap.running


def test_an_in_flight_frame_comes_first(scene):
    scene.bench.gate.clear()
    scene.bench.pipeline.offer('front', 1)
    scene.period.callback()
    scene.gap.callback()
    assert scene.published == []
    assert scene.gap.running
    scene.bench.release()
    scene.bench.finish()
    scene.gap.callback()
    assert in_progress(scene.published) == ['0']
    assert not scene.gap.running


def test_a_node_that_is_always_busy_reports_nevertheless(scene):
    scene.bench.gate.clear()
    scene.bench.pipeline.offer('front', 1)
    scene.period.callback()
    scene.now_ns = 40_000_000
    scene.gap.callback()
    assert scene.published == []
    scene.now_ns = 60_000_000
    scene.gap.callback()
    assert in_progress(scene.published) == ['1']
    assert not scene.gap.running
    scene.bench.release()
