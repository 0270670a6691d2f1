"""Options that several commands share, and opening a model with them."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import Any, Mapping, Optional, Sequence, Tuple

from resnet_trt_node.backends.base import Backend, BackendInfo
from resnet_trt_node.backends.factory import open_backend, options_of
from resnet_trt_node.cli.support.console import log
from resnet_trt_node.datasets.listing import describe_unread
from resnet_trt_node.datasets.pictures import MAX_FILE_IMAGE_BYTES
from resnet_trt_node.node.ros.parameter_values import to_backend
from resnet_trt_node.node.ros.parameters import BACKEND_PARAMETERS, parameter_fields
from resnet_trt_node.printable import printable

#: Upper bound of --max-image-mib: 1 TiB.
_MAX_MEBIBYTES = 1 << 20


def add_model_argument(parser: ArgumentParser) -> None:
    """Add MODEL."""
    parser.add_argument(
        'model', metavar='MODEL',
        help='deployable ONNX model, made by `resnet_trt export` or `resnet_trt prepare`')


def batch_sizes(text: str) -> Tuple[int, ...]:
    """Parse batch sizes such as '1,64', for the parser of an option."""
    try:
        return tuple(int(part) for part in text.split(','))
    except ValueError as error:
        raise ArgumentTypeError(f'{text!r}: write numbers with commas, such as 1,64') from error


def add_opt_batch(parser: Any, usual: str = 'the largest') -> None:
    """Add --opt-batch to a parser or a group of its arguments; `usual` is the help's default."""
    parser.add_argument(
        '--opt-batch', type=batch_sizes, metavar='N[,N...]',
        help='batch sizes that the engine is optimised for, such as 1,64; each takes one more '
        f'build; not given: {usual}')


def add_backend_arguments(parser: ArgumentParser) -> None:
    """Add the options of the backend and of resizing."""
    group = parser.add_argument_group('how the model is run')
    add_node_options(group, 'backend')
    group.add_argument(
        '--batch-size', type=int, default=8, metavar='N',
        help='largest number of pictures inferred together')
    add_node_options(
        group, 'device', 'threads', 'sparse_weights', 'version_compatible',
        'engine_host_code', 'engine_dir', 'optimization_level', 'resize_method')
    add_opt_batch(group)


def add_node_options(parser: Any, *names: str) -> None:
    """
    Add options that mean what the node's parameters of these names do.

    That of a list is given once for each of its values, and is None where it is not given.

    :param parser: a parser or a group of its arguments.
    """
    for name in names:
        parameter = parameter_fields()[name]
        kind: Any = type(parameter.default)
        choices = parameter.metadata['choices']
        text = parameter.metadata['description'].rstrip('.')
        taken: dict[str, Any] = {'action': 'store_true'} if kind is bool else {
            'action': 'append', 'metavar': 'NAME'} if kind is tuple else {
            'type': kind, 'choices': choices or None, 'default': parameter.default,
            'metavar': None if choices else 'N' if kind is not str else
            'DIR' if name.endswith('_dir') else 'NAME'}
        parser.add_argument(
            f'--{name.replace("_", "-")}', dest=name,
            help=text[0].lower() + text[1:] + '; may be given several times' * (kind is tuple),
            **taken)


def backend_options(arguments: Namespace) -> dict[str, Any]:
    """Return what was given of the options that are a backend's, as `open_backend` takes them."""
    given = vars(arguments)
    return to_backend({
        name: given[name] for name in BACKEND_PARAMETERS if name in given})


def add_output_arguments(parser: ArgumentParser) -> None:
    """Add --skip-bad and --json."""
    parser.add_argument(
        '--skip-bad', action='store_true',
        help='list pictures that cannot be read and continue; not given: the first one is an '
        'error')
    parser.add_argument(
        '--json', action='store_true', help='print one JSON document instead of a table')


def add_picture_arguments(
        parser: Any, default: Optional[int] = MAX_FILE_IMAGE_BYTES >> 20) -> None:
    """
    Add --max-image-mib.

    :param parser: a parser or a group of its arguments.
    :param default: None if the command has to know whether the option was given.
    """
    parser.add_argument(
        '--max-image-mib', type=_mebibytes, metavar='MIB',
        default=default,
        help='memory that a picture may take while it is decoded'
        + (f'; not given: {MAX_FILE_IMAGE_BYTES >> 20}' if default is None else ''))


def _mebibytes(text: str) -> int:
    """Parse a number of MiB, for the parser of an option."""
    if not (text.isascii() and text.isdigit()) or not 0 < int(text[:12]) <= _MAX_MEBIBYTES:
        raise ArgumentTypeError(
            f'{printable(repr(text), 40)}: write a number of MiB, 1 to {_MAX_MEBIBYTES}')
    return int(text)


def max_image_bytes(arguments: Namespace) -> int:
    """Return the value of --max-image-mib in bytes."""
    mebibytes: Optional[int] = arguments.max_image_mib
    return MAX_FILE_IMAGE_BYTES if mebibytes is None else mebibytes << 20


def print_unread(unread: Mapping[str, int]) -> None:
    """Print how many files were not read, if there are any."""
    line = describe_unread(unread)
    if line:
        log(line)


def open_model(arguments: Namespace, others: Sequence[str] = ()) -> Backend:
    """
    Open MODEL with the options.

    :param others: backends of other models that the same options are for.
    :returns: an open backend, which the caller closes.
    :raises ResnetTrtError: for an invalid option, model or runtime.
    """
    return open_backend(
        arguments.model, arguments.backend, frozenset().union(*map(options_of, others)),
        max_batch_size=arguments.batch_size, num_buffers=1,
        opt_batch_sizes=arguments.opt_batch or (), log=log, **backend_options(arguments))


def describe_backend(info: BackendInfo) -> str:
    """Return runtime, version and device in words."""
    return f'{info.name} {info.version} on {info.device}'


def backend_document(info: BackendInfo) -> dict[str, str]:
    """Return runtime, version and device for JSON."""
    return {'name': info.name, 'version': info.version, 'device': info.device}
