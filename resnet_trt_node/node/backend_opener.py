"""Opens the backend that the parameters name, and reports the progress of that."""

from __future__ import annotations

from time import monotonic
from typing import Callable, Optional

import numpy as np
from resnet_trt_node.allocator import touch_memory
from resnet_trt_node.backends.base import Backend
from resnet_trt_node.backends.factory import open_backend
from resnet_trt_node.errors import BackendUnavailable, UsageError
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.resize import Resizer
from resnet_trt_node.node.pipeline.inference.inference_worker import NUM_BUFFERS
from resnet_trt_node.node.pipeline.pipeline import Pipeline
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters
from resnet_trt_node.text.printable import printable

#: Height and width of the frames for which resizing is planned before the first one comes.
_USUAL_SIZES = ((480, 640), (720, 1280), (1080, 1920))
#: A backend that did not end when it was closed gets so long before another one is refused.
_ABANDONED_SEC = 5.0


class BackendOpener:
    """
    Opens backends one after the other, never a second one beside one that hangs.

    :param parameters: gives the present parameters.
    :param log: takes the backend's lines, such as 'building ...: 40 %'.
    """

    def __init__(
            self, parameters: Callable[[], NodeParameters], log: Callable[[str], object]) -> None:
        self._parameters = parameters
        self._log = log
        self._began_sec = monotonic()
        self._progress = ''
        #: The pipeline whose backend did not end when it was closed, None where all have ended.
        self.abandoned: Optional[Pipeline] = None

    def begin(self) -> Callable[[], str]:
        """Return a function for the progress of the next opening, which begins now."""
        self._began_sec = monotonic()
        self._progress = ''
        return self._describe_progress

    def _describe_progress(self) -> str:
        """Return for how long a backend has been opened, and its last line."""
        text = f'configuring for {monotonic() - self._began_sec:.0f} s'
        return f'{text}: {self._progress}' if self._progress else text

    def open_model(self) -> Backend:
        """
        Open the backend; called from the thread that will use it.

        :raises ResnetTrtError: why it cannot be opened.
        """
        parameters = self._parameters()
        if not parameters.model_path and not parameters.backend.startswith('simulated'):
            raise UsageError(
                'no model: set the parameter model_path to a file made by '
                '`resnet_trt export` or `resnet_trt prepare`')
        if self.abandoned is not None:
            self._progress = 'the previous backend still hangs'
            if not self.abandoned.join(_ABANDONED_SEC):
                raise BackendUnavailable(
                    'the previous backend still hangs and keeps its memory: restart this '
                    'process')
            self.abandoned = None
        self._progress = 'opening the model'
        backend = open_backend(
            parameters.model_path, parameters.backend,
            **parameters.backend_options(NUM_BUFFERS, self._report))
        self._progress = 'warming up'
        if not parameters.build_only:
            touch_memory(max(1, len(parameters.cameras)))
            _plan_usual_sizes(Resizer(
                backend.spec.resize, parameters.resize_method))  # type: ignore[arg-type]
        return backend

    def _report(self, line: str) -> None:
        self._progress = printable(line)
        self._log(line)


def _plan_usual_sizes(resizer: Resizer) -> None:
    """Resize a black frame of each usual size, which plans that and loads OpenCV's code."""
    rule = resizer.rule
    row = np.empty((rule.crop_height, rule.crop_width, 3), np.uint8)
    for size in _USUAL_SIZES:
        resizer.resize(Frame(np.zeros((*size, 3), np.uint8), 'bgr'), row)
