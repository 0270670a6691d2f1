"""The regions of one frame, from their selection to their answers; for the node and for bags."""

from __future__ import annotations

from collections import Counter
from functools import partial
from threading import Lock
from typing import Callable, Mapping, Optional, Sequence, TYPE_CHECKING, Union

from resnet_trt_node.contract.prediction import top_predictions, UnknownRule
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.errors import UsageError
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.on_device.encoded import EncodedPicture
from resnet_trt_node.imaging.on_device.source import plan_source
from resnet_trt_node.imaging.raw.encodings import RawImage
from resnet_trt_node.regions.crop import RegionCropper
from resnet_trt_node.regions.region import Region, RegionAnswer
from resnet_trt_node.regions.selection import select
from resnet_trt_node.regions.settings import RegionSettings
from resnet_trt_node.regions.track_cache import MAX_TRACKS, TrackCache, without_shared_ids

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from resnet_trt_node.imaging.on_device.device_rows import DeviceRows
    from resnet_trt_node.imaging.on_device.grid import Grid


class RegionClassifier:
    """
    What all frames have in common.

    :param spec: of the model.
    :param settings: how.
    :raises UsageError: if they do not fit the model.
    """

    def __init__(self, spec: ModelSpec, settings: RegionSettings) -> None:
        if spec.multi_label and settings.tracks.smoothing == 'majority':
            raise UsageError(
                'smoothing: majority counts which class was best, and a multi-label model may '
                'find several: choose ema or none')
        self.labels = spec.labels
        self.multi_label = spec.multi_label
        self.rules = settings.rules
        self.cropper = RegionCropper(
            spec.resize, settings.method, settings.rules.aspect, settings.rules.margin)
        # With fewer than a frame may have, each would go before it came again.
        self.tracks = TrackCache(
            settings.tracks, max(MAX_TRACKS, settings.rules.max_regions))


