"""The packages that only `resnet_trt fleet` needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from resnet_trt_node.errors import UsageError

PACKAGES = ('ray', 'pyarrow', 'fsspec')


@contextmanager
def needs_fleet_extra() -> Iterator[None]:
    """
    Say what to install if an import in this block fails.

    :raises UsageError: with the line for pip.
    """
    try:
        yield
    except ImportError as error:
        raise UsageError(
            f'this command needs Ray, PyArrow and fsspec ({error}): '
            f'pip install {" ".join(PACKAGES)}, or this package with [fleet]') from error
