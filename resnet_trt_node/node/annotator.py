"""
Drawing results on pictures and publishing these, on a thread of its own.

A viewer must cost no answer: results are published before their pictures are drawn, and pictures
that cannot be drawn in time are skipped. What is drawn, decoded and copied here takes milliseconds
for each megapixel.
"""

from __future__ import annotations

from functools import partial
from threading import Condition, current_thread, Thread
from time import monotonic
from typing import Any, Callable, Optional

import numpy as np
from numpy.typing import NDArray
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.node.ros.messages import rgb_image
from resnet_trt_node.text.printable import printable

#: Between two pictures the thread rests for this multiple of what the last one took: much of that
#: time it holds the GIL, which frames in flight need as well.
_REST = 1.0


class Annotator:
    """
    Draws the newest picture of each camera; every method may be called from any thread.

    The thread begins with the first picture, and ends with `close`.

    :param to_frame: decodes a message.
    :param on_skipped: called with the camera of a picture that a newer one replaced before it was
        drawn.
    :param log: takes a line for each picture that could not be drawn or published.
    """

    def __init__(
            self, to_frame: Callable[[Any], Frame], on_skipped: Callable[[str], object],
            log: Callable[[str], object]) -> None:
        self._to_frame = to_frame
        self._on_skipped = on_skipped
        self._log = log
        self._changed = Condition()
        # What draws a camera's next picture; the one that waited for longest comes first.
        self._waiting: dict[str, Callable[[], None]] = {}
        self._drawing = False
        self._thread: Optional[Thread] = None

    def offer(
            self, camera: str, message: Any, draw: Callable[[Frame], NDArray[np.uint8]],
            publish: Callable[[Any], object]) -> None:
        """
        Have a picture drawn, and return at once.

        :param camera: whose it is; one of the same camera that still waits is skipped.
        :param message: the source message, which must not change.
        :param draw: returns an annotated copy of the decoded picture, uint8 (H, W, 3) RGB; called
            on this object's thread, once or never.
        :param publish: called with the drawn picture's message, on this object's thread.
        """
        with self._changed:
            skipped = camera in self._waiting
            # In the place of the older one, so that a fast camera is not drawn last for ever.
            self._waiting[camera] = partial(self._draw, camera, message, draw, publish)
            if self._thread is None:
                self._thread = Thread(target=self._run, name='annotator', daemon=True)
                self._thread.start()
            self._changed.notify_all()
        if skipped:
            self._on_skipped(camera)

    def drain(self, timeout_sec: float) -> bool:
        """Skip what waits, and wait for the end of the picture that is being drawn."""
        with self._changed:
            self._waiting.clear()
            return self._changed.wait_for(lambda: not self._drawing, timeout_sec)

    def close(self, timeout_sec: float) -> bool:
        """Draw nothing any more, and wait so long for the thread's end; tell whether it ended."""
        with self._changed:
            thread, self._thread = self._thread, None
            self._waiting.clear()
            self._changed.notify_all()
        if thread is not None:
            thread.join(timeout_sec)
        return thread is None or not thread.is_alive()

    def _run(self) -> None:
        rest_sec = 0.0
        while (draw := self._take(rest_sec)) is not None:
            start_sec = monotonic()
            draw()
            with self._changed:
                self._drawing = False
                self._changed.notify_all()
            rest_sec = _REST * (monotonic() - start_sec)

    def _draw(
            self, camera: str, message: Any, draw: Callable[[Frame], NDArray[np.uint8]],
            publish: Callable[[Any], object]) -> None:
        try:
            publish(rgb_image(message.header, draw(self._to_frame(message))))
        except Exception as error:  # noqa: B902
            # Its result is out. Decoding did well before, so it is whatever Pillow or the
            # middleware raise; a publisher may also be destroyed in mid-picture.
            if self._wanted():
                where = f'camera {camera}: ' if camera else ''
                self._log(f'{where}no annotated picture: {printable(repr(error), 500)}')

    def _wanted(self) -> bool:
        """Tell whether the calling thread is the one whose pictures are wanted."""
        return self._thread is current_thread()

    def _take(self, rest_sec: float) -> Optional[Callable[[], None]]:
        """Wait for the next picture, None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: not self._wanted(), rest_sec)
            self._changed.wait_for(lambda: self._waiting or not self._wanted())
            if not self._wanted():
                return None
            self._drawing = True
            return self._waiting.pop(next(iter(self._waiting)))
