"""Options that several commands share, and opening a model with them."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
import sys
from typing import Any, Mapping, Optional, Sequence, Tuple

from resnet_trt_node.backends.base import Backend, BackendInfo
from resnet_trt_node.backends.factory import BACKEND_CHOICES, open_backend, options_of
from resnet_trt_node.backends.tensorrt.options import TensorRtOptions
from resnet_trt_node.cli.support.console import write
from resnet_trt_node.datasets.listing import describe_unread
from resnet_trt_node.datasets.pictures import MAX_FILE_IMAGE_BYTES
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
    group.add_argument(
        '--backend', choices=BACKEND_CHOICES, default='auto',
        help='runtime that infers; auto chooses the best one that this machine can run')
    group.add_argument(
        '--batch-size', type=int, default=8, metavar='N',
        help='largest number of pictures inferred together')
    group.add_argument(
        '--device-id', type=int, default=0, metavar='N', help='index of the GPU')
    group.add_argument(
        '--threads', type=int, default=0, metavar='N',
        help='threads of a backend on the CPU, 0 for the default of the runtime')
    add_opt_batch(group)
    add_sparse_weights(group)
    group.add_argument(
        '--engine-dir', type=Path, metavar='DIR',
        help='folder of compiled engines; not given: the one that the node uses')
    group.add_argument(
        '--optimization-level', type=int, default=TensorRtOptions.optimization_level,
        metavar='0..5', help='how long TensorRT searches for the fastest kernels')
    group.add_argument(
        '--resize-method', choices=('fast', 'exact'), default='fast',
        help='how pictures are resized: exact gives the values of Pillow, fast approximates them '
        'with OpenCV')


def add_sparse_weights(parser: Any) -> None:
    """Add --sparse-weights to a parser or a group of its arguments."""
    parser.add_argument(
        '--sparse-weights', action='store_true',
        help='allow sparse kernels for a model made by `resnet_trt prune`, where they are faster')


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
        help='memory that a picture may take while it is decoded; not given: '
        f'{MAX_FILE_IMAGE_BYTES >> 20}')


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
        write(line, file=sys.stderr)


def open_model(arguments: Namespace, others: Sequence[str] = ()) -> Backend:
    """
    Open MODEL with the options.

    :param others: backends of other models that the same options are for.
    :returns: an open backend, which the caller closes.
    :raises ResnetTrtError: for an invalid option, model or runtime.
    """
    return open_backend(
        arguments.model, arguments.backend, frozenset().union(*map(options_of, others)),
        max_batch_size=arguments.batch_size, num_buffers=1, device_id=arguments.device_id,
        cpu_threads=arguments.threads, sparse_weights=arguments.sparse_weights,
        opt_batch_sizes=arguments.opt_batch or (),
        engine_dir=arguments.engine_dir, optimization_level=arguments.optimization_level, log=_log)


def describe_backend(info: BackendInfo) -> str:
    """Return runtime, version and device in words."""
    return f'{info.name} {info.version} on {info.device}'


def backend_document(info: BackendInfo) -> dict[str, str]:
    """Return runtime, version and device for JSON."""
    return {'name': info.name, 'version': info.version, 'device': info.device}


def _log(line: str) -> None:
    write(line, sys.stderr)
