"""How regions are classified."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from resnet_trt_node.regions.selection import RegionRules
from resnet_trt_node.regions.track_cache import TrackSettings

if TYPE_CHECKING:
    from resnet_trt_node.imaging.resize import ResizeMethod


@dataclass(frozen=True)
class RegionSettings:
    """
    How regions are classified; the meaning is that of the node's parameters.

    :param method: how crops are resized.
    :param rules: which regions are classified, and what is cropped.
    :param tracks: how answers are kept by track.
    """

    method: ResizeMethod = 'fast'
    rules: RegionRules = field(default_factory=RegionRules)
    tracks: TrackSettings = field(default_factory=TrackSettings)
