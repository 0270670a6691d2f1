"""
Matches the images of a camera with the detections in them, by the stamps of their headers.

message_filters does this too, but its TimeSynchronizer loses messages without a word: one that
does not fit into its queue or has the stamp of another is deleted, and what finds no partner waits
without a limit in time. It deletes the oldest stamp first: after a bag started again those are the
new messages. Here each message comes out again, matched or with the reason why not.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from threading import Lock
from typing import Any, Optional

from resnet_trt_node.node.ros.stamps import stamp_ns
from resnet_trt_node.regions.detections_cdr import DetectionsCdr

#: The two kinds of messages.
IMAGE, DETECTIONS = KINDS = ('image', 'detections')
#: Why a message was matched with none:
#:
#: - no_stamp: its stamp is 0, which drivers leave there; two of these need not belong together;
#: - expired: it waited for longer than wait_ns;
#: - overflow: depth others of its kind came while it waited;
#: - cleared: the node was deactivated or stopped.
UNMATCHED_REASONS = ('no_stamp', 'expired', 'overflow', 'cleared')


@dataclass(frozen=True, eq=False)
class RegionsMessage:
    """
    An image and the detections in it.

    :param image: sensor_msgs/Image or CompressedImage.
    :param detections: those in it.
    """

    image: Any
    detections: DetectionsCdr

    @property
    def header(self) -> Any:
        """Return the header of the image."""
        return self.image.header


@dataclass(frozen=True, eq=False)
class Match:
    """
    Two messages that belong together.

    :param message: both.
    :param arrived_ns: when the later one of the two had arrived.
    """

    message: RegionsMessage
    arrived_ns: int


@dataclass(frozen=True, eq=False)
class Unmatched:
    """
    A message that was matched with none.

    :param kind: one of `KINDS`.
    :param message: the message.
    :param arrived_ns: when it had arrived.
    :param reason: one of `UNMATCHED_REASONS`.
    """

    kind: str
    message: Any
    arrived_ns: int
    reason: str


@dataclass(frozen=True)
class Outcome:
    """
    What came out of the matcher.

    :param match: two messages that belong together, if any.
    :param unmatched: what waits no longer.
    """

    match: Optional[Match] = None
    unmatched: tuple[Unmatched, ...] = ()


@dataclass(frozen=True, eq=False)
class _Waiting:
    message: Any
    stamp_ns: int
    arrived_ns: int
    offered_ns: int


class StampMatcher:
    """
    Matches the messages of one camera; either kind may come first.

    A message is matched at once with the waiting one of the other kind whose stamp is nearest to
    its own, if that is within `slop_ns`; of equally near ones with the one that has waited for
    longest. Each message is matched once: detections go with one image.

    With a slop of 0 the result does not depend on the order in which the two kinds arrive; of
    several messages with one stamp the first goes with the first. With a slop below half of the
    time between two images, and between two detections, only one message is near enough, and the
    result does not depend on the order either. With a larger one a message may be matched before a
    nearer one arrives, for which it does not wait.

    No order of stamps is assumed: a bag may start again, and a detector may overtake itself. What
    is left of the time before has expired, or has the same stamp and is the same message.

    The callbacks of the executor call it, and its timer; deactivating the node clears it, on
    whatever thread. So it has a lock.

    :param depth: how many of each kind wait; one more, and the one that has waited for longest
        comes out unmatched.
    :param wait_ns: how long a message waits from when it was offered.
    :param slop_ns: how far apart two stamps may be.
    """

    def __init__(self, depth: int, wait_ns: int, slop_ns: int = 0) -> None:
        self._depth = depth
        self._wait_ns = wait_ns
        self._slop_ns = slop_ns
        self._lock = Lock()
        # By kind, in the order in which they were offered.
        self._waiting: dict[str, deque[_Waiting]] = {kind: deque() for kind in KINDS}

    @property
    def waiting(self) -> dict[str, int]:
        """Return how many messages wait, by kind."""
        with self._lock:
            return {kind: len(waiting) for kind, waiting in self._waiting.items()}

    def offer(self, kind: str, message: Any, now_ns: int, waited_ns: int = 0) -> Outcome:
        """
        Take a message; it comes out of this call or a later one.

        :param kind: one of `KINDS`.
        :param message: it has a header.
        :param now_ns: perf_counter_ns.
        :param waited_ns: how long ago it had arrived, 0 for just now.
        """
        new = _Waiting(message, stamp_ns(message.header.stamp), now_ns - waited_ns, now_ns)
        if not new.stamp_ns:
            return Outcome(unmatched=(_unmatched(kind, new, 'no_stamp'), *self.expire(now_ns)))
        with self._lock:
            # First of all: whether two are matched does not depend on when a timer runs.
            expired = self._expire(now_ns)
            partner = self._take_nearest(IMAGE if kind == DETECTIONS else DETECTIONS, new.stamp_ns)
            if partner is None:
                return Outcome(unmatched=(*expired, *self._keep(kind, new)))
        image, detections = (new, partner) if kind == IMAGE else (partner, new)
        return Outcome(
            Match(RegionsMessage(image.message, detections.message),
                  max(image.arrived_ns, detections.arrived_ns)), expired)

    def expire(self, now_ns: int) -> tuple[Unmatched, ...]:
        """
        Return what has waited for too long.

        :param now_ns: perf_counter_ns.
        """
        with self._lock:
            return self._expire(now_ns)

    def clear(self) -> tuple[Unmatched, ...]:
        """Return all that waits."""
        with self._lock:
            found = tuple(
                _unmatched(kind, one, 'cleared')
                for kind, waiting in self._waiting.items() for one in waiting)
            for waiting in self._waiting.values():
                waiting.clear()
            return found

    def _expire(self, now_ns: int) -> tuple[Unmatched, ...]:
        found = []
        for kind, waiting in self._waiting.items():
            while waiting and now_ns - waiting[0].offered_ns > self._wait_ns:
                found.append(_unmatched(kind, waiting.popleft(), 'expired'))
        return tuple(found)

    def _take_nearest(self, kind: str, wanted_ns: int) -> Optional[_Waiting]:
        waiting = self._waiting[kind]
        nearest = min(
            waiting, key=lambda one: abs(one.stamp_ns - wanted_ns), default=None)
        if nearest is None or abs(nearest.stamp_ns - wanted_ns) > self._slop_ns:
            return None
        waiting.remove(nearest)
        return nearest

    def _keep(self, kind: str, new: _Waiting) -> tuple[Unmatched, ...]:
        waiting = self._waiting[kind]
        waiting.append(new)
        if len(waiting) <= self._depth:
            return ()
        return (_unmatched(kind, waiting.popleft(), 'overflow'),)


def _unmatched(kind: str, one: _Waiting, reason: str) -> Unmatched:
    return Unmatched(kind, one.message, one.arrived_ns, reason)
