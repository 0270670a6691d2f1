"""The backend that runs anywhere: ONNX Runtime on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TYPE_CHECKING, Union

from resnet_trt_node.backends.base import Backend, BackendInfo
from resnet_trt_node.backends.host_buffers import host_buffers
from resnet_trt_node.backends.onnxruntime_session import CpuSession
from resnet_trt_node.backends.options import BackendOptions, number
from resnet_trt_node.contract.declared import checked_spec, TensorInfo
from resnet_trt_node.contract.model_file import naming, read_model, refuse_external_data
from resnet_trt_node.contract.spec import INPUT_NAME, OUTPUT_NAME
from resnet_trt_node.errors import InferenceError, ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


#: What ONNX Runtime calls the types of the contract.
_DTYPES = {'tensor(uint8)': 'uint8', 'tensor(float)': 'float32'}


@dataclass(frozen=True)
class OnnxRuntimeOptions(BackendOptions):
    """
    Options of the ONNX Runtime backend.

    :param threads: threads that infer, 0 leaves it to the runtime.
    """

    threads: int = number(0, 0, 1024)


class OnnxRuntimeBackend(Backend):
    """
    A deployable model on ONNX Runtime's CPU provider.

    Inference happens in `submit`, on the calling thread and ONNX Runtime's own; `collect` hands
    out what it left.

    :param path: the deployable ONNX file.
    :param options: how to open it.
    :raises BackendUnavailable: if ONNX Runtime is not installed.
    :raises ModelError: if the file is not a deployable model that ONNX Runtime can run.
    """

    asynchronous = False
    options_type = OnnxRuntimeOptions

    def __init__(self, path: Union[str, Path], options: OnnxRuntimeOptions) -> None:
        data = read_model(path)
        refuse_external_data(data, path)
        session = self._session = CpuSession(data, path, options.threads)
        with naming(path):
            spec = checked_spec(
                session.get_modelmeta().custom_metadata_map,
                _described(session.get_inputs()), _described(session.get_outputs()))
        self._results: dict[int, NDArray[np.float32]] = {}
        super().__init__(
            spec,
            BackendInfo(
                'onnxruntime', session.version, 'CPU',
                {'threads': str(options.threads or 'all')}),
            host_buffers(spec, options))

    def _submit(self, batch_size: int, index: int) -> None:
        try:
            self._results[index], = self._session.run(
                [OUTPUT_NAME], {INPUT_NAME: self._buffers[index][:batch_size]})
        except ModelError as error:
            raise InferenceError(f'{error} (batch of {batch_size})') from error

    def _collect(self, batch_size: int, index: int) -> NDArray[np.float32]:
        return self._results[index]

    def _close(self) -> None:
        self._results.clear()
        del self._session


def _described(values: Any) -> list[TensorInfo]:
    """Return inputs or outputs of a session in the contract's words."""
    return [
        TensorInfo(
            value.name, _DTYPES.get(value.type, value.type),
            tuple('?' if side is None else side for side in value.shape))
        for value in values]
