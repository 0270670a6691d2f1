"""What a classifier from elsewhere answers: the reference of the model that is made of it."""

from __future__ import annotations

from math import prod
from typing import Optional, TYPE_CHECKING

import numpy as np
from resnet_trt_node.backends.onnxruntime_session import CpuSession
from resnet_trt_node.errors import ModelError
from resnet_trt_node.onnx_tools.normalisation import Normalisation
from resnet_trt_node.onnx_tools.preparation.activation import Answers
from resnet_trt_node.onnx_tools.preparation.source_model import SourceModel

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
        self.answers: Optional[Answers] = None
        self.output_rank = 0

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """
        Classify.

        :param frames: uint8 (N, H, W, 3), RGB.
        :returns: float32 (N, C), probabilities if `answers` is set, else what the model gives,
            (N, 1) of a binary model.
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
        return rows if self.answers is None else self.answers.apply(rows)

    def _rows(self, x: NDArray[np.float32], step: int) -> NDArray[np.float32]:
        # A model of a fixed batch gets its fill; the rows of the filling are dropped.
        full = np.concatenate([x, np.repeat(x[-1:], step - len(x), axis=0)])
        dtype = np.uint8 if self._source.takes_pixels else (
            np.float16 if self._source.input_precision == 'fp16' else np.float32)
        result, = self._session.run(
            [self._source.output_name], {self._source.input_name: full.astype(dtype)})
        shape = tuple(getattr(result, 'shape', ()))
        classes = prod(shape[1:])
        # Of all sides behind the batch one counts the classes; the others are 1, as in
        # (N, C, 1, 1). A binary model gives (N, 1) or (N,).
        if shape[:1] != (step,) or classes < 1 or classes not in (*shape[1:], 1):
            raise ModelError(
                f'output {self._source.output_name!r} has the shape {shape} for a batch of '
                f"{step}, which is no classifier's: one row of classes for each picture, (N, C) "
                'or (N, C, 1, 1); maps, boxes and points cannot be prepared')
        self.output_rank = result.ndim
        return np.asarray(result.reshape(step, -1)[:len(x)], np.float32)
