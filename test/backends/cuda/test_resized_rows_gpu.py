"""
What the GPU makes of frames is what Pillow makes of them, bit for bit.

`make gpu-test` runs it on a GPU, elsewhere it is skipped with the reason.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Iterator

import numpy as np
from pictures.resized_by_pillow import resized_by_pillow
import pytest
from resnet_trt_node.backends.cuda.device import CudaDevice
from resnet_trt_node.backends.cuda.kernel import Kernel
from resnet_trt_node.backends.cuda.page_locked import page_locked_memory
from resnet_trt_node.backends.cuda.resized_rows import KERNEL, ResizedRows
from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.errors import BackendUnavailable
from resnet_trt_node.imaging.on_device.grid import plan_grid
from stand_ins.kernel_on_cpu import NAMES, raw_image, rgb_of, source_of

ROWS = 6
SIZES = ((48, 64), (37, 51), (480, 640), (101, 33), (1080, 1920), (240, 900))


class Gpu:
    """A batch buffer on the GPU, of which nothing is inferred."""

    def __init__(self, device: CudaDevice, folder: Path, rule: ResizeRule) -> None:
        self.rule = rule
        images = device.host_array((ROWS, rule.crop_height, rule.crop_width, 3), np.uint8)
        self._out = device.host_array(images.shape, np.uint8)
        self._target = device.memory(images.nbytes)
        self._stream = device.stream()
        self.shared = page_locked_memory(device.index)
        self.rows = ResizedRows(
            device, Kernel(device, *KERNEL, folder, print), images, self._target, self.shared,
            print)

    def __call__(self, raws: list[Any]) -> np.ndarray:
        """Return the rows of messages, uint8 (len(raws), H, W, 3)."""
        for _ in range(2):
            self.rows.clear()
            for place, raw in enumerate(raws):
                grid: Any = plan_grid(self.rule, raw.height, raw.width)
                if not self.rows.put(place, source_of(raw), grid, grid.rows, grid.columns):
                    self.rows.finish()
                    break
            else:
                break
        self.rows.enqueue(self._stream, len(raws))
        self._stream.copy_out(self._out, self._target)
        self._stream.drain()
        self.rows.finish()
        return self._out[:len(raws)].copy()


@pytest.fixture(scope='module')
def device() -> Iterator[CudaDevice]:
    try:
        opened = CudaDevice(0)
    except BackendUnavailable as error:
        if os.environ.get('RESNET_TRT_GPU_TEST'):
            raise
        pytest.skip(f'no GPU here: {error}')
    with opened:
        yield opened


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic', 'nearest'])
@pytest.mark.parametrize('name', NAMES)
def test_frames_of_all_sizes_in_one_launch_equal_pillows(
        device: CudaDevice, tmp_path: Path, name: str, interpolation: str) -> None:
    gpu = Gpu(device, tmp_path, ResizeRule(40, 32, 36, interpolation))
    raws = [raw_image(name, *size, padding=number, big_endian=bool(number % 2), seed=number)
            for number, size in enumerate(SIZES)]
    for raw, row in zip(raws, gpu(raws), strict=True):
        assert np.array_equal(row, resized_by_pillow(rgb_of(raw), gpu.rule))


@pytest.mark.parametrize('name', ['rgb8', 'nv12', 'i420', 'bayer_rggb16', 'yuv422'])
def test_messages_in_page_locked_memory_give_the_same(
        device: CudaDevice, tmp_path: Path, name: str) -> None:
    gpu = Gpu(device, tmp_path, ResizeRule(256, 224, 224))
    raws = [raw_image(name, *size, seed=number) for number, size in enumerate(SIZES)]
    wanted = gpu(raws)
    for number, raw in enumerate(raws):
        if number % 2:
            memory = gpu.shared.allocate(raw.data.size + 3)
            memory[3:] = raw.data
            # The message's own memory would be copied by the CPU.
            object.__setattr__(raw, 'data', memory[3:])
            assert gpu.shared.holds(raw.data)
    assert np.array_equal(gpu(raws), wanted)
