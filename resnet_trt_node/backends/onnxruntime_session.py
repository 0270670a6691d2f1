"""Sessions of ONNX Runtime that Ctrl-C ends also in a loop of the model's that never does."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

from resnet_trt_node.interrupt import interruptible


class InterruptibleSession:
    """
    An `onnxruntime.InferenceSession` whose runs end with an interrupt.

    :param session: the session; all but `run` is its own.
    """

    def __init__(self, session: Any) -> None:
        self._session = session

    def run(self, outputs: Optional[Sequence[str]], feeds: Mapping[str, Any]) -> Any:
        """
        Run the model.

        :param outputs: names, None for all.
        :param feeds: arrays by the names of inputs.
        :returns: a list of arrays.
        """
        from onnxruntime import RunOptions
        # New for each run: once terminated, always terminated.
        options = RunOptions()
        # What fails is raised; a line on stderr beside it would say the same.
        options.log_severity_level = 4

        def cancel() -> None:
            options.terminate = True
        with interruptible(cancel):
            return self._session.run(outputs, feeds, options)

    def __getattr__(self, name: str) -> Any:
        """Return what else the session has."""
        return getattr(self._session, name)
