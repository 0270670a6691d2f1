"""A node that keeps what comes on topics, as it comes."""

from __future__ import annotations

from collections import defaultdict
from threading import Event, Thread
from time import monotonic

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy


class Listener:
    """Keeps serialised messages with the time they came, in a thread of its own."""

    def __init__(self) -> None:
        self.received = defaultdict(list)
        self._context = Context()
        rclpy.init(args=[], context=self._context)
        self._node = rclpy.create_node('listener', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = Thread(target=self._spin)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass  # how `close` ends it

    def subscribe(self, kind, topic, reliability=ReliabilityPolicy.RELIABLE, **qos) -> None:
        kept = self.received[topic]
        self._node.create_subscription(
            kind, topic, lambda data: kept.append((bytes(data), monotonic())),
            QoSProfile(depth=100, reliability=reliability, **qos), raw=True)

    def wait(self, topic: str, count: int) -> list:
        """Return what came once there are so many, or fail after 60 s."""
        deadline_s = monotonic() + 60
        step = Event()
        while len(self.received[topic]) < count:
            assert monotonic() < deadline_s, f'{len(self.received[topic])} of {count} on {topic}'
            step.wait(0.01)
        return self.received[topic]

    def close(self) -> None:
        rclpy.shutdown(context=self._context)
        self._thread.join(60)
        self._executor.shutdown()
        self._node.destroy_node()