class FrameRegions:
    """
    One frame's regions: `num_rows` of them are inferred, the others have their answer already.

    `fill` and `offload` may be called by several threads at once, each row by one of them; the
    other methods by one thread.

    :param classifier: crops, and keeps answers by track.
    :param camera: whose frame it is.
    :param stamp_ns: the image's.
    :param regions: as the detector found them.
    :param size: height and width of the image.
    :param load: decodes the image at full size; called if a region is to be inferred and the
        device does not do it, on whichever thread finds that out.
    :param picture: what the device may convert of the image; None has it decoded at once.
    :raises FrameError: if it cannot be decoded.
    """

    def __init__(
            self, classifier: RegionClassifier, camera: str, stamp_ns: int,
            regions: Sequence[Region], size: tuple[int, int],
            load: Callable[[], Frame],
            picture: Union[RawImage, EncodedPicture, None] = None) -> None:
        self._classifier = classifier
        self._camera = camera
        self._stamp_ns = stamp_ns
        self._regions = without_shared_ids(regions)
        self._outcomes = select(self._regions, classifier.rules, *size)
        tracks = classifier.tracks
        tracks.see(camera, stamp_ns)
        self._cached = {
            number: hit for number, outcome in enumerate(self._outcomes) if outcome is None
            and (hit := tracks.lookup(camera, self._regions[number], stamp_ns)) is not None}
        # The region in each row.
        self._inferred = [
            number for number, outcome in enumerate(self._outcomes)
            if outcome is None and number not in self._cached]
        self._probabilities: dict[int, NDArray[np.float32]] = {}
        self._load = load
        self._loading = Lock()
        self._frame: Optional[Frame] = None
        self._picture = plan_source(picture) if isinstance(picture, RawImage) else picture
        self._grids: dict[int, Grid] = {}
        if self._picture is not None:
            self._plan_grids(size)
        elif self._inferred:
            self._frame = load()
        self._unfilled = set(range(len(self._inferred)))
        # Rows that the device is to decode.
        self._encoded: set[int] = set()

    @property
    def num_rows(self) -> int:
        """Return how many regions are inferred."""
        return len(self._inferred)

    @property
    def inferred(self) -> Sequence[int]:
        """Return the place of the region in each row that is inferred."""
        return self._inferred

    def fill(self, index: int, row: NDArray[np.uint8]) -> None:
        """
        Write the crop of a region that is inferred.

        :param index: which row, from 0.
        :param row: uint8 (H, W, 3), wholly overwritten.
        """
        self._crop(index, row)
        self._fill_ended(index)

    def offload(self, index: int, rows: DeviceRows, place: int) -> str:
        """
        Have the device crop and resize a region that is inferred, instead of `fill`.

        :param index: which row, from 0.
        :param rows: of a batch buffer.
        :param place: which of these.
        :returns: 'raw' or 'jpeg', what it makes the row of; '' where it does not.
        """
        picture, grid = self._picture, self._grids.get(index)
        if picture is None or grid is None:
            return ''
        if isinstance(picture, EncodedPicture):
            if not rows.decodes:
                # It was begun for a backend that did, before that one was opened again.
                return ''
            self._encoded.add(index)
            rows.put_encoded(place, picture, grid, partial(self._fall_back, index))
            path = 'jpeg'
        elif rows.put(place, picture, grid, self._window_rows, self._window_columns):
            path = 'raw'
        else:
            return ''
        self._fill_ended(index)
        return path

    def _fall_back(self, index: int, row: NDArray[np.uint8]) -> None:
        """Crop what the device did not decode; of all regions of a batch or of none."""
        try:
            self._crop(index, row)
        finally:
            with self._loading:
                self._encoded.discard(index)
                if not self._encoded:
                    self._frame = None

    def _crop(self, index: int, row: NDArray[np.uint8]) -> None:
        with self._loading:
            # On the device's way it is only decoded for what the device cannot do.
            frame = self._frame = self._frame or self._load()
        self._classifier.cropper.crop(frame, self._regions[self._inferred[index]].box, row)

    def _plan_grids(self, size: tuple[int, int]) -> None:
        """Plan how the device crops the regions, and what of the image all of them read."""
        for index, number in enumerate(self._inferred):
            grid = self._classifier.cropper.grid(self._regions[number].box, *size)
            if grid is not None:
                self._grids[index] = grid
        grids = self._grids.values()
        if grids:
            self._window_rows, self._window_columns = (
                slice(min(one.start for one in slices), max(one.stop for one in slices))
                for slices in ([grid.rows for grid in grids], [grid.columns for grid in grids]))

    def _fill_ended(self, index: int) -> None:
        self._unfilled.discard(index)
        if not self._unfilled:
            # Decoded, it may take many times the memory of its message.
            self._frame = self._picture = None

    def take(self, index: int, probabilities: NDArray[np.float32]) -> None:
        """
        Keep what was inferred.

        :param index: which row, from 0.
        :param probabilities: float32 (C,).
        """
        self._probabilities[self._inferred[index]] = probabilities

    def fail(self, index: int) -> bool:
        """Note that the model returned nothing for a row; the other regions are not lost."""
        return False

    def answers(
            self, top_k: int, score_threshold: float,
            unknown: Optional[UnknownRule]) -> list[RegionAnswer]:
        """
        Return what became of each region, in their order; once, since tracks remember it.

        :param top_k: most classes of a region.
        :param score_threshold: classes below it are left out.
        :param unknown: when a region shows none of the classes.
        """
        answers = []
        for number, region in enumerate(self._regions):
            outcome, stamp_ns = self._outcomes[number], self._stamp_ns
            hit, row = self._cached.get(number), self._probabilities.get(number)
            if outcome is not None:
                answers.append(RegionAnswer(outcome))
                continue
            if hit is not None:
                outcome, probabilities, stamp_ns = 'cached', hit.probabilities, hit.stamp_ns
            elif row is not None:
                outcome, probabilities = 'answered', self._classifier.tracks.store(
                    self._camera, region, stamp_ns, row)
            else:
                answers.append(RegionAnswer('failed'))
                continue
            predictions = top_predictions(
                probabilities, self._classifier.labels, top_k, score_threshold, unknown,
                self._classifier.multi_label)
            answers.append(RegionAnswer(outcome, tuple(predictions), stamp_ns))
        self._counted: Mapping[str, int] = Counter(answer.outcome for answer in answers)
        return answers

    @property
    def outcomes(self) -> Mapping[str, int]:
        """Return how many regions had each of `region.OUTCOMES`, after `answers`."""
        return self._counted
