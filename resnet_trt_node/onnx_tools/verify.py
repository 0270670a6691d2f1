"""Comparing a written model with its reference, on ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, TYPE_CHECKING, Union

import numpy as np
import onnx
from resnet_trt_node.backends.onnxruntime_session import CpuSession
from resnet_trt_node.contract.spec import INPUT_NAME, ModelSpec, OUTPUT_NAME
from resnet_trt_node.errors import ModelError
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Batch 1 is the one that shape mistakes are made for; 3 is neither 1 nor a power of two.
CHECKED_BATCHES = (1, 3)
#: Protobuf's limit for a message, and so for a model in one file.
_MAX_BYTES = (1 << 31) - 1


def refuse_large(model: onnx.ModelProto, what: str) -> None:
    """
    Refuse a model that does not go into one file.

    :param what: its name in messages.
    :raises ModelError: if it is too large.
    """
    if model.ByteSize() > _MAX_BYTES:
        raise ModelError(
            f'{what} has more than 2 GiB of weights, which do not go into one ONNX file: use a '
            'smaller network, or export it in fp16')


def check_valid(model: Union[Path, onnx.ModelProto], what: str) -> None:
    """
    Refuse a model that is not valid ONNX.

    :param model: it, or its file.
    :param what: its name in messages.
    :raises ModelError: with the checker's reason.
    """
    try:
        onnx.checker.check_model(str(model) if isinstance(model, Path) else model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        raise ModelError(
            f'{what} is not a valid ONNX graph ({" ".join(str(error).split())}): export the '
            'original again') from error


def check_answers(path: Path, what: str, spec: ModelSpec) -> None:
    """
    Refuse a written model that is no valid ONNX or does not answer as its contract says.

    :param path: the file.
    :param what: its name in messages.
    :param spec: its contract.
    :raises ModelError: with the reason.
    """
    check_valid(path, what)
    session = CpuSession(path, what)
    for batch in CHECKED_BATCHES:
        rows, = session.run(
            [OUTPUT_NAME], {INPUT_NAME: sample_frames(batch, spec.height, spec.width)})
        if rows.shape != (batch, spec.num_classes) or not np.isfinite(rows).all():
            raise ModelError(
                f'{what} answers a batch of {batch} with {rows.shape}, NaN or infinity where '
                f'({batch}, {spec.num_classes}) finite numbers are due; nothing was written')


def largest_difference(
        path: Path, what: str, height: int, width: int,
        reference: Callable[[NDArray[np.uint8]], NDArray[np.float32]], bound: float,
        seed: int = 0) -> float:
    """
    Compare a deployable model with its reference on seeded synthetic frames.

    :param path: the model's file.
    :param what: its name in messages.
    :param height: rows of a frame, H.
    :param width: columns, W.
    :param reference: takes uint8 (N, H, W, 3), returns probabilities, float32 (N, C).
    :param bound: the largest difference of a probability that is accepted.
    :param seed: of the frames.
    :returns: the largest absolute difference of any probability.
    :raises ModelError: if it is above the bound, or numbers are not finite.
    """
    session = CpuSession(path, what)
    worst = 0.0
    for batch in CHECKED_BATCHES:
        frames = sample_frames(batch, height, width, seed)
        expected = reference(frames)
        if not np.isfinite(expected).all():
            raise ModelError(
                f'{what}: the reference itself returns NaN or infinity; check the weights')
        found, = session.run([OUTPUT_NAME], {INPUT_NAME: frames})
        if found.shape != expected.shape:
            raise ModelError(
                f'{what}: the output of a batch of {batch} has the shape {found.shape}, the '
                f'reference has {expected.shape}')
        difference = float(np.abs(found - expected).max())
        if not difference <= bound:
            raise ModelError(
                f'{what}: probabilities differ from the reference by {difference:.2g}, more '
                f'than {bound:g} (batch of {batch}); nothing was written')
        worst = max(worst, difference)
    return worst
