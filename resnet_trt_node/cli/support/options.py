"""Options that several commands share, and opening a model as they say."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
import sys
from typing import Any, Mapping, Optional, Sequence, Tuple

from resnet_trt_node.backends.base import Backend
from resnet_trt_node.backends.factory import BACKEND_CHOICES, open_backend, options_of
from resnet_trt_node.backends.tensorrt.options import TensorRtOptions
from resnet_trt_node.cli.support.console import write
from resnet_trt_node.datasets.listing import describe_unread
from resnet_trt_node.datasets.pictures import MAX_FILE_IMAGE_BYTES
from resnet_trt_node.printable import printable

#: No machine has more to decode a picture with.
_MAX_MEBIBYTES = 1 << 20


def add_model_argument(parser: ArgumentParser) -> None:
    """Add MODEL."""
    parser.add_argument(
        'model', metavar='MODEL',
        help='deployable ONNX model, made by `resnet_trt export` or `resnet_trt prepare`')


def batch_sizes(text: str) -> Tuple[int, ...]:
    """Read batch sizes such as '1,64', for the parser of an option."""
    try:
        return tuple(int(part) for part in text.split(','))
    except ValueError as error:
        raise ArgumentTypeError(f'{text!r}: write numbers with commas, such as 1,64') from error


def add_opt_batch(parser: Any, usual: str = 'the largest') -> None:
    """Add --opt-batch to a parser or a group of its arguments; `usual` is the help's default."""
    parser.add_argument(
        '--opt-batch', type=batch_sizes, metavar='N[,N...]',
        help='batch sizes that an engine is to be fastest at, such as 1,64, each at the cost of '
        f'one more build; not given: {usual}')


def add_backend_arguments(parser: ArgumentParser) -> None:
    """Add what decides how a model is run."""
    group = parser.add_argument_group('how the model is run')
    group.add_argument(
        '--backend', choices=BACKEND_CHOICES, default='auto',
        help='runtime that infers; auto takes the best one this machine can run')
    group.add_argument(
        '--batch-size', type=int, default=8, metavar='N', help='most pictures inferred together')
    group.add_argument(
        '--device-id', type=int, default=0, metavar='N', help='index of the GPU')
    group.add_argument(
        '--threads', type=int, default=0, metavar='N',
        help='threads of a backend on the CPU, 0 leaves it to the runtime')
    add_opt_batch(group)
    add_sparse_weights(group)
    group.add_argument(
        '--engine-dir', type=Path, metavar='DIR',
        help='folder of compiled engines; not given: the one that the node uses')
    group.add_argument(
        '--optimization-level', type=int, default=TensorRtOptions.optimization_level,
        metavar='0..5', help='how long TensorRT searches for the fastest kernels')
    group.add_argument(
        '--fit', choices=('fast', 'exact'), default='fast',
        help='how pictures are resized: exact follows Pillow to the last level, fast may reduce '
        'large ones first')


def add_sparse_weights(parser: Any) -> None:
    """Add --sparse-weights to a parser or a group of its arguments."""
    parser.add_argument(
        '--sparse-weights', action='store_true',
        help='let TensorRT skip the zeros of a model made by `resnet_trt prune`, where that is '
        'faster')


def add_output_arguments(parser: ArgumentParser) -> None:
    """Add what decides how results are told."""
    parser.add_argument(
        '--skip-bad', action='store_true',
        help='list pictures that cannot be read and go on; without it the first one is an error')
    parser.add_argument(
        '--json', action='store_true',
        help='print one JSON document for machines instead of a table')


def add_picture_arguments(
        parser: Any, default: Optional[int] = MAX_FILE_IMAGE_BYTES >> 20) -> None:
    """
    Add what decides which pictures are read.

    :param parser: or a group of its arguments.
    :param default: None where what was not given must be told from the usual.
    """
    parser.add_argument(
        '--max-image-mib', type=_mebibytes, metavar='MIB',
        default=default,
        help='memory that a picture may take while it is decoded; not given: '
        f'{MAX_FILE_IMAGE_BYTES >> 20}')


def _mebibytes(text: str) -> int:
    """Read a number of MiB, for the parser of an option."""
    if not (text.isascii() and text.isdigit()) or not 0 < int(text[:12]) <= _MAX_MEBIBYTES:
        raise ArgumentTypeError(
            f'{printable(repr(text), 40)}: write a number of MiB, 1 to {_MAX_MEBIBYTES}')
    return int(text)


def max_image_bytes(arguments: Namespace) -> int:
    """Return how much memory a picture may take, as `add_picture_arguments` had it given."""
    mebibytes: Optional[int] = arguments.max_image_mib
    return MAX_FILE_IMAGE_BYTES if mebibytes is None else mebibytes << 20


def print_unread(unread: Mapping[str, int]) -> None:
    """Print the line that says how many files were not read, if there are any."""
    line = describe_unread(unread)
    if line:
        write(line, file=sys.stderr)


def open_model(arguments: Namespace, others: Sequence[str] = ()) -> Backend:
    """
    Open MODEL as the options say.

    :param others: backends that the same options are for.
    :returns: an open backend; the caller closes it.
    :raises ResnetTrtError: for options, models or runtimes that cannot be used.
    """
    return open_backend(
        arguments.model, arguments.backend, frozenset().union(*map(options_of, others)),
        max_batch_size=arguments.batch_size, num_buffers=1, device_id=arguments.device_id,
        cpu_threads=arguments.threads, sparse_weights=arguments.sparse_weights,
        opt_batch_sizes=arguments.opt_batch or (),
        engine_dir=arguments.engine_dir, optimization_level=arguments.optimization_level, log=_log)


def describe_backend(backend: Backend) -> str:
    """Return who computes, in words."""
    info = backend.info
    return f'{info.name} {info.version} on {info.device}'


def _log(line: str) -> None:
    write(line, sys.stderr)
