"""The backend by which readers reach a model actor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from resnet_trt_node.backends.base import Backend, BackendInfo
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.errors import FrameError
from resnet_trt_node.fleet.actor import Model
from resnet_trt_node.fleet.batch import batch_of, RemoteAnswer, RemoteRows
from resnet_trt_node.fleet.extra import needs_fleet_extra

with needs_fleet_extra():
    import ray

#: While the actor infers one batch, the reader fills another.
_BUFFERS = 2


class RemoteBackend(Backend):
    """
    A backend whose batches a `ModelActor` infers.

    Where the actor's device decodes jpegs, they are sent as they are; the reader decodes those
    that the device refuses, and sends their pixels in a batch of their own.

    :param actor: Ray's handle of it.
    :param model: its model.
    :param spec: of its model.
    :param info: who computes.
    :param batch_size: the largest that it was opened for.
    """

    def __init__(
            self, actor: Any, model: Model, spec: ModelSpec, info: BackendInfo,
            batch_size: int) -> None:
        super().__init__(spec, info, [
            np.zeros((batch_size, spec.height, spec.width, 3), np.uint8)
            for _ in range(_BUFFERS)])
        self._actor = actor
        self._model = model
        self._rows = [RemoteRows(one) for one in self._buffers] if (
            info.details.get('decode') == 'nvjpeg') else []
        self._answers: dict[int, Any] = {}
        self._fall_backs: dict[int, Mapping[int, Optional[FrameError]]] = {}

    def device_rows(self, index: int = 0) -> Optional[RemoteRows]:
        """Return what takes jpegs of a buffer, None where the reader decodes all."""
        self._check(index)
        return self._rows[index] if self._rows else None

    def fall_backs(self, index: int = 0) -> Mapping[int, Optional[FrameError]]:
        """Return which rows of the last submission the reader decoded."""
        self._check(index)
        return self._fall_backs.get(index, {})

    def _submit(self, batch_size: int, index: int) -> None:
        # Ray copies the rows before it returns.
        self._answers[index] = self._actor.infer.remote(
            self._model, self._rows[index].batch(batch_size) if self._rows
            else batch_of(self._buffers[index][:batch_size]))

    def _collect(self, batch_size: int, index: int) -> NDArray[np.float32]:
        answer: RemoteAnswer = ray.get(self._answers.pop(index))
        probabilities = answer.probabilities
        found = {place: self._rows[index].decode(place) for place in answer.refused}
        self._fall_backs[index] = found
        for rows in self._rows:
            # An actor that was started anew may have none.
            rows.decodes = answer.decodes
        decoded = [place for place, error in found.items() if error is None]
        if decoded:
            # What Ray hands over is not to be written.
            probabilities = probabilities.copy()
            probabilities[decoded] = ray.get(self._actor.infer.remote(
                self._model, batch_of(self._buffers[index][decoded]))).probabilities
        return probabilities

    def _close(self) -> None:
        self._answers.clear()
