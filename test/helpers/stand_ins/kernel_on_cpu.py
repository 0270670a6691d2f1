"""The GPU's kernel, compiled for the CPU, and messages of random pixels for it."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path
import subprocess
import tempfile
from types import SimpleNamespace
from typing import Any, Sequence

import numpy as np
from repository import REPOSITORY

from resnet_trt_node.imaging.frame import to_rgb
from resnet_trt_node.imaging.on_device.grid import Grid
from resnet_trt_node.imaging.on_device.job import JOB
from resnet_trt_node.imaging.on_device.source import plan_source, Source
from resnet_trt_node.imaging.raw.encodings import check_image, convert_image, ENCODINGS, RawImage

KERNEL = REPOSITORY / 'resnet_trt_node/backends/cuda/resize.cu'
#: Those that the kernel reads.
NAMES = [name for name in ENCODINGS if name != '32FC3']
#: What lies around what was copied.
_POISON = 0xA5


def compile_kernel(folder: Path, *flags: str) -> Path:
    """Compile the kernel for the CPU and return the library in the folder."""
    library = folder / 'resize.so'
    subprocess.run(
        ['c++', '-x', 'c++', '-std=c++14', '-O2', '-ffp-contract=off', '-Wall', '-Wextra',
         '-Werror', '-shared', '-fPIC', *flags, '-o', str(library), str(KERNEL)], check=True)
    return library


class KernelOnCpu:
    """
    Runs the kernel.

    :param library: what `compile_kernel` returned.
    :param margin: rows and bytes of other values around what was copied.
    """

    def __init__(self, library: Path, margin: tuple[int, int] = (3, 29)) -> None:
        self._library = ctypes.CDLL(str(library))
        self._margin = margin

    def sizes(self) -> list[int]:
        """Return what the kernel says of its structs."""
        sizes = (ctypes.c_int * 10)()
        self._library.describe_job(sizes)
        return list(sizes)

    def __call__(
            self, pictures: Sequence[tuple[Source, Grid]], height: int, width: int,
            poison: int = _POISON) -> np.ndarray:
        """
        Return uint8 (len(pictures), height, width, 3), as one launch makes it.

        Of the messages only what `Source.planes` returns is within reach.
        """
        count = len(pictures)
        jobs, memory = np.zeros(count, JOB), []
        out = np.full((count + 2, height, width, 3), poison, np.uint8)
        for index, (source, grid) in enumerate(pictures):
            addresses, pitches = [], []
            for plane in source.planes(grid.rows, grid.columns):
                above, left = self._margin
                rows, row_bytes = plane.shape
                copy = np.full((rows + 2 * above, row_bytes + 2 * left), poison, np.uint8)
                copy[above:above + rows, left:left + row_bytes] = plane
                memory.append(copy)
                pitches.append(copy.strides[0])
                addresses.append(copy.ctypes.data + above * pitches[-1] + left)
            job = jobs[index]
            grid.write(job)
            source.write(job, grid.rows, grid.columns, addresses, pitches)
            # Backwards, so that a row that is not asked for would show.
            job['row'] = count - index
        self._library.resize_on_cpu(
            ctypes.c_void_p(jobs.ctypes.data), count, ctypes.c_void_p(out.ctypes.data), height,
            width)
        assert (out[0] == poison).all()
        assert (out[-1] == poison).all()
        return out[-2:0:-1]


@lru_cache(maxsize=1)
def _library() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return ctypes.CDLL(str(compile_kernel(Path(folder))))


def launch(count: int, jobs: int, out: int, height: int, width: int) -> None:
    """Run it as CUDA's stand-in launches a kernel; addresses are this process's own."""
    _library().resize_on_cpu(
        ctypes.c_void_p(jobs), count, ctypes.c_void_p(out), height, width)


def image_message(pixels: np.ndarray, encoding: str = 'rgb8', **fields: Any) -> Any:
    """Return uint8 (H, W, 3) as a message, its values in the order of the encoding."""
    height, width = pixels.shape[:2]
    return SimpleNamespace(
        height=height, width=width, step=3 * width, encoding=encoding, is_bigendian=0,
        data=np.ascontiguousarray(pixels).tobytes(), **fields)


def raw_image(
        name: str, height: int, width: int, padding: int = 0, big_endian: bool = False,
        seed: int = 0) -> RawImage:
    """Return a checked message of random bytes; sides that pairs share are rounded up."""
    encoding = ENCODINGS[name]
    height += -height % encoding.shared[0]
    width += -width % encoding.shared[1]
    step = width * encoding.pixel_bytes + padding
    data = np.random.default_rng(seed).integers(
        0, 256, encoding.count_bytes(height, step)).astype(np.uint8)
    return check_image(SimpleNamespace(
        height=height, width=width, step=step, encoding=name, is_bigendian=big_endian, data=data))


def rgb_of(raw: RawImage) -> np.ndarray:
    """Return the message's pixels, uint8 (H, W, 3), as the CPU converts them."""
    frame = convert_image(raw)
    return np.ascontiguousarray(to_rgb(frame.pixels, frame.order))


def source_of(raw: RawImage) -> Source:
    """Return where the message's pixels are; for encodings that the kernel reads."""
    source: Any = plan_source(raw)
    assert source is not None
    return source  # type: ignore[no-any-return]
