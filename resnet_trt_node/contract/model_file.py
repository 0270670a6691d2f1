"""Reading the contract from a deployable ONNX file, and writing it there."""

from __future__ import annotations

from contextlib import contextmanager
import hashlib
import importlib
from pathlib import Path
from typing import Dict, Iterator, List, Tuple, TYPE_CHECKING, Union

from resnet_trt_node.contract.declared import checked_spec, TensorInfo
from resnet_trt_node.contract.external_data import external_files
from resnet_trt_node.contract.spec import HOW_TO_MAKE_ONE, ModelSpec
from resnet_trt_node.errors import BackendUnavailable, ModelError
from resnet_trt_node.regular_file import open_regular, read_regular
from resnet_trt_node.text.printable import one_line, some

if TYPE_CHECKING:
    import onnx

#: Protobuf's own limit for a message.
_MAX_BYTES = (1 << 31) - 1
_ENGINE = (
    '{0} looks like a TensorRT engine: give the ONNX model instead; its engine is built once and '
    'cached')
_CHECKPOINT = (
    '{0} looks like a PyTorch checkpoint: make the ONNX model with `resnet_trt export '
    '--weights {0}`, or with torch.onnx.export and `resnet_trt prepare`')
_PICTURE = '{0} looks like a picture: give an ONNX model instead'
#: What a file that is no ONNX is by its suffix, and what to do; the file's name goes in.
_OTHER_FORMATS = {
    **dict.fromkeys(('.engine', '.plan', '.trt'), _ENGINE),
    **dict.fromkeys(('.pt', '.pth', '.ckpt', '.safetensors'), _CHECKPOINT),
    **dict.fromkeys(('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp'), _PICTURE)}


@contextmanager
def naming(path: Union[str, Path]) -> Iterator[None]:
    """Put the name of the file in front of what is wrong with a model."""
    try:
        yield
    except ModelError as error:
        raise type(error)(f'{path}: {error}') from error


