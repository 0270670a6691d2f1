"""Whether a loaded ONNX model is whole and valid."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator, Optional, Union

from google.protobuf.message import Message
import onnx
from onnx import numpy_helper, TensorProto
from resnet_trt_node.errors import ModelError
from resnet_trt_node.text.printable import one_line


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
            f'{what} is not a valid ONNX graph ({one_line(error)}): export the original again') \
            from error


def damaged_constant(model: onnx.ModelProto) -> Optional[str]:
    """Return the name of a constant whose type, shape and bytes do not fit, None if all do."""
    return next((value.name for value in _tensors_of(model) if not _is_whole(value)), None)


def _is_whole(value: onnx.TensorProto) -> bool:
    if value.data_location == TensorProto.EXTERNAL:
        return True
    try:
        # A side of -1 would be computed from the others.
        return min(value.dims, default=0) >= 0 and numpy_helper.to_array(value) is not None
    except (KeyError, ValueError, TypeError):
        return False


def _tensors_of(message: Any) -> Iterator[onnx.TensorProto]:
    """Yield every constant in a message: initialisers, in attributes, of sparse tensors."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for one in [value] if isinstance(value, Message) else value:
            if isinstance(one, TensorProto):
                yield one
            else:
                yield from _tensors_of(one)
