"""Camera timeouts: which cameras have stopped sending, and which have come back."""

from __future__ import annotations

from typing import Iterable, Mapping, Optional


class CameraWatchdog:
    """
    Keeps the cameras that have timed out.

    :param cameras: the cameras' names.
    """

    def __init__(self, cameras: Iterable[str]) -> None:
        #: Camera to perf_counter_ns of its last frame, for cameras that have timed out.
        self._timed_out: dict[str, int] = {}
        self._has_sent = dict.fromkeys(cameras, False)

    def check(
            self, now_ns: int, active_since_ns: Optional[int], last_ns: Mapping[str, int],
            timeout_sec: float) -> list[tuple[str, Optional[float]]]:
        """
        Return the cameras whose state changed since the last call.

        :param now_ns: perf_counter_ns.
        :param active_since_ns: when the node was activated, None while it is inactive.
        :param last_ns: when each camera's last frame arrived, for those that sent any.
        :param timeout_sec: longest time without a frame; 0 disables the timeout.
        :returns: camera and None if it timed out, or the seconds between its last two frames if
            it is back.
        """
        if active_since_ns is None:
            self._timed_out.clear()
            return []
        # It may have been deactivated and activated since the last call.
        self._timed_out = {camera: since_ns for camera, since_ns in self._timed_out.items()
                           if since_ns >= active_since_ns}
        changes: list[tuple[str, Optional[float]]] = []
        for camera in self._has_sent:
            frame_ns = last_ns.get(camera, 0)
            self._has_sent[camera] = frame_ns >= active_since_ns
            start_ns = max(frame_ns, active_since_ns)
            expired = bool(timeout_sec) and now_ns - start_ns > timeout_sec * 1e9
            before_ns = self._timed_out.get(camera)
            if expired and before_ns is None:
                self._timed_out[camera] = start_ns
                changes.append((camera, None))
            elif not expired and before_ns is not None:
                del self._timed_out[camera]
                if frame_ns > before_ns:
                    changes.append((camera, (frame_ns - before_ns) / 1e9))
        return changes

    def reason(self, camera: str, now_ns: int) -> Optional[str]:
        """Return a camera's timeout in words, None if it has not timed out."""
        since_ns = self._timed_out.get(camera)
        if since_ns is None:
            return None
        seconds = (now_ns - since_ns) / 1e9
        if self._has_sent[camera]:
            return f'camera timeout: no image for {seconds:.1f} s'
        return f'camera timeout: no image yet, {seconds:.1f} s after activation'