def file_sha256(path: Union[str, Path]) -> str:
    """Return the hex sha256 of an ordinary file, read in pieces."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        for piece in iter(lambda: file.read(1 << 20), b''):
            digest.update(piece)
    return digest.hexdigest()


def read_model(path: Union[str, Path]) -> bytes:
    """
    Read a model file whole, so that all that is made of it is made of the same bytes.

    :raises ModelError: if it is missing, no ordinary file or unreadable.
    """
    if not str(path):
        raise ModelError(f'no model file is named: {HOW_TO_MAKE_ONE}')
    path = Path(path)
    try:
        return read_regular(path, _MAX_BYTES)
    except FileNotFoundError as error:
        raise ModelError(f'no model at {path}: {HOW_TO_MAKE_ONE}') from error
    except IsADirectoryError as error:
        raise ModelError(f'{path} is a folder: name the .onnx file in it') from error
    except OSError as error:
        raise ModelError(f'cannot read {path}: {error.strerror or error}') from error


def parse_model(data: bytes, path: Union[str, Path]) -> onnx.ModelProto:
    """
    Make a model of the bytes of its file; it must be whole in them.

    :param data: the file's content.
    :param path: where it is from, for messages.
    :raises ModelError: if it is no ONNX, or has tensors in other files.
    :raises BackendUnavailable: if the package onnx is not installed.
    """
    model = parse_graph(data, path)
    refuse_external_data(data, path)
    refuse_damaged(model, path)
    return model


def refuse_external_data(data: bytes, path: Union[str, Path]) -> None:
    """
    Refuse a model that has tensors in other files; needs no package.

    :param data: the file's content.
    :param path: where it is from, for messages.
    :raises ModelError: naming those files, and for what is no ONNX.
    """
    files = _external_files(data, path)
    if files:
        # A digest of the file would not be one of its weights.
        raise ModelError(
            f'{path} has tensors outside the file, in {_names(files)}: run `resnet_trt prepare` '
            'on the original model, which writes one file')


def _external_files(data: bytes, path: Union[str, Path]) -> list[str]:
    try:
        return external_files(data)
    except ValueError as error:
        raise _not_onnx(path, error) from error


def _not_onnx(path: Union[str, Path], error: Exception) -> ModelError:
    other = _OTHER_FORMATS.get(Path(path).suffix.lower())
    if other is not None:
        return ModelError(other.format(path))
    return ModelError(f'{path} is not an ONNX file ({error}): {HOW_TO_MAKE_ONE}')


def load_model(path: Union[str, Path]) -> onnx.ModelProto:
    """
    Load an ONNX file that holds its weights itself.

    :raises ModelError: if it is missing, unreadable, no ONNX, or has tensors in other files.
    :raises BackendUnavailable: if the package onnx is not installed.
    """
    return parse_model(read_model(path), path)


def load_with_outside_tensors(path: Union[str, Path]) -> onnx.ModelProto:
    """
    Load an ONNX file and the files beside it that hold its weights, for `resnet_trt prepare`.

    :raises ModelError: if one of the files is missing or unreadable, the first is no ONNX, or all
        do not go into one file.
    :raises BackendUnavailable: if the package onnx is not installed.
    """
    data = read_model(path)
    model = parse_graph(data, path)
    folder = Path(path).parent
    files = _external_files(data, path)
    for name in files:
        # It could be any file of the user's, which would end up in a model to be given away.
        if '\0' in name or Path(name).is_absolute() or '..' in Path(name).parts:
            raise ModelError(
                f'{path}: its weights are in {_names([name])}, outside of its folder, where they '
                'are not read: save the model again, with its weights beside it')
        try:
            open_regular(folder / name).close()
        except OSError as error:
            raise ModelError(
                f'{path}: its weights are in {_names([name])}, which cannot be read '
                f'({error.strerror or error}): copy that file beside the model') from error
    if files:
        from onnx.external_data_helper import load_external_data_for_model
        try:
            load_external_data_for_model(model, str(folder))
        except Exception as error:  # noqa: B902  onnx raises types of several modules, by version
            raise ModelError(
                f'{path}: its weights in {_names(files)} cannot be read: {one_line(error)}') \
                from error
        if model.ByteSize() > _MAX_BYTES:
            raise ModelError(
                f'{path} has more than 2 GiB of weights, which do not go into one ONNX file: use '
                'a smaller network, or export it in fp16')
    refuse_damaged(model, path)
    return model


def refuse_damaged(model: onnx.ModelProto, path: Union[str, Path]) -> None:
    """
    Refuse a model with a constant whose bytes do not fit its type and shape.

    :param model: the loaded model.
    :param path: where it is from, for messages.
    :raises ModelError: naming the constant.
    """
    from resnet_trt_node.contract.onnx_check import damaged_constant
    name = damaged_constant(model)
    if name is not None:
        raise ModelError(
            f'{path} is damaged, the bytes of its constant {name!r} do not fit its type and '
            'shape: copy or export it again')


def _names(files: list[str]) -> str:
    """Return the names of files for a message; a model may hold anything there."""
    return some([name[:200] if name.isprintable() and name else repr(name[:200])
                 for name in files], 3)


def require_onnx() -> None:
    """
    Import the package onnx.

    :raises BackendUnavailable: if that is impossible.
    """
    try:
        importlib.import_module('onnx')
    except ImportError as error:
        raise BackendUnavailable(
            f'model files cannot be read without onnx ({error}): pip install onnx') from error


def parse_graph(data: bytes, path: Union[str, Path]) -> onnx.ModelProto:
    """
    Make a model of the bytes of its file; tensors may be in other files, which are not read.

    :param data: the file's content.
    :param path: where it is from, for messages.
    :raises ModelError: if it is no ONNX.
    :raises BackendUnavailable: if the package onnx is not installed.
    """
    require_onnx()
    import onnx
    from resnet_trt_node.contract.onnx_graph import names_of
    try:
        model = onnx.load_model_from_string(data)
        # An empty or random file can parse as a message without a graph.
        if not model.graph.output:
            raise ValueError('it has no graph')
    except Exception as error:  # noqa: B902  protobuf raises types of its own, by version
        raise _not_onnx(path, error) from error
    for name in names_of(model):
        if not isinstance(name, str):
            raise ModelError(
                f'{path} has the name {name[:100]!r} in its graph, which is no UTF-8 text: '
                'export it again')
    return model


def read_model_spec(path: Union[str, Path]) -> ModelSpec:
    """
    Read the contract of a deployable model and check that its graph keeps it.

    :param path: the ONNX file.
    :raises ModelError: if the file is missing, unreadable, no ONNX or not deployable.
    :raises BackendUnavailable: if the package onnx is not installed.
    """
    return spec_in(load_model(path), path)


def spec_in(model: onnx.ModelProto, path: Union[str, Path]) -> ModelSpec:
    """
    Return what `spec_of` does; errors name the model's file.

    :param model: the loaded model.
    :param path: where it was loaded from, for the messages.
    :raises ModelError: as `spec_of`.
    """
    with naming(path):
        return spec_of(model)


def spec_of(model: onnx.ModelProto) -> ModelSpec:
    """
    Return the contract of a loaded model, checked against its graph.

    :raises ModelError: if the model is not deployable; the message names what differs.
    """
    return checked_spec(*declarations_of(model))


def declarations_of(model: onnx.ModelProto) -> Tuple[
        Dict[str, str], List[TensorInfo], List[TensorInfo]]:
    """Return a loaded model's properties, inputs and outputs."""
    from resnet_trt_node.contract.onnx_graph import inputs_of, tensor_info
    # Properties of other tools need not be text.
    metadata = {one.key: one.value for one in model.metadata_props
                if isinstance(one.key, str) and isinstance(one.value, str)}
    return (metadata, [tensor_info(value) for value in inputs_of(model.graph)],
            [tensor_info(value) for value in model.graph.output])


def write_model_spec(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """
    Put the contract into a model's metadata, in place of what is there under its names.

    :param model: changed in place.
    :param spec: the contract.
    """
    from resnet_trt_node.contract.onnx_graph import replace_all
    values = spec.to_metadata()
    replace_all(model.metadata_props, [
        one for one in model.metadata_props if one.key not in values])
    for key, value in values.items():
        # Names of files need not be UTF-8, and become parts of the source's description.
        model.metadata_props.add(
            key=key, value=value.encode('utf-8', 'backslashreplace').decode('utf-8'))
