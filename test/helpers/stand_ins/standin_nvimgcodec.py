"""A stand-in of nvImageCodec: OpenCV decodes into the memory of a stand-in GPU."""

from __future__ import annotations

from dataclasses import dataclass, field
import sys
from types import ModuleType, SimpleNamespace
from typing import Any, Optional

import cv2
import numpy as np
from stand_ins.standin_cuda import StandInCuda

KINDS = ('CPU_ONLY', 'GPU_ONLY', 'HYBRID_CPU_GPU', 'HW_GPU_ONLY')


@dataclass
class StandInNvImgCodec:
    """
    What the package does, and what was asked of it.

    :param cuda: whose memory it decodes into.
    :param version: its version; only those since 0.7 decode into images that are given.
    """

    cuda: StandInCuda
    version: str = '0.9.0'
    without_nvjpeg: bool = False
    #: What opening, reading, wrapping, decoding or closing raises.
    failing: dict[str, Exception] = field(default_factory=dict)
    #: Places in the next batch that cannot be decoded.
    broken: set[int] = field(default_factory=set)
    #: Rows that it finds in a picture besides those of its header.
    extra_rows: int = 0
    #: Arguments of the decoder, and of each call of `decode`.
    opened: dict[str, Any] = field(default_factory=dict)
    streams: list[int] = field(default_factory=list)
    params: list[dict[str, Any]] = field(default_factory=list)
    openings: int = 0
    closed: int = 0

    def install(self, monkeypatch: Any) -> StandInNvImgCodec:
        """Put the package where imports find it."""
        package, module = ModuleType('nvidia'), self._module()
        package.nvimgcodec = module  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, 'nvidia', package)
        monkeypatch.setitem(sys.modules, 'nvidia.nvimgcodec', module)
        return self

    def fail(self, what: str) -> None:
        """Raise what was asked for."""
        if what in self.failing:
            raise self.failing[what]

    def _module(self) -> ModuleType:
        codec = self
        module: Any = ModuleType('nvidia.nvimgcodec')

        class Image:

            def __init__(self, source: Any, stream: int) -> None:
                codec.fail('wrapping')
                given = source.__cuda_array_interface__
                assert given['typestr'] == '|u1'
                self.address, self.shape, self.stream = given['data'][0], given['shape'], stream

            def hold(self, pixels: np.ndarray) -> None:
                height, width, _ = self.shape
                assert pixels.shape == (height, width, 3), 'Existing buffer is too small'
                self.strides = (3 * width, 3, 1)
                codec.cuda.memory[self.address][:pixels.size] = pixels.ravel()
                self.shape = (height + codec.extra_rows, width, 3)

        if codec.version >= '0.7':
            Image.capacity = None

        class CodeStream:

            def __init__(self, data: np.ndarray) -> None:
                assert data.dtype == np.uint8
                assert data.ndim == 1
                codec.fail('reading')
                self.data = data

        class Decoder:

            def __init__(self, **arguments: Any) -> None:
                codec.fail('opening')
                codec.opened = arguments
                codec.openings += 1

            def decode(self, sources: list[CodeStream], *, images: list[Image],
                       params: Any, cuda_stream: int) -> list[Optional[Image]]:
                assert len(sources) == len(images)
                codec.fail('decoding')
                codec.streams.append(cuda_stream)
                codec.params.append(params)
                results: list[Optional[Image]] = []
                for place, (source, image) in enumerate(zip(sources, images)):
                    assert image.stream == cuda_stream, 'this would wait for another stream'
                    pixels = cv2.imdecode(
                        source.data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
                    if place in codec.broken or codec.without_nvjpeg or pixels is None:
                        results.append(None)
                        continue
                    image.hold(pixels[..., ::-1])
                    results.append(image)
                return results

            def __exit__(self, *_: object) -> None:
                codec.closed += 1
                assert codec.cuda.memory, 'its memory was freed before it'
                codec.fail('closing')

        module.__version__ = codec.version
        module.Image, module.CodeStream, module.Decoder = Image, CodeStream, Decoder
        module.as_image = Image
        module.Backend = lambda kind: kind
        module.BackendKind = SimpleNamespace(**{kind: kind for kind in KINDS})
        module.ColorSpec = SimpleNamespace(SRGB='SRGB')
        module.DecodeParams = lambda **arguments: arguments
        return module
