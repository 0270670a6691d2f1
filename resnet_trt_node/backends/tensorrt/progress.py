"""Saying how far a build is: TensorRT's own monitor where it has one, the clock where not."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Optional

from resnet_trt_node.backends.tensorrt import versions
from resnet_trt_node.closing import Closing

#: Seconds between two lines.
_INTERVAL_S = 5.0


class BuildProgress(Closing):
    """
    Reports a build until closed, as a context manager around it.

    :param trt: the TensorRT module.
    :param config: the builder's configuration.
    :param what: what is built, for the lines.
    :param log: takes the lines.
    :param interval_s: seconds between two lines.
    """

    def __init__(
            self, trt: Any, config: Any, what: str, log: Callable[[str], None],
            interval_s: float = _INTERVAL_S) -> None:
        self._what = what
        self._log = log
        self._interval_s = interval_s
        self._start_s = self._last_s = time.monotonic()
        self._steps: dict[str, int] = {}
        self._raised: Optional[BaseException] = None
        self._done = threading.Event()
        self._ticker: Optional[threading.Thread] = None
        if not versions.attach_progress(trt, config, self):
            self._ticker = threading.Thread(target=self._tick, name='build-progress', daemon=True)
            self._ticker.start()

    def start(self, phase: str, parent: Optional[str], steps: int) -> None:
        """Note a phase and its number of steps."""
        self._steps[phase] = steps

    def step(self, phase: str, step: int) -> bool:
        """
        Report a finished step.

        :returns: False to end the build, since Ctrl-C or a failing log must not raise through
            TensorRT.
        """
        try:
            now_s = time.monotonic()
            steps = self._steps.get(phase, 0)
            if now_s - self._last_s >= self._interval_s and steps:
                self._last_s = now_s
                self._say(f'{phase}, {100 * (step + 1) // steps} %')
        except BaseException as error:  # noqa: B902  kept and raised again by `check`
            self._raised = error
        return self._raised is None

    def finish(self, phase: str) -> None:
        """Forget a phase."""
        self._steps.pop(phase, None)

    def check(self) -> None:
        """Raise what was raised while a step was reported."""
        if self._raised is not None:
            raise self._raised

    def _say(self, text: str) -> None:
        self._log(f'building {self._what}: {text}, {time.monotonic() - self._start_s:.0f} s')

    def _tick(self) -> None:
        while not self._done.wait(self._interval_s):
            self._say('at work')

    def close(self) -> None:
        """Stop the clock."""
        self._done.set()
        if self._ticker is not None:
            self._ticker.join()
