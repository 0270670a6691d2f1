"""How fast the backend works, and so when a frame that is fitted now would be answered."""

from __future__ import annotations

from math import inf

#: Weights of a new sample in mean and deviation, as TCP estimates round trips: RFC 6298, 2.3.
_MEAN_GAIN = 1 / 8
_DEVIATION_GAIN = 1 / 4
#: How many deviations a batch may last longer before an answer in time is not relied on.
_CAUTION = 2.0
#: Time to fill a batch in, in multiples of what that takes: other threads want the CPU as well.
_FILL_RESERVE = 2.0
#: What takes longer is left to the thread that is for it: callbacks shall return soon, and the
#: backend's thread shall be there for the next batch.
_QUICK_MS = 3.0
#: From the end of a wait until the backend has the batch: another thread wakes and submits it.
_SUBMIT_MS = 2.0
#: How fast a backend is taken to be faster again when its slowness has all frames dropped.
_DECAY = 0.9


class Estimate:
    """
    A duration that changes slowly, in milliseconds.

    :param mean_ms: what it is taken to be before the first sample.
    """

    def __init__(self, mean_ms: float = 0.0) -> None:
        self.mean_ms = mean_ms
        self.deviation_ms = 0.0

    def add(self, sample_ms: float) -> None:
        """Take a measured duration in."""
        self.deviation_ms += _DEVIATION_GAIN * (
            abs(sample_ms - self.mean_ms) - self.deviation_ms)
        self.mean_ms += _MEAN_GAIN * (sample_ms - self.mean_ms)

    @property
    def most_ms(self) -> float:
        """Return what it hardly ever exceeds."""
        return self.mean_ms + _CAUTION * self.deviation_ms

    def decay(self) -> None:
        """Be taken for a little shorter."""
        self.mean_ms *= _DECAY
        self.deviation_ms *= _DECAY


class Pace:
    """Foretells answers from how long the last ones took; its owner holds the lock."""

    def __init__(self) -> None:
        self._infer = Estimate()
        self._fit = Estimate()
        # From the end of the inference until the last answer of the batch is out.
        self._publish = Estimate()
        self._batch_size = 1
        # When the running batch began, perf_counter_ns; meaningless while none runs.
        self._began_ns = 0

    @property
    def fits_quickly(self) -> bool:
        """Tell whether a frame is decoded and resized in no time worth a thread of its own."""
        return self._fit.mean_ms < _QUICK_MS

    @property
    def publishes_quickly(self) -> bool:
        """Tell the same of publishing the answers of a batch."""
        return self._publish.mean_ms < _QUICK_MS

    def restart(self, infer_ms: float, batch_size: int) -> None:
        """Begin with a newly opened backend: its slowest batch of the warm-up, its largest."""
        self._infer = Estimate(infer_ms)
        self._batch_size = batch_size

    def began(self, now_ns: int) -> None:
        """Note that the backend goes on to another batch."""
        self._began_ns = now_ns

    def inferred(self, took_ms: float) -> None:
        """Take in how long the backend alone took for a batch."""
        self._infer.add(took_ms)

    def fitted(self, took_ms: float) -> None:
        """Take in how long a frame took to be decoded and resized."""
        self._fit.add(took_ms)

    def published(self, took_ms: float) -> None:
        """Take in how long the answers of a batch took from the end of its inference."""
        self._publish.add(took_ms)

    def too_late(self, age_ms: float, ahead: int, max_age_ms: float, now_ns: int) -> bool:
        """
        Tell whether a frame in the next batch would be answered later than max_age_ms.

        :param age_ms: how long ago it arrived.
        :param ahead: batches that the backend has not finished and that come before.
        :param max_age_ms: 0 for none.
        :param now_ns: perf_counter_ns.
        """
        if not max_age_ms:
            return False
        after_ms = self._infer.most_ms + self._publish.most_ms
        if age_ms + self._free_in_ms(ahead, now_ns) + after_ms <= max_age_ms:
            return False
        if age_ms <= max_age_ms and not ahead:
            # Only the estimate speaks against it, and if all were dropped no batch would mend it.
            self._infer.decay()
            self._publish.decay()
        return True

    def patience_ms(self, age_ms: float, max_age_ms: float) -> float:
        """
        Return how long a batch may wait for others so that this frame is still answered in time.

        :param age_ms: how long ago it arrived.
        :param max_age_ms: 0 for none.
        """
        if not max_age_ms:
            return inf
        return (max_age_ms - age_ms - _SUBMIT_MS - self._infer.most_ms - self._publish.most_ms)

    def hopeless(self, age_ms: float, ahead: int, max_age_ms: float, now_ns: int) -> bool:
        """Tell the same of a frame that work was spent on: only if nothing suggests otherwise."""
        return bool(max_age_ms) and (
            age_ms + self._free_in_ms(ahead, now_ns) + self._infer.mean_ms > max_age_ms)

    def early_ms(self, ahead: int, max_age_ms: float, now_ns: int) -> float:
        """
        Return how long the next batch should still not be begun, 0 or less for now.

        A frame grows old in a filled batch as it does in the queue, but there a newer one takes
        its place. Of what inference and publication leave of max_age_ms one more inference is
        left to the queue, since a frame that just missed a batch waits for so long; then each
        camera has a frame in time for one batch or another. The filled batch takes at most what
        lets it be submitted before the batch ahead of it begins, where an asynchronous device
        gets it without a gap; at least it takes as long as filling does, so that the backend
        need not wait for that.

        :param ahead: batches that the backend has not finished.
        :param max_age_ms: 0 for none: batches are filled as early as there are buffers.
        :param now_ns: perf_counter_ns.
        """
        if not max_age_ms or not ahead:
            return 0.0
        left_ms = max_age_ms - self._infer.most_ms - self._publish.most_ms
        fill_ms = _FILL_RESERVE * self._batch_size * self._fit.most_ms
        lead_ms = max(
            fill_ms, min(self._infer.most_ms + fill_ms, left_ms - self._infer.most_ms))
        return self._free_in_ms(ahead, now_ns) - lead_ms

    def _free_in_ms(self, ahead: int, now_ns: int) -> float:
        """Return when the backend will have finished so many batches, the first is running."""
        if not ahead:
            return 0.0
        ran_ms = (now_ns - self._began_ns) / 1e6
        return max(0.0, self._infer.mean_ms - ran_ms) + (ahead - 1) * self._infer.mean_ms
