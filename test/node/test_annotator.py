"""Annotated pictures: drawn behind the results, the newest of each camera, harming nobody."""

from __future__ import annotations

from threading import enumerate as enumerate_threads, Event, get_ident
from time import monotonic, sleep
from types import SimpleNamespace
from typing import Any, Callable, Iterator

import numpy as np
import pytest
from resnet_trt_node.errors import FrameError
from resnet_trt_node.imaging.frame import Frame, to_rgb
from resnet_trt_node.node.annotator import Annotator
from std_msgs.msg import Header


def draw(frame: Frame) -> np.ndarray:
    return to_rgb(frame.pixels, frame.order)


def wait(condition: Callable[[], Any]) -> None:
    deadline = monotonic() + 30
    while not condition():
        assert monotonic() < deadline
        sleep(0.001)


class Stage:
    """An annotator whose decoding can be held up, and everything that it does written down."""

    def __init__(self) -> None:
        self.gate, self.entered = Event(), Event()
        self.gate.set()
        self.published: list[int] = []
        self.threads: set[int] = set()
        self.skipped: list[str] = []
        self.log: list[str] = []
        self.annotator = Annotator(self._to_frame, self.skipped.append, self.log.append)

    def _to_frame(self, message: Any) -> Frame:
        self.entered.set()
        assert self.gate.wait(30)
        if isinstance(message.value, Exception):
            raise message.value
        return Frame(np.full((4, 4, 3), message.value, np.uint8), 'bgr')

    def publish(self, message: Any) -> None:
        self.threads.add(get_ident())
        self.published.append(message.data[0])

    def offer(self, value: Any, camera: str = 'front') -> None:
        message = SimpleNamespace(header=Header(frame_id='there'), value=value)
        self.annotator.offer(camera, message, draw, self.publish)

    def hold(self, value: int, camera: str = 'front') -> None:
        """Have the thread be in the middle of a picture."""
        self.gate.clear()
        self.entered.clear()
        self.offer(value, camera)
        assert self.entered.wait(30)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.gate.set()
    assert stage.annotator.close(30.0)


def test_a_picture_is_drawn_on_a_thread_of_its_own(stage):
    before = {thread.ident for thread in enumerate_threads()}
    stage.offer(7)
    wait(lambda: stage.published)
    assert stage.published == [7]
    assert len(stage.threads) == 1
    assert stage.threads.isdisjoint(before)
    assert stage.skipped == stage.log == []
    assert stage.annotator.close(30.0)
    assert stage.threads.isdisjoint(thread.ident for thread in enumerate_threads())


def test_of_each_camera_the_newest_is_drawn_and_the_others_are_counted(stage):
    stage.hold(0)
    for value in range(1, 100):
        stage.offer(value)
        if value % 10 == 0:
            stage.offer(100 + value, 'left')
    stage.gate.set()
    wait(lambda: len(stage.published) == 3)
    # The fast camera came first and is not put back by each newer picture.
    assert stage.published == [0, 99, 190]
    assert stage.skipped.count('front') == 98
    assert stage.skipped.count('left') == 8


@pytest.mark.parametrize('error', [
    FrameError('broken on purpose'), ZeroDivisionError('nobody foresaw this'),
    MemoryError('too large')])
def test_an_error_costs_its_own_picture(stage, error):
    stage.offer(error, 'left')
    wait(lambda: stage.log)
    line, = stage.log
    assert line.startswith('camera left: ')
    assert str(error) in line
    stage.offer(3)
    wait(lambda: stage.published)
    assert stage.published == [3]


def test_a_publisher_that_is_gone_costs_its_own_picture(stage):
    def gone(message):
        raise RuntimeError('cannot use Destroyable because destruction was requested')

    stage.annotator.offer(
        '', SimpleNamespace(header=Header(), value=1), draw, gone)
    wait(lambda: stage.log)
    assert 'RuntimeError' in stage.log[0]
    stage.offer(3)
    wait(lambda: stage.published)


def test_draining_skips_what_waits_and_waits_for_what_is_drawn(stage):
    stage.hold(1)
    stage.offer(2)
    assert not stage.annotator.drain(0.05), 'it is still at the first one'
    stage.gate.set()
    assert stage.annotator.drain(30.0)
    assert stage.published == [1]
    stage.offer(3)
    wait(lambda: len(stage.published) == 2)
    assert stage.published == [1, 3]


def test_a_thread_that_hangs_is_left_behind_and_logs_nothing(stage):
    before = set(enumerate_threads())
    stage.hold(RuntimeError('the context is gone'))
    hanging, = set(enumerate_threads()) - before
    assert not stage.annotator.close(0.05)
    # The next activation has a thread of its own.
    stage.entered.clear()
    stage.offer(5)
    assert stage.entered.wait(30)
    stage.gate.set()
    wait(lambda: stage.published)
    wait(lambda: not hanging.is_alive())
    assert hanging.ident not in stage.threads
    assert stage.published == [5]
    assert stage.log == []


def test_a_caller_never_waits_for_the_drawing(stage):
    stage.hold(0)
    for value in range(1000):
        # Would hang for 30 s each otherwise.
        stage.offer(value % 256)
    assert stage.published == []
    assert len(stage.skipped) == 999
