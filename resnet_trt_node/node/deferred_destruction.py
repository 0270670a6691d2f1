"""A node that can destroy publishers and subscriptions while an executor spins it."""

from __future__ import annotations

import gc
from inspect import signature
from threading import Lock
from typing import Any, Callable, Iterator, Sequence

from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # Humble has it there
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from rclpy.waitable import Waitable
from resnet_trt_node.allocator import give_free_memory_back
from resnet_trt_node.node.distribution import EventHandler

#: Period at which middleware events, such as lost messages, are taken.
_EVENTS_SEC = 0.5
_TICK_SEC = 0.02
#: Ticks until an entity is destroyed. One is enough for the EventsExecutor; a thread of a
#: MultiThreadedExecutor may still run a callback of it.
_TICKS = 2


class CallbackInReserve:
    """
    The callback of a subscription whose messages a thread takes, until an executor is to.

    :param callback: what an executor calls then.
    """

    def __init__(self, callback: Callable[..., None]) -> None:
        self._callback = callback
        # By which rclpy decides what it passes.
        self.__signature__ = signature(callback)
        #: Whether executors are kept away from the subscription.
        self.is_waiting = True

    def __call__(self, *arguments: Any) -> None:
        """Call the callback."""
        self._callback(*arguments)


class NodeOfDeferredDestruction(LifecycleNode):
    """
    A lifecycle node that can destroy publishers and subscriptions in a callback.

    rclpy's EventsExecutor queues the events of an entity, and crashes if the entity is destroyed
    before a queued event is handled (https://github.com/ros2/rclpy/issues/1644). So:

    - An entity is first hidden from the executor, which then drops its callbacks. A timer event,
      which is queued after all earlier events, destroys it. Without a spinning executor it exists
      until the node is destroyed.
    - Middleware events (lost messages, incompatible QoS) are never given to an executor: the
      EventsExecutor would free a queued event of a removed entity without holding the GIL. A
      timer takes them instead.

    A subscription with a `CallbackInReserve` is hidden from executors as well, until `serve`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Entity to its destroy function, and the ticks until it is called.
        self._hidden: dict[Any, tuple[Callable[[Any], bool], int]] = {}
        self._destroy_at_once = False
        # For threads of an executor: an event handler is in one wait set at a time, and the timer
        # of the destruction is not cancelled while an entity is added.
        self._lock = Lock()
        super().__init__(*args, **kwargs)
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._events_timer = self.create_timer(_EVENTS_SEC, self._take_all_events, clock=clock)
        self._destruction_timer = self.create_timer(_TICK_SEC, self._destroy_hidden, clock=clock)
        self._destruction_timer.cancel()

    @property
    def subscriptions(self) -> Iterator[Subscription[Any]]:
        """Yield the subscriptions that are not hidden from executors."""
        return (one for one in super().subscriptions
                if one not in self._hidden and not _is_in_reserve(one))

    @property
    def waitables(self) -> Iterator[Waitable[Any]]:
        """Yield the waitables but the middleware events, which are hidden from executors."""
        return (one for one in super().waitables if not isinstance(one, EventHandler))

    def destroy_subscription(self, subscription: Subscription[Any]) -> bool:
        """Destroy a subscription, deferred; its callback is not called any more."""
        if not _is_in_reserve(subscription):
            subscription.callback = lambda message: None
        return self._hide(subscription, super().destroy_subscription)

    def serve(self, subscription: Subscription[Any]) -> None:
        """
        Have the executor call a `CallbackInReserve` from now on; on any thread.

        Nothing is lost: the executor begins with what the middleware holds. No collection of
        rclpy is changed, which the executor may be walking through.
        """
        callback = subscription.callback
        assert isinstance(callback, CallbackInReserve)
        callback.is_waiting = False
        self._wake()

    def destroy_publisher(self, publisher: Publisher[Any]) -> bool:
        """Destroy a publisher, deferred."""
        return self._hide(publisher, super().destroy_publisher)

    def destroy_node(self) -> None:
        """Destroy the node and all its entities; no executor may spin it any more."""
        self._destroy_at_once = True
        super().destroy_node()

    def _hide(self, entity: Any, destroy: Callable[[Any], bool]) -> bool:
        if self._destroy_at_once:
            return destroy(entity)
        self.take_events(entity.event_handlers)
        with self._lock:
            self._hidden[entity] = destroy, _TICKS
            self._destruction_timer.reset()
        self._wake()
        return True

    def _wake(self) -> None:
        """Have the executor, if any, collect its entities anew at once."""
        executor = self.executor
        if executor is not None:
            executor.wake()

    def _destroy_hidden(self) -> None:
        for entity, (destroy, ticks) in list(self._hidden.items()):
            if ticks > 1:
                self._hidden[entity] = destroy, ticks - 1
            else:
                destroy(entity)
                del self._hidden[entity]
        with self._lock:
            if self._hidden:
                return
            self._destruction_timer.cancel()
        self._forget_destroyed()

    def _forget_destroyed(self) -> None:
        """Free what rclpy and glibc keep of destroyed entities; no frame is in flight."""
        # rclpy keeps a weak reference to each entity that was ever created.
        known = self.default_callback_group.entities
        known.difference_update([one for one in known if one() is None])
        # A closed pipeline refers to itself; its buffers would wait for the next full collection.
        gc.collect()
        give_free_memory_back()

    def _take_all_events(self) -> None:
        hidden = {handler for entity in list(self._hidden)
                  for handler in entity.event_handlers}
        self.take_events([one for one in super().waitables
                          if isinstance(one, EventHandler) and one not in hidden])

    def take_events(self, handlers: Sequence[Any]) -> None:
        """Take the middleware events of an entity on any thread, and call their callbacks."""
        context = self.context.handle
        if context is None:
            # ROS has been shut down.
            return
        with self._lock, context:
            wait_set = rclpy_implementation.WaitSet(0, 0, 0, 0, 0, len(handlers), context)
            wait_set.clear_entities()
            for handler in handlers:
                handler.add_to_wait_set(wait_set)
            wait_set.wait(0)
            ready = [handler for handler in handlers if handler.is_ready(wait_set)]
            taken = [(handler, handler.take_data()) for handler in ready]
        for handler, event in taken:
            if event is not None:
                handler.callback(event)


def _is_in_reserve(subscription: Subscription[Any]) -> bool:
    callback = subscription.callback
    return isinstance(callback, CallbackInReserve) and callback.is_waiting
