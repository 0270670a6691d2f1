"""A picture file that is read once, whether a device decodes it or the CPU."""

from __future__ import annotations

from threading import Lock
from typing import Callable, Optional

from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.on_device.encoded import EncodedPicture
from resnet_trt_node.imaging.on_device.pictures import picture_of_file


class PictureFile:
    """
    One file, for any number of threads.

    :param read: returns its bytes.
    :param decode: makes a frame of them.
    :param max_bytes: memory that the picture may take, decoding included.
    :param keep: whether the frame is kept for the next call.
    """

    def __init__(
            self, read: Callable[[], bytes], decode: Callable[[bytes], Frame], max_bytes: int,
            keep: bool = False) -> None:
        self._read = read
        self._decode = decode
        self._max_bytes = max_bytes
        self._keep = keep
        self._lock = Lock()
        # Read for the device, and perhaps wanted by the CPU.
        self._data: Optional[bytes] = None
        # What `picture` returned, once it was called: crops of it are decoded as one.
        self._picture: Optional[tuple[Optional[EncodedPicture]]] = None
        self._frame: Optional[Frame] = None

    def picture(self, decodes: bool = True) -> Optional[EncodedPicture]:
        """
        Return what a device may decode of it, None where the CPU has to.

        :param decodes: whether it decodes jpegs.
        :raises FrameError: if it cannot be read.
        """
        if not decodes:
            return None
        with self._lock:
            if self._picture is None:
                self._data = self._read()
                self._picture = (picture_of_file(self._data, self._max_bytes),)
            return self._picture[0]

    def frame(self) -> Frame:
        """
        Decode it.

        :raises FrameError: if it cannot be read or is not a picture.
        """
        with self._lock:
            frame = self._frame
            if frame is None:
                data, self._data = self._data, None
                frame = self._decode(self._read() if data is None else data)
                if self._keep:
                    self._frame = frame
            return frame
