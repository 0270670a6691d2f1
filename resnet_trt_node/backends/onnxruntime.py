"""The backend that runs anywhere: ONNX Runtime on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TYPE_CHECKING, Union

from resnet_trt_node.backends.base import Backend, BackendInfo
from resnet_trt_node.backends.host_buffers import host_buffers
from resnet_trt_node.backends.onnxruntime_session import InterruptibleSession
from resnet_trt_node.backends.options import BackendOptions, number
from resnet_trt_node.contract.declared import checked_spec, TensorInfo
from resnet_trt_node.contract.model_file import naming, read_model, refuse_external_data
from resnet_trt_node.contract.spec import INPUT_NAME, OUTPUT_NAME
from resnet_trt_node.errors import BackendUnavailable, InferenceError, ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


#: What ONNX Runtime calls the types of the contract.
_DTYPES = {'tensor(uint8)': 'uint8', 'tensor(float)': 'float32'}


@dataclass(frozen=True)
class OnnxRuntimeOptions(BackendOptions):
    """
    What the ONNX Runtime backend can be told.

    :param cpu_threads: threads that infer, 0 leaves it to the runtime.
    """

    cpu_threads: int = number(0, 0, 1024)


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
        try:
            import onnxruntime
        except ImportError as error:
            raise BackendUnavailable(
                f'ONNX Runtime cannot be imported ({error}): pip install onnxruntime') from error
        data = read_model(path)
        refuse_external_data(data, path)
        session_options = onnxruntime.SessionOptions()
        session_options.intra_op_num_threads = options.cpu_threads
        # Spinning threads would take the CPU from the decoding and from every other node.
        session_options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        # Without it int8 saturates on x86 CPUs that lack VNNI: EfficientNet-Lite0 in int8 fell
        # from 90 % to 61 % there.
        session_options.add_session_config_entry('session.x64quantprecision', '1')
        # Constant folding at load time warns about initialisers it removes; errors still raise.
        session_options.log_severity_level = 3
        try:
            self._session: Any = InterruptibleSession(onnxruntime.InferenceSession(
                data, session_options, providers=['CPUExecutionProvider']))
        except Exception as error:  # noqa: B902  ONNX Runtime has a type for each status
            raise ModelError(f'ONNX Runtime cannot load {path}: {error}') from error
        with naming(path):
            spec = checked_spec(
                self._session.get_modelmeta().custom_metadata_map,
                _described(self._session.get_inputs()), _described(self._session.get_outputs()))
        self._results: dict[int, NDArray[np.float32]] = {}
        super().__init__(
            spec,
            BackendInfo(
                'onnxruntime', onnxruntime.__version__, 'CPU',
                {'cpu_threads': str(options.cpu_threads or 'all')}),
            host_buffers(spec, options))

    def _submit(self, batch_size: int, index: int) -> None:
        try:
            self._results[index], = self._session.run(
                [OUTPUT_NAME], {INPUT_NAME: self._buffers[index][:batch_size]})
        except Exception as error:  # noqa: B902  ONNX Runtime has a type for each status
            raise InferenceError(f'ONNX Runtime failed on a batch of {batch_size}: {error}') \
                from error

    def _collect(self, batch_size: int, index: int) -> NDArray[np.float32]:
        return self._results[index]

    def _close(self) -> None:
        self._results.clear()
        self._session = None


def _described(values: Any) -> list[TensorInfo]:
    """Return inputs or outputs of a session in the contract's words."""
    return [
        TensorInfo(
            value.name, _DTYPES.get(value.type, value.type),
            tuple('?' if side is None else side for side in value.shape))
        for value in values]
