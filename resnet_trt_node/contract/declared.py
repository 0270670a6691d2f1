"""What a model file declares of itself, whoever read it, checked against the contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Sequence, Tuple, Union

from resnet_trt_node.contract.spec import HOW_TO_MAKE_ONE, INPUT_NAME, ModelSpec, OUTPUT_NAME
from resnet_trt_node.errors import LabelsError, ModelError

Side = Union[int, str]


@dataclass(frozen=True)
class TensorInfo:
    """
    An input or output.

    :param name: its name.
    :param dtype: its element type in NumPy's words, '?' if unknown.
    :param shape: its sides; dynamic ones are names or '?'.
    """

    name: str
    dtype: str
    shape: Tuple[Side, ...]

    @property
    def shown_shape(self) -> str:
        """Return the shape for a message."""
        return f'({", ".join(map(str, self.shape))})'


def checked_spec(
        metadata: Mapping[str, str], inputs: Sequence[TensorInfo],
        outputs: Sequence[TensorInfo]) -> ModelSpec:
    """
    Return the contract of a model, checked against its inputs and outputs.

    :param metadata: the file's properties.
    :param inputs: of its graph, constants left out.
    :param outputs: of its graph.
    :raises ModelError: if the model is not deployable; the message names what differs.
    """
    spec = ModelSpec.from_metadata(metadata)
    _check(inputs, TensorInfo(INPUT_NAME, 'uint8', ('N', spec.height, spec.width, 3)), 'input')
    _check(outputs, TensorInfo(OUTPUT_NAME, 'float32', ('N', spec.num_classes)), 'output')
    return spec


def _check(found: Sequence[TensorInfo], wanted: TensorInfo, what: str) -> None:
    """Check the only input or output."""
    if len(found) != 1 or found[0].name != wanted.name:
        raise ModelError(
            f'not a deployable model: its {what} must be {wanted.name!r} alone, it has '
            f'{", ".join(one.name for one in found)}; {HOW_TO_MAKE_ONE}')
    one, = found
    if one.dtype != wanted.dtype:
        raise ModelError(
            f'not a deployable model: {what} {one.name!r} is {one.dtype}, it must be '
            f'{wanted.dtype}; {HOW_TO_MAKE_ONE}')
    dynamic = [isinstance(side, str) for side in one.shape]
    if dynamic != [isinstance(side, str) for side in wanted.shape] or (
            what == 'input' and one.shape[1:] != wanted.shape[1:]):
        raise ModelError(
            f'not a deployable model: {what} {one.name!r} has the shape {one.shown_shape}, it '
            f'must be {wanted.shown_shape} with a dynamic N; {HOW_TO_MAKE_ONE}')
    if one.shape[1:] != wanted.shape[1:]:
        raise LabelsError(
            f'the model has {one.shape[1]} outputs and {wanted.shape[1]} class names: '
            'export it again with --labels FILE of one name a line')
