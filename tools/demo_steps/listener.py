"""Listening to the node's results, as any other ROS node would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Condition, Thread
import time
from types import TracebackType
from typing import Optional

from demo_steps import DemoError
import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from vision_msgs.msg import Classification, LabelInfo

# How often a wait looks whether the node still runs.
_CHECK_S = 0.2


@dataclass(frozen=True)
class Result:
    """
    One answer of the node.

    :param received_ns: when it arrived, on `time.perf_counter_ns`.
    :param classes: (name, score), falling scores.
    """

    received_ns: int
    classes: tuple[tuple[str, float], ...]


class Listener:
    """
    Collects classifications in a thread of its own; a context manager.

    :param cameras: names; NAME/classification is subscribed for each.
    """

    def __init__(self, cameras: Sequence[str]) -> None:
        #: (camera, source stamp in nanoseconds) to the answers to that frame.
        self.results: dict[tuple[str, int], list[Result]] = {}
        self._ready = False
        self._changed = Condition()
        self._context = Context()
        rclpy.init(
            args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node('demo_listener', context=self._context)
        for camera in cameras:
            self._node.create_subscription(
                Classification, f'{camera}/classification', partial(self._take, camera), 100)
        # The node latches its class names once its model is warm: whoever has them knows that.
        self._node.create_subscription(
            LabelInfo, 'label_info', self._take_labels,
            QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = Thread(target=self._spin, name='listener', daemon=True)
        self._thread.start()

    def wait_until_ready(self, timeout_s: float, check: Callable[[], None]) -> None:
        """
        Wait until the node has warmed its model.

        :param check: called now and then; its errors end the wait.
        :raises DemoError: if that takes longer than `timeout_s`.
        """
        if not self._wait(lambda: self._ready, timeout_s, check):
            raise DemoError(f'the node was not ready within {timeout_s:g} s')

    def wait_for(
            self, frames: set[tuple[str, int]], timeout_s: float,
            check: Callable[[], None]) -> None:
        """Wait until each of the frames has a result, or for `timeout_s`; `check` as above."""
        self._wait(lambda: frames <= self.results.keys(), timeout_s, check)

    def close(self) -> None:
        """End the thread and leave ROS."""
        rclpy.try_shutdown(context=self._context)
        self._thread.join()
        self._node.destroy_node()

    def __enter__(self) -> Listener:
        """Return the listener itself."""
        return self

    def __exit__(
            self, kind: Optional[type[BaseException]], error: Optional[BaseException],
            trace: Optional[TracebackType]) -> None:
        """End the thread and leave ROS."""
        self.close()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass  # `close` was called

    def _take(self, camera: str, message: Classification) -> None:
        received_ns = time.perf_counter_ns()
        stamp = message.header.stamp
        classes = tuple((one.class_id, one.score) for one in message.results)
        with self._changed:
            self.results.setdefault((camera, stamp.sec * 10**9 + stamp.nanosec), []).append(
                Result(received_ns, classes))
            self._changed.notify_all()

    def _take_labels(self, message: LabelInfo) -> None:
        with self._changed:
            self._ready = True
            self._changed.notify_all()

    def _wait(
            self, condition: Callable[[], bool], timeout_s: float,
            check: Callable[[], None]) -> bool:
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while not self._changed.wait_for(condition, _CHECK_S):
                check()
                if time.monotonic() > deadline_s:
                    return False
        return True
