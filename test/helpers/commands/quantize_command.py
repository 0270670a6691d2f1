"""Running the command quantize, and asking the files that it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from documentation.json_schemas import checked
import numpy as np
import pytest
from resnet_trt_node.backends.factory import open_backend
from resnet_trt_node.cli.main import main


def quantize(model: object, calibration: object, out: object, *words: object) -> int:
    return main([str(word) for word in (
        'quantize', model, '--images', calibration, '-o', out, *words)])


def report_of(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    """Run the command, which must succeed, and return its JSON document."""
    capsys.readouterr()
    assert quantize(*words, '--json') == 0
    return checked(capsys.readouterr().out)


def answers(model: Path, frames: np.ndarray) -> np.ndarray:
    """Return the file's answers, as the node gets them."""
    with open_backend(
            model, 'onnxruntime', max_batch_size=len(frames), num_buffers=1) as backend:
        backend.buffer()[:] = frames
        return backend.infer(len(frames)).copy()
