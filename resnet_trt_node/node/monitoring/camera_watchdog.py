"""Noticing cameras that send nothing any more, and that they are back."""

from __future__ import annotations

from typing import Iterable, Mapping, Optional


class SilenceWatch:
    """
    Remembers since when each camera has been silent.

    :param cameras: the cameras' names.
    """

    def __init__(self, cameras: Iterable[str]) -> None:
        #: Camera to perf_counter_ns of its last frame, for cameras that count as silent.
        self._silent_since: dict[str, int] = {}
        self._heard = dict.fromkeys(cameras, False)

    def check(
            self, now_ns: int, active_since_ns: Optional[int], last_ns: Mapping[str, int],
            timeout_sec: float) -> list[tuple[str, Optional[float]]]:
        """
        Find what changed since the last call.

        :param now_ns: perf_counter_ns.
        :param active_since_ns: when the node began to listen, None while it does not.
        :param last_ns: when each camera's last frame came, for those that sent any.
        :param timeout_sec: how long a camera may be silent, 0 for ever.
        :returns: camera and None for one that became silent, or the seconds that it was silent
            for one that is back.
        """
        if active_since_ns is None:
            self._silent_since.clear()
            return []
        changes: list[tuple[str, Optional[float]]] = []
        for camera in self._heard:
            frame_ns = last_ns.get(camera, 0)
            self._heard[camera] = frame_ns >= active_since_ns
            quiet_since_ns = max(frame_ns, active_since_ns)
            silent = bool(timeout_sec) and now_ns - quiet_since_ns > timeout_sec * 1e9
            was_since_ns = self._silent_since.get(camera)
            if silent and was_since_ns is None:
                self._silent_since[camera] = quiet_since_ns
                changes.append((camera, None))
            elif not silent and was_since_ns is not None:
                del self._silent_since[camera]
                if frame_ns > was_since_ns:
                    changes.append((camera, (frame_ns - was_since_ns) / 1e9))
        return changes

    def reason(self, camera: str, now_ns: int) -> Optional[str]:
        """Return why a camera counts as silent, None if it does not."""
        since_ns = self._silent_since.get(camera)
        if since_ns is None:
            return None
        seconds = (now_ns - since_ns) / 1e9
        if self._heard[camera]:
            return f'silent: no image for {seconds:.1f} s'
        return f'silent: no image yet, {seconds:.1f} s after activation'
