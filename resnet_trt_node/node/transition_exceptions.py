"""Logs unexpected exceptions of lifecycle transitions, which rclpy turns into ERROR unlogged."""

from __future__ import annotations

from functools import wraps
import traceback
from typing import Any, Callable

from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from resnet_trt_node.text.printable import printable_lines

#: Of a node with an attribute `unexpected_exception`, for the process to end with.
_Transition = Callable[[Any, LifecycleState], TransitionCallbackReturn]


def reported(transition: _Transition) -> _Transition:
    """Log what a transition raises, and keep it for the node to end with."""
    @wraps(transition)
    def run(node: Any, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception as error:  # noqa: B902  whatever it is, it must not pass in silence
            trace = printable_lines(traceback.format_exc())
            node.get_logger().fatal(f'{transition.__name__} failed:\n{trace}')
            # on_error may fail too, over what the first error left behind.
            node.unexpected_exception = node.unexpected_exception or error
            return TransitionCallbackReturn.ERROR
    return run
