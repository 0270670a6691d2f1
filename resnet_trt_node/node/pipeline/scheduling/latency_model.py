"""How long the stages of a frame take, and so whether its answer would meet its deadline."""

from __future__ import annotations

from math import inf

#: Weights of a new sample in mean and deviation, as TCP estimates round trips: RFC 6298, 2.3.
_MEAN_GAIN = 1 / 8
_DEVIATION_GAIN = 1 / 4
#: How many deviations a stage may last longer before an answer in time is not relied on.
_CAUTION = 2.0
#: Time to fill a batch in, in multiples of what that takes: other threads want the CPU as well.
_FILL_RESERVE = 2.0
#: How fast a backend is assumed to be faster again when its slowness has all frames dropped.
_DECAY = 0.9


class Estimate:
    """
    A duration that changes slowly, in milliseconds.

    :param mean_ms: what is assumed before the first sample.
    """

    def __init__(self, mean_ms: float = 0.0) -> None:
        self.mean_ms = mean_ms
        self.deviation_ms = 0.0

    def add(self, sample_ms: float) -> None:
        """Include a measured duration."""
        self.deviation_ms += _DEVIATION_GAIN * (
            abs(sample_ms - self.mean_ms) - self.deviation_ms)
        self.mean_ms += _MEAN_GAIN * (sample_ms - self.mean_ms)

    @property
    def most_ms(self) -> float:
        """Return what the duration hardly ever exceeds."""
        return self.mean_ms + _CAUTION * self.deviation_ms


class LatencyModel:
    """
    Predicts when a frame would be answered; its owner holds the lock.

    In all methods `ahead` counts the batches that the backend has not finished and that come
    before the next one, and `now_ns` is perf_counter_ns.
    """

    def __init__(self) -> None:
        #: Of a whole batch, on the backend alone.
        self.infer = Estimate()
        #: Of one row of a batch.
        self.preprocess = Estimate()
        #: From the end of the inference until the last answer of the batch is published.
        self.publish = Estimate()
        #: When the running batch began, perf_counter_ns; meaningless while none runs.
        self.began_ns = 0
        self._batch_size = 1

    def restart(self, infer_ms: float, batch_size: int) -> None:
        """Begin with a newly opened backend: its slowest batch of the warm-up, its largest."""
        self.infer = Estimate(infer_ms)
        self._batch_size = batch_size

    def answer_in_ms(self, ahead: int, now_ns: int, rows: int = 1) -> float:
        """
        Return in how long the next batch is published; it hardly ever takes longer.

        :param rows: of the frame, which may fill several batches.
        """
        more = max(0, -(-rows // self._batch_size) - 1)
        return self._free_in_ms(ahead, now_ns) + more * self.infer.mean_ms + self._after_ms

    def infer_in_ms(self, ahead: int, now_ns: int) -> float:
        """Return in how long the next batch is inferred, if nothing goes wrong."""
        return self._free_in_ms(ahead, now_ns) + self.infer.mean_ms

    def decay(self) -> None:
        """Expect answers a little sooner."""
        for estimate in (self.infer, self.publish):
            estimate.mean_ms *= _DECAY
            estimate.deviation_ms *= _DECAY

    def deferral_ms(self, ahead: int, max_age_ms: float, now_ns: int) -> float:
        """
        Return how long the start of the next batch should be deferred, 0 or less for now.

        A frame grows old in a filled batch as it does in the queue, but in the queue a newer one
        takes its place. Of what inference and publication leave of max_age_ms, one more inference
        is left to the queue, since a frame that just missed a batch waits for so long; then each
        camera has a frame in time for one batch or another. The filled batch waits at most as
        long as lets an asynchronous device go on without a gap, and at least as long as filling
        takes, so that the backend need not wait for that.

        :param max_age_ms: the age at which an answer is of no use; infinity defers nothing.
        """
        if max_age_ms == inf or not ahead:
            return 0.0
        left_ms = max_age_ms - self._after_ms
        fill_ms = _FILL_RESERVE * self._batch_size * self.preprocess.most_ms
        lead_ms = max(
            fill_ms, min(self.infer.most_ms + fill_ms, left_ms - self.infer.most_ms))
        return self._free_in_ms(ahead, now_ns) - lead_ms

    @property
    def _after_ms(self) -> float:
        """Return what inference and publication of a batch hardly ever exceed."""
        return self.infer.most_ms + self.publish.most_ms

    def _free_in_ms(self, ahead: int, now_ns: int) -> float:
        """Return when the backend will have finished the batches ahead; the first is running."""
        if not ahead:
            return 0.0
        ran_ms = (now_ns - self.began_ns) / 1e6
        return max(0.0, self.infer.mean_ms - ran_ms) + (ahead - 1) * self.infer.mean_ms
