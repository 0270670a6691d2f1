"""A machine with stand-ins of TensorRT, pycuda and cuda-bindings, that backends open on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator

from models.tiny_model import colour_picture, write_tiny_model
from resnet_trt_node.backends.factory import open_backend
from stand_ins.standin_cuda import StandInCuda
from stand_ins.standin_tensorrt import StandInTensorRt


class World:
    """A machine with one kind of TensorRT, and what it logged."""

    def __init__(self, monkeypatch: Any, folder: Path, kind: str = '8.6', graphs: bool = True,
                 **cuda: Any) -> None:
        self.cuda = StandInCuda(**cuda).install(monkeypatch, graphs)
        self.trt = StandInTensorRt(kind, self.cuda).install(monkeypatch)
        self.name = self.trt.name
        self.said: list[str] = []
        self.model = write_tiny_model(folder / 'colours.onnx')
        self.engines = folder / 'engines'

    def start(self, **options: Any) -> Any:
        return open_backend(
            self.model, self.name, engine_dir=self.engines, log=self.said.append, **options)

    def everything_freed(self) -> bool:
        return self.cuda.nothing_held() and self.trt.contexts == 0 and self.trt.engines == 0


def worlds(monkeypatch: Any, folder: Path) -> Iterator[Callable[..., World]]:
    """Give what makes a machine, once; afterwards nothing may be held on it."""
    made: list[World] = []

    def make(**options: Any) -> World:
        made.append(World(monkeypatch, folder, **options))
        return made[-1]
    yield make
    assert made[-1].everything_freed(), made[-1].cuda.held


def colours_of(backend: Any, names: list[str], index: int = 0) -> list[str]:
    for slot, name in enumerate(names):
        backend.buffer(index)[slot] = colour_picture(name, 32, 32)
    best = backend.infer(len(names), index).argmax(axis=1)
    return [backend.spec.labels[place] for place in best]
