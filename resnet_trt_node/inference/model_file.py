"""Reading the contract from a deployable ONNX file, and writing it there."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Union

from resnet_trt_node.errors import BackendUnavailable, LabelsError, ModelError
from resnet_trt_node.inference.spec import INPUT_NAME, ModelSpec, OUTPUT_NAME

if TYPE_CHECKING:
    import onnx

_HOW_TO_MAKE_ONE = (
    'make one with `resnet_trt export`, or with `resnet_trt prepare` from any float classifier')


def file_sha256(path: Union[str, Path]) -> str:
    """Return the hex sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for piece in iter(lambda: file.read(1 << 20), b''):
            digest.update(piece)
    return digest.hexdigest()


def load_model(path: Union[str, Path]) -> onnx.ModelProto:
    """
    Load an ONNX file.

    :raises ModelError: if it is missing, unreadable or no ONNX.
    :raises BackendUnavailable: if the package onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise BackendUnavailable(
            f'model files cannot be read without onnx ({error}): pip install onnx') from error
    if not str(path):
        raise ModelError(f'no model file is named: {_HOW_TO_MAKE_ONE}')
    path = Path(path)
    try:
        if not path.exists():
            raise ModelError(f'no model at {path}: {_HOW_TO_MAKE_ONE}')
        if path.is_dir():
            raise ModelError(f'{path} is a folder: name the .onnx file in it')
        # By its ending, onnx would take a file for JSON or text.
        model = onnx.load(str(path), format='protobuf')
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f'cannot read {path}: {error.strerror or error}') from error
    except Exception as error:  # noqa: B902  protobuf raises types of its own, by version
        raise ModelError(f'{path} is not an ONNX file ({error}): {_HOW_TO_MAKE_ONE}') from error
    # An empty or random file can parse as a message without a graph.
    if not model.graph.output:
        raise ModelError(f'{path} is not an ONNX file (it has no graph): {_HOW_TO_MAKE_ONE}')
    return model


def read_model_spec(path: Union[str, Path]) -> ModelSpec:
    """
    Read the contract of a deployable model and check that its graph keeps it.

    :param path: the ONNX file.
    :raises ModelError: if the file is missing, unreadable, no ONNX or not deployable.
    :raises BackendUnavailable: if the package onnx is not installed.
    """
    model = load_model(path)
    try:
        return spec_of(model)
    except ModelError as error:
        raise type(error)(f'{path}: {error}') from error


def spec_of(model: onnx.ModelProto) -> ModelSpec:
    """
    Return the contract of a loaded model, checked against its graph.

    :raises ModelError: if the model is not deployable; the message names what differs.
    """
    import onnx
    spec = ModelSpec.from_metadata({prop.key: prop.value for prop in model.metadata_props})
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    _check_tensor(
        inputs, INPUT_NAME, onnx.TensorProto.UINT8, (None, spec.height, spec.width, 3), 'input')
    classes = _check_tensor(
        list(model.graph.output), OUTPUT_NAME, onnx.TensorProto.FLOAT, (None, -1), 'output')[1]
    if classes != spec.num_classes:
        raise LabelsError(
            f'the model has {classes} outputs and {spec.num_classes} class names: '
            'export it again with --labels FILE of one name a line')
    return spec


def _check_tensor(
        values: list[onnx.ValueInfoProto], name: str, dtype: int,
        shape: tuple[int | None, ...], what: str) -> list[int]:
    """Check the only input or output; None is a dynamic side, -1 any; return the sides."""
    found = ', '.join(value.name for value in values)
    if len(values) != 1 or values[0].name != name:
        raise ModelError(
            f'not a deployable model: its {what} must be {name!r} alone, it has {found}; '
            + _HOW_TO_MAKE_ONE)
    tensor = values[0].type.tensor_type
    if tensor.elem_type != dtype:
        raise ModelError(
            f'not a deployable model: {what} {name!r} is '
            f'{_dtype_name(tensor.elem_type)}, it must be {_dtype_name(dtype)}; '
            + _HOW_TO_MAKE_ONE)
    sides = [
        dim.dim_value if dim.HasField('dim_value') else None for dim in tensor.shape.dim]
    fits = len(sides) == len(shape) and all(
        (want is None and side is None) or (want == -1 and side is not None) or want == side
        for side, want in zip(sides, shape))
    if not fits:
        def show(dims: object) -> str:
            return '(' + ', '.join(
                'N' if dim is None else 'C' if dim == -1 else str(dim)
                for dim in dims) + ')'  # type: ignore[attr-defined]
        raise ModelError(
            f'not a deployable model: {what} {name!r} has the shape {show(sides)}, it must be '
            f'{show(shape)} with a dynamic N; {_HOW_TO_MAKE_ONE}')
    return [side or 0 for side in sides]


def _dtype_name(dtype: int) -> str:
    import onnx
    try:
        return str(onnx.TensorProto.DataType.Name(dtype))
    except ValueError:
        return f'of the unknown type {dtype}'


def write_model_spec(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Put the contract into a model's metadata, in place of what is there under its names."""
    values = spec.to_metadata()
    kept = [prop for prop in model.metadata_props if prop.key not in values]
    del model.metadata_props[:]
    for prop in kept:
        model.metadata_props.add(key=prop.key, value=prop.value)
    for key, value in values.items():
        model.metadata_props.add(key=key, value=value)
