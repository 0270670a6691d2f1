"""A machine of stand-ins whose GPU resizes: what is put into rows, and what comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
from resnet_trt_node.imaging.on_device.grid import plan_grid
from resnet_trt_node.imaging.on_device.source import plan_source, Source
from resnet_trt_node.imaging.raw.encodings import check_image, convert_image
from resnet_trt_node.imaging.resize import Resizer
from stand_ins.kernel_on_cpu import image_message, launch
from stand_ins.standin_nvimgcodec import StandInNvImgCodec
from stand_ins.tensorrt_machine import World, worlds


def resizing_worlds(monkeypatch: Any, folder: Path) -> Iterator[Callable[..., World]]:
    """Give what makes a machine, see `worlds`."""
    made = worlds(monkeypatch, folder)
    machines = next(made)

    def make(**options: Any) -> World:
        machine = machines(**options)
        machine.cuda.kernel = launch
        return machine
    yield make
    next(made, None)


def decoding_world(monkeypatch: Any, folder: Path) -> Iterator[World]:
    """Give a machine whose GPU also decodes jpegs; each decoder must have been closed."""
    made = resizing_worlds(monkeypatch, folder)
    world: Any = next(made)()
    world.codec = StandInNvImgCodec(world.cuda).install(monkeypatch)
    yield world
    assert world.codec.closed == world.codec.openings
    next(made, None)


def noise(seed: int, height: int, width: int, encoding: str = 'rgb8') -> Any:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return image_message(values, encoding)


def plan(backend: Any, message: Any) -> tuple[Source, Any]:
    raw = check_image(message)
    source, grid = plan_source(raw), plan_grid(backend.spec.resize, raw.height, raw.width)
    assert source is not None
    assert grid is not None
    return source, grid


def put(backend: Any, place: int, message: Any, index: int = 0) -> bool:
    source, grid = plan(backend, message)
    return bool(backend.device_rows(index).put(place, source, grid, grid.rows, grid.columns))


def exact(backend: Any, message: Any) -> np.ndarray:
    row = np.empty((backend.spec.height, backend.spec.width, 3), np.uint8)
    Resizer(backend.spec.resize, 'exact').resize(convert_image(check_image(message)), row)
    return row


def input_of(machine: World, backend: Any, index: int = 0) -> np.ndarray:
    """Return the engine's input as it lies on the device."""
    images = backend.buffer(index)
    address = backend._slots[index]._device_addresses['images']
    return machine.cuda.device(address, images.nbytes).reshape(images.shape)
