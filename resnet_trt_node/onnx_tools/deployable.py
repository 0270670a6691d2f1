"""Deployable models that are rewritten: loaded, and written with their answers checked."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import AbstractSet, Any, Callable, Optional, TYPE_CHECKING, Union

import numpy as np
import onnx
from resnet_trt_node.atomic_file import whole_file
from resnet_trt_node.backends.onnxruntime_session import CpuSession
from resnet_trt_node.contract.model_file import load_model, naming, spec_of, write_model_spec
from resnet_trt_node.contract.onnx_check import check_valid
from resnet_trt_node.contract.onnx_graph import is_int8, refuse_in_subgraphs
from resnet_trt_node.contract.spec import INPUT_NAME, ModelSpec, OUTPUT_NAME
from resnet_trt_node.errors import ModelError
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reference = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

#: Largest difference of a probability from the original model, by precision.
#: fp32: the same sums in another order; ResNet-152 was seen to differ by 2e-5.
#: fp16: 11 bits are kept. A logit of 16 to 32 is rounded by up to 2^-7, the difference of two by
#: 2^-6, and the steepest softmax makes a quarter of that, 0.004; weights and layers before add as
#: much again. Seen: 0.002. ONNX Runtime's CPU provider computes fp16 graphs in float32 with
#: rounded weights, so a device's own rounding is not in it.
#: int8: the last bit of the normalisation may tip a value to the next step of its quantiser, which
#: is a 256th of the range.
BOUNDS = {'fp32': 1e-4, 'fp16': 1e-2, 'int8': 5e-2}
#: Batch 1 is the one that shape mistakes are made for; 3 is neither 1 nor a power of two.
CHECKED_BATCHES = (1, 3)


@dataclass(frozen=True)
class WrittenModel:
    """
    A deployable model that was written and compared with its original.

    :param path: the file.
    :param spec: its contract.
    :param max_abs_difference: of any probability from the original.
    :param sha256: hex digest of the file.
    :param size_bytes: of the file.
    :param seconds: what it took.
    """

    path: Path
    spec: ModelSpec
    max_abs_difference: float
    sha256: str
    size_bytes: int
    seconds: float

    @property
    def bound(self) -> float:
        """Return what the difference had to stay below."""
        return BOUNDS[self.spec.precision]

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON; of the class names only their count."""
        values = asdict(self)
        spec = values.pop('spec')
        spec['num_classes'] = len(spec.pop('labels'))
        # Only what `prepare` made can be anything but a softmax of one class of all.
        del spec['activation'], spec['multi_label']
        return {**values, 'path': str(self.path), 'bound': self.bound, **spec}


def load_float(
        path: Union[str, Path], kinds: AbstractSet[str],
        what: str) -> tuple[onnx.ModelProto, ModelSpec]:
    """
    Load a deployable fp32 or fp16 model whose layers are to be changed.

    :param path: the file.
    :param kinds: operators of those layers; refused in branches, loops and functions.
    :param what: is done to them, 'quantised' or 'pruned'.
    :raises ModelError: if it is not deployable, not valid, or computes in int8.
    """
    model = load_model(path)
    with naming(path):
        # Before the contract: a file of another tool has none, and this is the better reason.
        spec = None if is_int8(model) else spec_of(model)
        if spec is None or spec.precision == 'int8':
            raise ModelError(
                f'it is int8, only float models can be {what}: take the one that it was made from')
        check_valid(model, 'the model')
        refuse_in_subgraphs(model, kinds, what)
    return model, spec


def write_model(
        model: onnx.ModelProto, spec: ModelSpec, out: Union[str, Path], what: str,
        reference: Optional[Reference] = None) -> float:
    """
    Write a deployable model; it appears whole and checked, or not at all.

    It must be valid ONNX, and answer seeded synthetic frames with finite numbers of the shape that
    its contract declares, within `BOUNDS` of those of a reference.

    :param model: gets the contract as metadata.
    :param spec: its contract.
    :param out: the file.
    :param what: its name in messages.
    :param reference: takes uint8 (N, H, W, 3), returns probabilities, float32 (N, C); None for
        none.
    :returns: the largest absolute difference of any probability, 0 without a reference.
    :raises ModelError: with what is wrong with it.
    """
    write_model_spec(model, spec)
    worst = 0.0
    with whole_file(out) as temporary:
        onnx.save(model, str(temporary))
        check_valid(temporary, what)
        session = CpuSession(temporary, what)
        for batch in CHECKED_BATCHES:
            frames = sample_frames(batch, spec.height, spec.width)
            expected = None if reference is None else reference(frames)
            if expected is not None and not np.isfinite(expected).all():
                raise ModelError(
                    f'{what}: the reference itself returns NaN or infinity; check the weights')
            rows, = session.run([OUTPUT_NAME], {INPUT_NAME: frames})
            if rows.shape != (batch, spec.num_classes) or not np.isfinite(rows).all():
                raise ModelError(
                    f'{what} answers a batch of {batch} with {rows.shape}, NaN or infinity where '
                    f'({batch}, {spec.num_classes}) finite numbers are due; nothing was written')
            if expected is not None:
                worst = max(worst, float(np.abs(rows - expected).max()))
        if worst > BOUNDS[spec.precision]:
            raise ModelError(
                f'{what}: probabilities differ from the reference by {worst:.2g}, more than '
                f'{BOUNDS[spec.precision]:g}; nothing was written')
    return worst
