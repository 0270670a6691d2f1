"""Options that several commands share, and opening a model with them."""

from __future__ import annotations

from argparse import Namespace
from typing import Any, Mapping, Optional, Sequence

from resnet_trt_node.backends.base import Backend, BackendInfo
from resnet_trt_node.backends.factory import open_backend, options_of
from resnet_trt_node.cli.support.console import log
from resnet_trt_node.datasets.listing import describe_unread
from resnet_trt_node.imaging.limits import MAX_FILE_IMAGE_BYTES
from resnet_trt_node.node.ros.parameters.node_parameters import BACKEND_PARAMETERS
from resnet_trt_node.node.ros.parameters.values import to_backend

#: Upper bound of --max-image-mib: 1 TiB.
_MAX_MEBIBYTES = 1 << 20


def backend_options(arguments: Namespace) -> dict[str, Any]:
    """Return what was given of the options that are a backend's, as `open_backend` takes them."""
    given = vars(arguments)
    return to_backend({
        name: given[name] for name in BACKEND_PARAMETERS if name in given})


def opening_options(arguments: Namespace, others: Sequence[str] = ()) -> dict[str, Any]:
    """
    Return the keyword arguments of `open_backend` for the options of `add_backend`.

    :param others: backends of other models that the same options are for.
    """
    options = backend_options(arguments)
    implied = {option for other in others for option in options_of(other)}
    # Bags and folders hold any kind of picture.
    options['decode_jpeg'] = options['preprocess'] != 'cpu'
    implied.add('decode_jpeg')
    if options['preprocess'] == 'auto':
        implied.add('preprocess')
    return {
        'max_batch_size': arguments.batch_size, 'opt_batch_sizes': arguments.opt_batch_size or (),
        'implied': tuple(sorted(implied)), **options}


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
        arguments.model, arguments.backend, log=log, **opening_options(arguments, others))


def describe_backend(info: BackendInfo) -> str:
    """Return runtime, version and device in words."""
    return f'{info.name} {info.version} on {info.device}'


def backend_document(info: BackendInfo) -> dict[str, str]:
    """Return runtime, version and device for JSON, and what the GPU does of a picture."""
    return {'name': info.name, 'version': info.version, 'device': info.device, **{
        name: info.details[name] for name in ('preprocess', 'decode') if name in info.details}}
