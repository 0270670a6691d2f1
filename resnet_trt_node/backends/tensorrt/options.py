"""Options of the TensorRT backends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

from resnet_trt_node.backends.options import choice, EngineOptions, number
from resnet_trt_node.errors import UsageError


@dataclass(frozen=True)
class TensorRtOptions(EngineOptions):
    """
    The options of TensorRT, TensorRT-RTX and TensorRT's lean runtime.

    :param opt_batch_sizes: batch sizes that an engine is tuned for, each in an optimisation
        profile of its own, rising; () tunes for max_batch_size alone.
    :param optimization_level: how long TensorRT searches for kernels, 0 to 5.
    :param workspace_mib: device memory that one layer may use while computing, in MiB; 0 leaves
        it to TensorRT.
    :param tf32: let fp32 layers multiply in tf32, with 10 bits of mantissa.
    :param sparse_weights: let TensorRT skip the zeros of 2:4 weights, see `contract.sparsity`.
    :param version_compatible: build an engine that later versions and the lean runtime run; it
        holds a runtime of its own.
    :param engine_host_code: let such an engine run that code in this process.
    :param target_sm: compute capability to compile for, such as '8.9'; None is that of this GPU.
        Only TensorRT-RTX can compile for another GPU than the one at hand.
    :param dla_core: deep learning accelerator to run on, None for the GPU.
    :param cuda_graph_max_batch: batch sizes up to this run as a CUDA graph each; 0 for none.
    :param zero_copy_max_batch: CUDA graphs of batch sizes up to this read the frames from and
        write the result to page-locked host memory in place, without copies; 0 for none.
    :param preprocess: 'gpu' has pictures in `Backend.device_rows` resized on the GPU, 'auto' if it
        can; 'cpu' has none.
    :param decode_jpeg: where pictures are resized on the GPU, have it decode jpegs, too.
    :param blocking_sync: sleep instead of spin while the GPU computes: less CPU, more latency.
    """

    opt_batch_sizes: Tuple[int, ...] = ()
    optimization_level: int = number(3, 0, 5)
    workspace_mib: int = number(0, 0, 1 << 20)
    tf32: bool = False
    sparse_weights: bool = False
    version_compatible: bool = False
    engine_host_code: bool = False
    target_sm: Optional[str] = None
    dla_core: Optional[int] = number(None, 0, 7)
    cuda_graph_max_batch: int = number(8, 0, 1024)
    zero_copy_max_batch: int = number(2, 0, 1024)
    preprocess: str = choice('cpu', ('auto', 'cpu', 'gpu'))
    decode_jpeg: bool = False
    blocking_sync: bool = False

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        super().__post_init__()
        sizes = self.opt_batch_sizes
        if list(sizes) != sorted(set(sizes)) or any(
                not 1 <= size <= self.max_batch_size for size in sizes):
            raise UsageError(
                f'opt_batch_sizes are {list(sizes)}: choose rising sizes from 1 to '
                f'{self.max_batch_size}')
