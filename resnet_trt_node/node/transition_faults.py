"""Logs unexpected exceptions of lifecycle transitions, which rclpy turns into ERROR unlogged."""

from __future__ import annotations

from functools import wraps
import traceback
from typing import Any, Callable, Optional, Protocol, TypeVar

from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from resnet_trt_node.printable import printable_lines


class _KeepsFault(Protocol):
    #: An error that nobody foresaw; the process should end with it.
    fault: Optional[BaseException]

    def get_logger(self) -> Any: ...


_Node = TypeVar('_Node', bound=_KeepsFault)
_Transition = Callable[[_Node, LifecycleState], TransitionCallbackReturn]


def reported(transition: _Transition[_Node]) -> _Transition[_Node]:
    """Log what a transition raises, and keep it as the node's fault."""
    @wraps(transition)
    def run(node: _Node, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception as error:  # noqa: B902  whatever it is, it must not pass in silence
            trace = printable_lines(traceback.format_exc())
            node.get_logger().fatal(f'{transition.__name__} failed:\n{trace}')
            # on_error may fail too, over what the first error left behind.
            node.fault = node.fault or error
            return TransitionCallbackReturn.ERROR
    return run
