"""What TensorRT logs: one logger for the whole process, heard by whoever works at the moment."""

from __future__ import annotations

from typing import Any, Callable
from weakref import WeakKeyDictionary

from resnet_trt_node.backends.tensorrt import versions
from resnet_trt_node.closing import Closing

# TensorRT keeps the first logger it is given for everything, whoever gives it another one later,
# so a logger that goes away with its backend would leave a dangling pointer.
_loggers: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
_listeners: list[TensorRtLog] = []

#: Errors that are kept, the last ones; a node may run for months.
_KEPT = 3
#: How lines about sparse weights begin.
_SPARSITY = '(Sparsity)'


class TensorRtLog(Closing):
    """
    Passes TensorRT's warnings on and keeps its last errors, until closed.

    :param trt: the TensorRT module.
    :param log: takes a line for each warning.
    """

    def __init__(self, trt: Any, log: Callable[[str], None]) -> None:
        if trt not in _loggers:
            _loggers[trt] = versions.make_logger(trt, _spread)
        #: The logger for TensorRT's objects.
        self.logger: Any = _loggers[trt]
        self._log = log
        self._errors: list[str] = []
        self._warning = ''
        #: What it logged about sparse weights; a build logs it once.
        self.sparsity: list[str] = []
        _listeners.append(self)

    def take(self, severity: str, message: str) -> None:
        """Take a line from TensorRT, with the name of its severity."""
        if 'ERROR' in severity:
            self._errors[:] = [*self._errors, message][-_KEPT:]
        elif severity == 'WARNING':
            self._warning = message
            self._log(f'TensorRT: {message}')
        elif message.startswith(_SPARSITY):
            self.sparsity.append(message)

    def explain(self) -> str:
        """Return the errors since the last call, else the last warning, in TensorRT's words."""
        # Without a GPU, 8.6 only warns before it fails.
        text = ' / '.join(self._errors) or self._warning or 'it gives no reason'
        self._errors.clear()
        self._warning = ''
        return text

    def close(self) -> None:
        """Stop listening; calling it again does nothing."""
        if self in _listeners:
            _listeners.remove(self)


def _spread(severity: str, message: str) -> None:
    for listener in tuple(_listeners):
        listener.take(severity, message)
