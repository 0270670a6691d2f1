"""A thread that receives the messages of one subscription in place of the executor."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from threading import current_thread, get_native_id, RLock, Thread
from time import perf_counter_ns, sleep
from typing import Any, Callable, Optional

from rclpy.context import Context
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation
from resnet_trt_node.node.ros.receiving.rcl_take import SerialisedTake

#: A wait ends after this, though nothing came: ROS may have been shut down.
_WAKE_NS = 2 * 10**9
#: Between waits that end for no message.
_PAUSE_SEC = 0.01
#: How long stopping waits for the thread, which may be copying a message.
_JOIN_SEC = 1.0
_NAME = 'receive'


class Receiver:
    """
    Waits for the messages of a subscription, takes and hands them on until it is stopped.

    A thread for each subscription: the copies of cameras that send at the same moment are made at
    the same time. The subscription must not be in the wait set of an executor. It is not destroyed
    before the thread has let go of it: the thread has it "in use", as rclpy calls it.

    :param context: of the node.
    :param handle: the subscription's, of rclpy.
    :param take: takes the messages of it.
    :param take_events: takes the subscription's middleware events. While there are some, such as
        that messages were lost, Fast DDS ends each wait at once.
    :param on_message: called on the thread with a message and when it was received, see
        `SerialisedTake`; not any more once `stop` has returned.
    :param on_failure: called on the thread, at its end, with the exception that ended it, and
        whether it is one of `on_message`.
    """

    def __init__(
            self, context: Context, handle: Any, take: SerialisedTake,
            take_events: Callable[[], None],
            on_message: Callable[[memoryview, int], None],
            on_failure: Callable[[Exception, bool], None]) -> None:
        self._context = context
        self._handle = handle
        self._take = take
        self._take_events = take_events
        self._on_message = on_message
        self._on_failure = on_failure
        # While a message is handed on: who stops waits for that.
        self._lock = RLock()
        self._stopping = self._handing_on = False
        self._guard: Optional[Any] = GuardCondition(None, None, context=context)
        self._thread = Thread(target=self._run, name=_NAME, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Hand no message on any more, and end the thread."""
        with self._lock:
            self._stopping = True
            if self._guard is not None:
                self._guard.trigger()
        if self._thread is not current_thread():
            self._thread.join(_JOIN_SEC)

    def _run(self) -> None:
        # For `top -H` and the benchmark, see `worker_threads`.
        with suppress(OSError):
            Path(f'/proc/self/task/{get_native_id()}/comm').write_text(_NAME)
        failure: Optional[Exception] = None
        try:
            self._receive()
        except Exception as error:  # noqa: B902  whatever ends it, the camera must not fall silent
            failure = error
        with self._lock:
            assert self._guard is not None
            self._guard.destroy()
            self._guard = None
            if failure is not None and not self._stopping and self._context.ok():
                self._on_failure(failure, self._handing_on)

    def _receive(self) -> None:
        assert self._guard is not None
        context, handle, guard = self._context.handle, self._handle, self._guard.handle
        if context is None:
            return
        with context, handle, guard:
            wait_set = rclpy_implementation.WaitSet(1, 1, 0, 0, 0, 0, context)
            vain = 0
            while not self._stopping and self._context.ok():
                wait_set.clear_entities()
                wait_set.add_subscription(handle)
                wait_set.add_guard_condition(guard)
                since_ns = perf_counter_ns()
                wait_set.wait(_WAKE_NS)
                if wait_set.get_ready_entities('subscription'):
                    vain = 0
                    self._hand_on()
                    continue
                vain = vain + 1 if perf_counter_ns() - since_ns < _WAKE_NS else 0
                with self._lock:
                    if not self._stopping:
                        self._take_events()
                if vain > 1:
                    # Whatever ends the waits, it is not to take a processor.
                    sleep(_PAUSE_SEC)

    def _hand_on(self) -> None:
        taken = self._take()
        if taken is None:
            return
        with self._lock:
            if not self._stopping:
                self._handing_on = True
                self._on_message(*taken)
                self._handing_on = False
