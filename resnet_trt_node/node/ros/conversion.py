"""
From ROS messages to frames, by cv_bridge where that is installed and works.

Pixels that need no conversion never pass through cv_bridge, which would copy them.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
import json
import os
from pathlib import Path
import subprocess
import sys
from time import monotonic
from typing import Any, Callable, Optional

from resnet_trt_node.imaging.decode import convert_image, decode_message
from resnet_trt_node.imaging.depth_images import DEPTH_ENCODING, looks_like_depth
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.image_encodings import (
    check_image, DEEP, MAX_IMAGE_BYTES, PIXEL_BYTES, RawImage, ZERO_COPY)
from resnet_trt_node.node.ros.cv_bridge_check import target_encoding
from resnet_trt_node.printable import printable

# `python -c` and `-m` look for modules in the current folder first, where anyone may put some.
_CHECK = (
    'import sys; sys.path[:] = filter(None, sys.path); '
    'from resnet_trt_node.node.ros.cv_bridge_check import main; sys.exit(main())')
#: Importing OpenCV and cv_bridge takes seconds on a small computer with a slow disk.
_CHECK_TIMEOUT_S = 30.0
#: How often it is asked meanwhile whether the check is still wanted.
_CHECK_POLL_S = 0.1


class Converter:
    """
    Turns Image and CompressedImage messages into frames, on any thread.

    :param log: takes one line that says what converts and why, and one for every encoding that
        cv_bridge fails at later; None drops them.
    :param warn: takes one line about the first frame that looks like depth; None drops it.
    :param still_wanted: asked while cv_bridge is being tried; False ends that.
    """

    def __init__(
            self, log: Optional[Callable[[str], object]] = None,
            warn: Optional[Callable[[str], object]] = None,
            still_wanted: Callable[[], bool] = lambda: True) -> None:
        self._log: Callable[[str], object] = log if log is not None else lambda line: None
        self._bridge: Any = None
        equal, reason = check_cv_bridge(still_wanted)
        if equal:
            self._bridge, reason = _open_cv_bridge()
        #: Encodings that cv_bridge converts; all others are OpenCV's.
        self.bridged = frozenset(equal if self._bridge is not None else ())
        if self.bridged:
            self.description = (
                f'cv_bridge converts {", ".join(sorted(self.bridged))}; OpenCV the other '
                'encodings')
        else:
            self.description = f'OpenCV converts all encodings: {reason}'
        self._log(self.description)
        #: Memory that a frame may take, decoding included; may be changed at any time.
        self.max_bytes = MAX_IMAGE_BYTES
        self._warn = warn

    def to_frame(self, message: Any, reduced_to: Optional[int] = None) -> Frame:
        """
        Decode a message.

        :param message: sensor_msgs/Image or sensor_msgs/CompressedImage.
        :param reduced_to: see `decode_compressed`; a resizer's `decode_side` is the right number.
        :returns: a frame; of packed 8-bit encodings a view of the message's data.
        :raises FrameError: if the message is malformed.

        The first frame that looks like depth is warned of.
        """
        frame = self._to_frame(message, reduced_to)
        warn = self._warn
        if warn is not None and looks_like_depth(message, frame):
            self._warn = None
            warn(
                f'a frame of encoding {DEPTH_ENCODING} looks like depth, all but black to the '
                'model: a classifier wants colours; use the topic of the colour camera, or '
                'publish grey pictures as mono16, white at 65535')
        return frame

    def _to_frame(self, message: Any, reduced_to: Optional[int]) -> Frame:
        if getattr(message, 'encoding', None) not in self.bridged:
            return decode_message(message, reduced_to, self.max_bytes)
        # cv_bridge trusts a message's fields.
        raw = check_image(message, self.max_bytes)
        frame = self._by_bridge(message, raw)
        return convert_image(raw) if frame is None else frame

    def _by_bridge(self, message: Any, raw: RawImage) -> Optional[Frame]:
        """Return cv_bridge's frame, None where it has none to give."""
        # It calls what NumPy 2 lacks for the other byte order, and divides the step by the pixel.
        if raw.big_endian or raw.step % PIXEL_BYTES[raw.encoding]:
            return None
        try:
            pixels = self._bridge.imgmsg_to_cv2(message, target_encoding(raw.encoding))
        except Exception as error:  # noqa: B902  it raises whatever its C++ half throws
            # The frame is not lost: OpenCV takes over, and says so once.
            self.bridged -= {raw.encoding}
            self._log(
                f'OpenCV converts {raw.encoding} from now on: cv_bridge failed at it '
                f'({printable(f"{type(error).__name__}: {error}")})')
            return None
        return Frame(pixels, DEEP[raw.encoding][0] if raw.encoding in DEEP else 'rgb')


def check_cv_bridge(
        still_wanted: Callable[[], bool] = lambda: True) -> tuple[list[str], str]:
    """
    Try cv_bridge in another process, which it may kill.

    :param still_wanted: asked meanwhile; False ends the other process.
    :returns: the encodings that it converts as OpenCV does, and if there are none, why.
    """
    if find_spec('cv_bridge') is None:
        return [], 'cv_bridge is not installed'
    paths = [*filter(None, sys.path), str(Path(__file__).resolve().parents[2])]
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(paths)}
    try:
        done = _run_check(environment, still_wanted)
    except subprocess.TimeoutExpired:
        return [], f'cv_bridge did not answer within {_CHECK_TIMEOUT_S:.0f} s'
    except OSError as error:
        return [], f'cv_bridge could not be tried out ({error})'
    if done.returncode < 0:
        return [], f'cv_bridge crashes, by signal {-done.returncode}; was it built for NumPy 1?'
    lines = done.stderr.strip().splitlines() or ['no message']
    if done.returncode:
        return [], f'cv_bridge does not work ({printable(lines[-1])})'
    try:
        equal = [name for name in json.loads(done.stdout) if name not in ZERO_COPY]
    except (ValueError, TypeError):
        return [], 'cv_bridge prints where it should only convert'
    return equal, '' if equal else 'cv_bridge gives other pixels than OpenCV'


def _run_check(
        environment: dict[str, str],
        still_wanted: Callable[[], bool]) -> subprocess.CompletedProcess[str]:
    """Run the check to its end, or for as long as it may take or is wanted."""
    arguments = [sys.executable, '-c', _CHECK]
    deadline_s = monotonic() + _CHECK_TIMEOUT_S
    with subprocess.Popen(
            arguments, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True) as process:
        while True:
            try:
                out, error = process.communicate(timeout=_CHECK_POLL_S)
            except subprocess.TimeoutExpired:
                if monotonic() < deadline_s and still_wanted():
                    continue
                process.kill()
                raise
            return subprocess.CompletedProcess(arguments, process.returncode, out, error)


def _open_cv_bridge() -> tuple[Any, str]:
    """Return a bridge, or None and the reason."""
    try:
        return importlib.import_module('cv_bridge').CvBridge(), ''
    except Exception as error:  # noqa: B902  a C extension may raise anything while importing
        # It worked in another process; here another OpenCV or NumPy may be loaded already.
        return None, f'cv_bridge does not load ({printable(f"{type(error).__name__}: {error}")})'
