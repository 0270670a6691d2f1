"""Sessions of ONNX Runtime on the CPU: opened with one set of options, ended by Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Optional, Sequence, Union

from resnet_trt_node.errors import BackendUnavailable, ModelError
from resnet_trt_node.interrupt import interruptible
from resnet_trt_node.text.printable import one_line


class CpuSession:
    """
    An `onnxruntime.InferenceSession` whose runs end with an interrupt, endless loops too.

    :param model: a file, or a serialised model.
    :param what: its name in messages.
    :param threads: that infer, 0 leaves it to the runtime.
    :param defaults: leave all else as ONNX Runtime has it, for a comparison with it.
    :raises BackendUnavailable: if ONNX Runtime is not installed.
    :raises ModelError: if it cannot load the model.
    """

    def __init__(
            self, model: Union[Path, bytes], what: object, threads: int = 0,
            defaults: bool = False) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise BackendUnavailable(
                f'ONNX Runtime cannot be imported ({error}): pip install onnxruntime') from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Constant folding at load time warns about initialisers it removes; errors still raise.
        options.log_severity_level = 3
        if not defaults:
            # Spinning threads would take the CPU from the decoding and from every other node.
            options.add_session_config_entry('session.intra_op.allow_spinning', '0')
            # Without it int8 saturates on x86 CPUs that lack VNNI: EfficientNet-Lite0 in int8
            # fell from 90 % to 61 % there.
            options.add_session_config_entry('session.x64quantprecision', '1')
        self.version = str(onnxruntime.__version__)
        self._what = what
        try:
            self._session: Any = onnxruntime.InferenceSession(
                model if isinstance(model, bytes) else str(model), options,
                providers=['CPUExecutionProvider'])
        except Exception as error:  # noqa: B902  ONNX Runtime has a type for each status
            raise ModelError(f'ONNX Runtime cannot load {what}: {one_line(error)}') from error

    def run(self, outputs: Optional[Sequence[str]], feeds: Mapping[str, Any]) -> Any:
        """
        Run the model.

        :param outputs: names, None for all.
        :param feeds: arrays by the names of inputs.
        :returns: a list of arrays, owned by the caller.
        :raises ModelError: if the model cannot run on these.
        """
        from onnxruntime import RunOptions
        # New for each run: once terminated, always terminated.
        options = RunOptions()
        # What fails is raised; a line on stderr beside it would say the same.
        options.log_severity_level = 4

        def cancel() -> None:
            options.terminate = True
        with interruptible(cancel):
            try:
                return self._session.run(outputs, feeds, options)
            except Exception as error:  # noqa: B902  ONNX Runtime has a type for each status
                raise ModelError(
                    f'ONNX Runtime cannot run {self._what}: {one_line(error)}') from error

    def __getattr__(self, name: str) -> Any:
        """Return what else the session has."""
        return getattr(self._session, name)
