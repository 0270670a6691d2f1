"""What the GPU preprocesses with, in front of an engine."""

from __future__ import annotations

from typing import Optional, Tuple, TYPE_CHECKING

from resnet_trt_node.backends.cuda.device import CudaDevice
from resnet_trt_node.backends.cuda.kernel import Kernel
from resnet_trt_node.backends.cuda.resized_rows import KERNEL
from resnet_trt_node.backends.tensorrt.options import TensorRtOptions
from resnet_trt_node.errors import BackendError

if TYPE_CHECKING:
    from resnet_trt_node.backends.cuda.jpeg import JpegDecoder


def load_preprocessing(
        device: CudaDevice,
        options: TensorRtOptions) -> Tuple[Optional[Kernel], Optional[JpegDecoder]]:
    """
    Load what the options ask for, as far as it can be had.

    :param device: owned by this thread.
    :param options: of the backend.
    :returns: the kernel that resizes, and what decodes jpegs for it, which the caller closes; None
        for what the CPU does. With `preprocess: auto` a line is logged of what is missing.
    :raises BackendError: for `preprocess: gpu`, if something is missing.
    """
    kernel = None
    if options.preprocess == 'cpu':
        return None, None
    try:
        kernel = Kernel(device, *KERNEL, options.engine_dir, options.log)
        if options.decode_jpeg:
            # Engines run without OpenCV, this does not.
            from resnet_trt_node.backends.cuda.jpeg import JpegDecoder
            # Each slot decodes on its own stream.
            return kernel, JpegDecoder(
                options.device, 0, buffers=options.num_buffers, log=options.log)
    except BackendError as error:
        if options.preprocess == 'gpu':
            raise
        what = 'resized' if kernel is None else 'decoded'
        options.log(f'pictures are {what} on the CPU: {error}')
    return kernel, None
