"""A lifecycle node that is configured without blocking its executor."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Callable, Optional

from lifecycle_msgs.msg import Transition
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # Humble has it there
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

#: Period of the check whether `on_configure` would still have to wait.
_POLL_SEC = 0.02
#: Called with the result of a transition.
_Done = Callable[[TransitionCallbackReturn], None]


class OpeningCancelled(Exception):
    """The node is shut down while it is being configured."""


class NodeOfAsyncConfigure(LifecycleNode):
    """
    A lifecycle node that answers its services while it is being configured.

    rclpy runs a transition within one callback, which blocks the executor. A coroutine as service
    callback does not help: it blocks its callback group, and rclpy's wait-set executors poll it
    without a pause. So this class begins the transition in one callback and ends it in a later
    one, both on the executor's thread. The reply to `change_state` is sent at the end, with the
    result. Until then `get_state` returns `configuring` and every other transition is refused.

    Subclasses implement `begin_configuring` and `cancel_configuring`, and an `on_configure` that
    waits for the work that `begin_configuring` started. `trigger_configure` blocks, as in rclpy.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Called at the end of the current transition, None while there is none.
        self._done: Optional[_Done] = None
        self._begun: Future[Any] = Future()
        super().__init__(*args, **kwargs)
        service = self._service_change_state
        self._change_state_at_once, service.callback = service.callback, self._change_state
        # Executors pass this the callback's response and the request header, which only it gets.
        self._send, service.send_response = (  # type: ignore[method-assign]
            service.send_response, self._send_or_defer)
        # The response to `configure`, None while there is none to be deferred, and its header.
        self._deferred: Optional[Any] = None
        self._header: Optional[Any] = None
        self._poll_timer = self.create_timer(
            _POLL_SEC, self._poll, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._poll_timer.cancel()

    def begin_configuring(self) -> Future[Any]:
        """
        Start the work that takes long, and return at once.

        :returns: done, with a result or an exception, when `on_configure` will not block.
        """
        raise NotImplementedError

    def cancel_configuring(self) -> None:
        """Cancel the work that `begin_configuring` started: `on_configure` is not called."""
        raise NotImplementedError

    @property
    def configuring(self) -> bool:
        """Return whether the node is being configured."""
        return self._done is not None

    def configure(self, done: _Done) -> None:
        """
        Begin the transition `configure`, and return; an executor must spin the node.

        :param done: called with the result at the end, on the executor's thread.
        """
        self._state_machine.trigger_transition_by_id(Transition.TRANSITION_CONFIGURE, True)
        self._done = done
        self._begun = self.begin_configuring()
        self._poll_timer.reset()

    def trigger_shutdown(self) -> TransitionCallbackReturn:
        """Shut down at once; configuring that is in progress fails."""
        if self.configuring:
            self.cancel_configuring()
            self._end(TransitionCallbackReturn.FAILURE)
        return super().trigger_shutdown()

    def _poll(self) -> None:
        if self.configuring and self._begun.done():
            self._end(self.on_configure(_UNCONFIGURED))

    def _end(self, result: TransitionCallbackReturn) -> None:
        self._poll_timer.cancel()
        self._state_machine.trigger_transition_by_label(result.to_label(), True)
        if result == TransitionCallbackReturn.ERROR:
            after = self.on_error(_UNCONFIGURED)
            self._state_machine.trigger_transition_by_label(after.to_label(), True)
        done, self._done = self._done, None
        if done is not None:
            done(result)

    def _change_state(self, request: Any, response: Any) -> Any:
        if self.configuring:
            self.get_logger().warning(
                'change_state refused: the node is being configured, wait until that ends')
            response.success = False
            return response
        asked = request.transition
        machine = self._state_machine
        offered = {label: number for number, label, *_ in machine.available_transitions}
        number = offered.get(asked.label) if asked.label else asked.id
        if number not in offered.values():
            # Jazzy's rclpy raises for such a number, which would end the node.
            self.get_logger().warning(
                f'change_state refused: there is no transition {asked.label or asked.id} from '
                f'state {machine.current_state[1]}, only {", ".join(offered)}')
            response.success = False
            return response
        if number != Transition.TRANSITION_CONFIGURE:
            return self._change_state_at_once(request, response)

        def reply(result: TransitionCallbackReturn) -> None:
            response.success = result == TransitionCallbackReturn.SUCCESS
            self._deferred = None
            # Without a header the callback has not returned yet, and is answered when it does.
            if self._header is not None:
                self._send(response, self._header)

        self._deferred, self._header = response, None
        self.configure(reply)
        return response

    def _send_or_defer(self, response: Any, header: Any) -> None:
        if response is self._deferred:
            self._header = header
        else:
            self._send(response, header)


_UNCONFIGURED = LifecycleState(label='unconfigured', state_id=1)
