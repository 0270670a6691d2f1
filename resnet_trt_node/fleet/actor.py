"""The model on one GPU, or on a share of the CPU."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Mapping, Optional, Tuple

from resnet_trt_node.backends.base import Backend, BackendInfo, warm_up
from resnet_trt_node.backends.factory import open_backend
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.errors import InferenceError
from resnet_trt_node.fleet.batch import RemoteAnswer, RemoteBatch
from resnet_trt_node.fleet.extra import needs_fleet_extra

with needs_fleet_extra():
    import ray


#: One reference of Ray's to the content of the deployable ONNX file. In a tuple, since Ray would
#: hand over the content itself.
Model = Tuple[Any]


class ModelActor:
    """
    Holds one open backend; Ray's actor, which Ray starts again when its process ends.

    Its process knows the model from the calls alone: one that Ray starts again may need it when
    the objects of its first start are gone.

    :param name: the model's file name, for errors.
    :param options: arguments of `open_backend`.
    """

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self._name = name
        self._options = options
        self._backend: Optional[Backend] = None

    def describe(self, model: Model) -> tuple[ModelSpec, BackendInfo]:
        """
        Open the model if it is not, and return what it is and who computes.

        :param model: the model.
        :raises ResnetTrtError: if it cannot be opened.
        """
        backend = self._open(model)
        return backend.spec, backend.info

    def node(self) -> str:
        """Return the id of the machine that it runs on."""
        found: str = ray.get_runtime_context().get_node_id()
        return found

    def infer(self, model: Model, batch: RemoteBatch) -> RemoteAnswer:
        """
        Answer frames.

        :param model: the model.
        :param batch: of at most the batch size.
        :raises InferenceError: if the runtime fails; the model is opened again for the next call.
        """
        backend = self._open(model)
        try:
            return batch.infer(backend)
        except InferenceError:
            self._backend = None
            backend.close()
            raise

    def _open(self, model: Model) -> Backend:
        if self._backend is None:
            with TemporaryDirectory(prefix='fleet.') as folder:
                path = Path(folder) / self._name
                path.write_bytes(ray.get(model[0]))
                self._backend = open_backend(path, num_buffers=1, **self._options)
            warm_up(self._backend)
        return self._backend
