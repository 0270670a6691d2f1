"""What the tests of the node share."""

from __future__ import annotations

from typing import Any, Callable, Iterator

from pipelines.pipeline_bench import Bench
from pipelines.simulated_time import SimulatedTime
import pytest


@pytest.fixture
def make_bench() -> Iterator[Callable[..., Bench]]:
    """Give a maker of pipelines, each checked at the end: all frames counted, all freed."""
    benches: list[Bench] = []

    def make(**options: Any) -> Bench:
        benches.append(Bench(**options))
        return benches[-1]

    yield make
    for bench in benches:
        bench.check_end()


@pytest.fixture(params=[False, True], ids=['queued', 'filling'])
def either_caller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test twice: offered frames are preprocessed by the worker, or by the caller too."""
    from resnet_trt_node.node.pipeline.pipeline import Pipeline
    monkeypatch.setattr(Pipeline.offer, '__defaults__', (0, request.param))


@pytest.fixture
def simulated_time(monkeypatch: pytest.MonkeyPatch) -> SimulatedTime:
    """Return the clock by which the pipelines of the test live."""
    time = SimulatedTime()
    time.install(monkeypatch)
    return time


@pytest.fixture(params=['serialised', 'message'])
def receive(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have the nodes of a test receive images in each of the two ways; return which."""
    from nodes.node_process import RECEIVE
    monkeypatch.setenv(RECEIVE, request.param)
    return str(request.param)
