"""The folder of a run, and units of bags that need not exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resnet_trt_node.bag.stretches import Stretch
from resnet_trt_node.contract.prediction import Prediction

#: Of a run's manifest.
HEAD = {'model': 'a.onnx', 'model_sha256': '12', 'options': {'top_k': 5, 'topic': None}}


def open_run(path: Path, *bags: str, resume: bool = False, **head: Any) -> Any:
    """Return the folder of a run over bags."""
    from resnet_trt_node.fleet.bags import Bag
    from resnet_trt_node.fleet.manifest import RunFolder
    folder = RunFolder(path, {**HEAD, **head}, resume)
    folder.take([Bag(f'/bags/{name}', name) for name in bags])
    return folder


def units_of(drive: str, *counts: int) -> list[Any]:
    """Return the units of a drive, with so many images each."""
    from resnet_trt_node.fleet.units import Unit
    return [
        Unit(drive, f'/bags/{drive}', number, ('/a',), (), Stretch(
            number * 100, number * 100 + 100, {'/a': sum(counts[:number])}, {'/a': count}))
        for number, count in enumerate(counts)]


def content_of(unit: Any) -> bytes:
    """Return a file with an answered image and one that is not sampled."""
    from resnet_trt_node.fleet.table import UnitTable
    table = UnitTable({'drive': unit.drive, 'bag': unit.bag, 'model': 'a.onnx',
                       'model_sha256': '12', 'software_version': '1'})
    table.counts.frames_in += 2
    table.count_frame('not_sampled')

    class Image:
        topic, stamp_ns, log_time_ns = '/a', 5, 6
    table.frame(Image, 3, [Prediction(1, 'cat', 0.75)], 0.5)  # type: ignore[arg-type]
    return table.finish(unit.document())
