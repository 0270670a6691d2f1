"""What a classifier from elsewhere answers: the reference of the model that is made of it."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np
from resnet_trt_node.backends.onnxruntime_session import CpuSession
from resnet_trt_node.errors import ModelError, UsageError
from resnet_trt_node.onnx_tools.normalisation import Normalisation
from resnet_trt_node.onnx_tools.source_model import SourceModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Of one batch; a file from elsewhere may ask for any size. Float32, it is 1 GiB.
_MOST_NUMBERS = 1 << 28


class Reference:
    """
    The original model behind a normalisation in NumPy; gives (N, C) for uint8 frames.

    :param source: the model; it may be changed afterwards.
    :param what: its name in messages.
    :param normalisation: what it was trained with.
    :raises ModelError: if it cannot be run.
    """

    def __init__(self, source: SourceModel, what: str, normalisation: Normalisation) -> None:
        self._session = CpuSession(source.model.SerializeToString(), what)
        self._source = source
        self._normalisation = normalisation
        self.softmax = False
        self.output_rank = 0

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """
        Classify.

        :param frames: uint8 (N, H, W, 3), RGB.
        :returns: float32 (N, C), probabilities if `softmax` is set, else what the model gives.
        :raises ModelError: if the output is no row of classes, or a fixed batch is too large.
        """
        x = self._normalisation.apply(frames)
        if self._source.layout == 'nhwc':
            x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        step = self._source.batch or len(x)
        if step * prod(x.shape[1:]) > _MOST_NUMBERS:
            raise ModelError(
                f'its fixed batch size of {step} is too large to be tried: export it with a '
                'smaller or a dynamic one')
        rows = np.concatenate([
            self._rows(x[start:start + step], step) for start in range(0, len(x), step)])
        if not self.softmax:
            return rows
        powers = np.exp(rows - rows.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def _rows(self, x: NDArray[np.float32], step: int) -> NDArray[np.float32]:
        # A model of a fixed batch gets its fill; the rows of the filling are dropped.
        full = np.concatenate([x, np.repeat(x[-1:], step - len(x), axis=0)])
        dtype = np.float16 if self._source.input_precision == 'fp16' else np.float32
        result, = self._session.run(
            [self._source.output_name], {self._source.input_name: full.astype(dtype)})
        shape = tuple(getattr(result, 'shape', ()))
        classes = prod(shape[1:])
        # Of all sides behind the batch one counts the classes; the others are 1, as (N, C, 1, 1).
        if shape[:1] != (step,) or classes < 2 or classes not in shape[1:]:
            raise ModelError(
                f'output {self._source.output_name!r} has the shape {shape} for a batch of '
                f"{step}, which is no classifier's: one row of at least two classes for each "
                'picture, (N, C) or (N, C, 1, 1); maps, boxes and points cannot be prepared')
        self.output_rank = result.ndim
        return np.asarray(result.reshape(step, -1)[:len(x)], np.float32)


def softmax_is_missing(rows: NDArray[np.float32], last_op: str, activation: str) -> bool:
    """
    Decide whether logits came out, by their values rather than by the graph.

    :param rows: the reference's answers.
    :param last_op: the operator that made them.
    :param activation: what the user declares them to be, one of `prepare`'s `ACTIVATIONS`.
    :raises ModelError: if they are not finite.
    :raises UsageError: if that does not fit them, or they are neither.
    """
    if not np.isfinite(rows).all():
        raise ModelError(
            'the model returns NaN or infinity on synthetic pictures: check --mean, --std and '
            '--scale')
    are_probabilities = bool(
        (rows >= -1e-6).all() and np.abs(rows.sum(axis=1) - 1).max() < 1e-2)
    if activation == 'softmax' and are_probabilities:
        raise UsageError(
            'the output is probabilities already, a second softmax would flatten them: '
            'pass --activation none')
    if activation == 'none' and not are_probabilities:
        raise UsageError(
            f'the rows of the output sum to {rows.sum(axis=1).min():.3g} to '
            f'{rows.sum(axis=1).max():.3g}, not to 1: pass --activation softmax if they are '
            'logits')
    if activation == 'auto' and not are_probabilities and last_op in ('Sigmoid', 'Softmax'):
        raise UsageError(
            f'the model ends in {last_op} but its rows do not sum to 1, so it does not choose '
            'one class of all: pass --activation softmax to put one behind it nevertheless, or '
            'export the model without it')
    return not are_probabilities
