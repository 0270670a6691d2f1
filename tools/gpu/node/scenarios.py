"""What is measured of the whole node on a GPU: cameras, their pictures and their regions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from bench.camera import Camera, several

SIZES = {'VGA': (640, 480), '1080p': (1920, 1080)}
#: The largest batch, of as many cameras.
BATCH = 6
#: Regions of one frame, and the largest batch with them: a detector's few, and many cameras' many.
FEW_REGIONS, FEW_BATCH = 6, 8
MANY_REGIONS, MANY_BATCH = 20, 64
#: The search for the most regions of a frame begins and ends with so many.
LEAST_REGIONS, MOST_REGIONS = 4, 512


@dataclass(frozen=True)
class Scenario:
    """
    What is measured together.

    :param kind: 'rate' for a fixed rate, 'awake' for the same while no core sleeps, 'plain' for
        the same beside the plain node with the same engine, in turns, 'limit' for the highest rate
        without a drop; 'regions' and 'regions_plain' likewise, 'regions_limit' for the most
        regions of a frame without a drop.
    :param precision: of the model, 'fp16' or 'int8'.
    :param cameras: how many.
    :param size: one of `SIZES`.
    :param jpeg: whether they send jpeg.
    :param rate_hz: of each camera, or where a search begins.
    :param regions: of each frame, or where a search begins; 0 where whole frames are classified.
    """

    kind: str
    precision: str
    cameras: int
    size: str
    jpeg: bool = False
    rate_hz: float = 30.0
    regions: int = 0

    @property
    def name(self) -> str:
        """Return one word."""
        form = 'jpeg' if self.jpeg else 'raw'
        return f'{self.kind}_{self.precision}_{self.cameras}_{self.size}_{form}' + (
            f'_{self.regions}' if self.regions else '')

    @property
    def batch(self) -> int:
        """Return the node's batch_size."""
        if not self.regions:
            return BATCH
        return FEW_BATCH if self.cameras * self.regions <= FEW_BATCH else MANY_BATCH

    @property
    def engine_batch(self) -> int:
        """Return the largest batch of the engine."""
        # A camera has one frame in a batch.
        return self.batch if self.regions else self.cameras

    def sources(self) -> list[Camera]:
        """Return the cameras."""
        width, height = SIZES[self.size]
        most = MOST_REGIONS if self.kind == 'regions_limit' else self.regions
        return [replace(camera, jpeg=self.jpeg) for camera in several(
            self.cameras, rate_hz=self.rate_hz, width=width, height=height, regions=most)]


def scenarios() -> Iterator[Scenario]:
    """Give all that is measured, in their order."""
    for precision in ('fp16', 'int8'):
        for jpeg in (False, True):
            for size in SIZES:
                for cameras in (1, BATCH):
                    yield Scenario('rate', precision, cameras, size, jpeg)
    for size in SIZES:
        yield Scenario('awake', 'fp16', 1, size)
    for size in SIZES:
        yield Scenario('plain', 'fp16', 1, size)
    for size in SIZES:
        for cameras in (1, BATCH):
            yield Scenario('limit', 'fp16', cameras, size, rate_hz=60.0)
    yield Scenario('regions', 'fp16', 1, 'VGA', regions=FEW_REGIONS)
    yield Scenario('regions_plain', 'fp16', 1, 'VGA', regions=FEW_REGIONS)
    for size in SIZES:
        yield Scenario('regions', 'fp16', BATCH, size, regions=MANY_REGIONS)
    yield Scenario('regions_limit', 'fp16', BATCH, 'VGA', regions=LEAST_REGIONS)
