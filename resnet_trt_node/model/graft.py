"""Making a float classifier from elsewhere deployable: both ends of the contract grafted on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Optional, Sequence, TYPE_CHECKING, Union

import numpy as np
import onnx
from onnx import TensorProto
from resnet_trt_node import __version__
from resnet_trt_node.errors import LabelsError, ModelError, UsageError
from resnet_trt_node.inference.model_file import (
    file_sha256, load_with_outside_tensors, spec_of, write_model_spec)
from resnet_trt_node.inference.spec import INPUT_NAME, ModelSpec, OUTPUT_NAME, ResizeRule
from resnet_trt_node.model.class_names import default_labels, given_labels
from resnet_trt_node.model.ends import add_input_end, add_output_end
from resnet_trt_node.model.files import whole_file
from resnet_trt_node.model.frames import sample_frames
from resnet_trt_node.model.graph import BATCH, GraphBuilder, IR_VERSION, OPSET, opset_of, tensor
from resnet_trt_node.model.normalisation import Normalisation, pick_normalisation
from resnet_trt_node.model.rounded_clip import move_pairs_off_clips
from resnet_trt_node.model.simplify import free_batch, set_input_shape, simplify
from resnet_trt_node.model.source_model import read_source, SourceModel
from resnet_trt_node.model.verify import largest_difference, OnnxRunner

if TYPE_CHECKING:
    from numpy.typing import NDArray

ACTIVATIONS = ('auto', 'softmax', 'none')
CHANNEL_ORDERS = ('rgb', 'bgr')
STRETCH = 'stretch'
#: Largest difference of a probability from the original model, by precision. fp32 and fp16 as in
#: `export`; in an int8 graph the last bit of the normalisation may tip a value to the next step
#: of its quantiser, which is a 256th of the range.
BOUNDS = {'fp32': 1e-4, 'fp16': 1e-2, 'int8': 5e-2}
_DEFAULT_CROP = 224
#: The short side in ImageNet's usual evaluation rule, for each pixel of the crop.
_RESIZE_TO_CROP = 256 / 224


@dataclass(frozen=True)
class PrepareReport:
    """
    What was prepared.

    :param path: the file.
    :param spec: its contract.
    :param layout: of the original input, 'nchw' or 'nhwc'.
    :param normalisation: the formula in words.
    :param activation: 'softmax' if one was added, 'none' if the output was probabilities.
    :param fixed_batch: the batch size that the original was bound to, None if it was dynamic.
    :param max_abs_difference: of any probability from the original model.
    :param bound: what that had to stay below.
    :param sha256: hex digest of the file.
    :param size_bytes: of the file.
    :param seconds: what it took.
    """

    path: Path
    spec: ModelSpec
    layout: str
    normalisation: str
    activation: str
    fixed_batch: Optional[int]
    max_abs_difference: float
    bound: float
    sha256: str
    size_bytes: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON; of the class names only their count."""
        values = asdict(self)
        spec = values.pop('spec')
        spec['num_classes'] = len(spec.pop('labels'))
        return {**values, 'path': str(self.path), **spec}


def prepare(
        source: Union[str, Path], out: Union[str, Path], *, mean: Sequence[float],
        std: Sequence[float], scale: Optional[float] = None,
        resize: Optional[Union[int, str]] = None, crop: Optional[int] = None,
        interpolation: str = 'bilinear',
        labels: Optional[Union[str, Path, Sequence[str]]] = None, layout: str = 'auto',
        channel_order: str = 'rgb', activation: str = 'auto',
        output: Optional[str] = None) -> PrepareReport:
    """
    Make a float classifier deployable.

    :param source: ONNX file of one float32 or float16 input, (N, 3, H, W) or (N, H, W, 3), and
        one logit or probability for each class; N may be fixed.
    :param out: the ONNX file to write; it appears complete and checked, or not at all.
    :param mean: see `normalisation.pick_normalisation`, as `std` and `scale`.
    :param resize: short side before the centre crop, 'stretch' to stretch pictures to the crop;
        None is 256 / 224 of the crop.
    :param crop: H and W where the model leaves them open; None is the model's own, else 224.
    :param interpolation: one of `spec.INTERPOLATIONS`.
    :param labels: class names or a file of them; None as in `class_names.default_labels`.
    :param layout: one of `source_model.LAYOUTS`.
    :param channel_order: of the model's input, one of `CHANNEL_ORDERS`.
    :param activation: one of `ACTIVATIONS`: whether a softmax is missing; 'auto' looks whether
        the rows of the output sum to 1.
    :param output: which output to take where there are several.
    :raises UsageError: for arguments that cannot be used, or where the model leaves a choice.
    :raises LabelsError: if the number of labels differs from the classes.
    :raises ModelError: if the model cannot be read or made deployable.
    """
    start_ns = perf_counter_ns()
    source, out = Path(source), Path(out)
    if channel_order not in CHANNEL_ORDERS:
        raise UsageError(f'unknown channel order {channel_order!r}: choose rgb or bgr')
    if activation not in ACTIVATIONS:
        raise UsageError(
            f'unknown activation {activation!r}: choose one of {", ".join(ACTIVATIONS)}')
    model = load_with_outside_tensors(source)
    _refuse_deployable(model, source)
    normalisation = pick_normalisation(mean, std, scale, channel_order == 'bgr')
    names = given_labels(labels)
    original = read_source(model, layout, output)
    rule = _resize_rule(original, resize, crop, interpolation)
    reference = _Reference(source, original, normalisation)
    rows = reference(sample_frames(3, rule.crop_height, rule.crop_width))
    softmax = _softmax_is_missing(rows, original.last_op, activation)
    if names is not None and len(names) != rows.shape[1]:
        raise LabelsError(
            f'{len(names)} labels, but {source} has {rows.shape[1]} classes: give one name a '
            'line for each class')
    spec = ModelSpec(
        height=rule.crop_height, width=rule.crop_width,
        labels=names or default_labels(rows.shape[1]), resize=rule,
        precision=original.precision, architecture=source.stem, source=source.name,
        source_sha256=file_sha256(source), tool_version=__version__)
    reference.softmax = softmax
    grafted = _grafted(original, spec, normalisation, softmax, reference.output_rank == 2)
    difference = _write(grafted, spec, original, reference, out)
    return PrepareReport(
        out, spec, original.layout, normalisation.describe(), 'softmax' if softmax else 'none',
        original.batch, difference, BOUNDS[spec.precision], file_sha256(out),
        out.stat().st_size, (perf_counter_ns() - start_ns) / 1e9)


class _Reference:
    """The original model behind a normalisation in NumPy; gives (N, C) for uint8 frames."""

    def __init__(self, path: Path, source: SourceModel, normalisation: Normalisation) -> None:
        self._runner = OnnxRunner(path, str(path))
        self._source = source
        self._normalisation = normalisation
        self.softmax = False
        self.output_rank = 0

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        x = self._normalisation.apply(frames)
        if self._source.layout == 'nhwc':
            x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        step = self._source.batch or len(x)
        rows = np.concatenate([
            self._rows(x[start:start + step], step) for start in range(0, len(x), step)])
        if not self.softmax:
            return rows
        powers = np.exp(rows - rows.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def _rows(self, x: NDArray[np.float32], step: int) -> NDArray[np.float32]:
        # A model of a fixed batch gets its fill; the rows of the filling are dropped.
        full = np.concatenate([x, np.repeat(x[-1:], step - len(x), axis=0)])
        dtype = np.float16 if self._source.input_precision == 'fp16' else np.float32
        result, = self._runner.run(
            {self._source.input_name: full.astype(dtype)}, [self._source.output_name])
        if result.size % step or result.shape[:1] != (step,) or result.size < 2 * step:
            raise ModelError(
                f'output {self._source.output_name!r} has the shape {result.shape} for a batch '
                f'of {step}: a classifier has one row of at least two classes for each picture')
        self.output_rank = result.ndim
        return result.reshape(step, -1)[:len(x)].astype(np.float32)


def _refuse_deployable(model: onnx.ModelProto, path: Path) -> None:
    try:
        spec_of(model)
    except ModelError:
        # What this command is for.
        return
    raise UsageError(f'{path} is deployable already: use it as it is')


def _resize_rule(
        source: SourceModel, resize: Optional[Union[int, str]], crop: Optional[int],
        interpolation: str) -> ResizeRule:
    asked = _DEFAULT_CROP if crop is None else crop
    height, width = source.height or asked, source.width or asked
    if crop is not None and (height, width) != (crop, crop):
        raise UsageError(
            f'the model takes {height}x{width}, --crop {crop} was asked for: leave --crop away')
    if resize == STRETCH:
        return ResizeRule(None, height, width, interpolation)
    if resize is None:
        return ResizeRule(
            round(max(height, width) * _RESIZE_TO_CROP), height, width, interpolation)
    return ResizeRule(int(resize), height, width, interpolation)


def _softmax_is_missing(rows: NDArray[np.float32], last_op: str, activation: str) -> bool:
    """Decide whether logits came out, by their values rather than by what the graph says."""
    if not np.isfinite(rows).all():
        raise ModelError(
            'the model returns NaN or infinity on synthetic pictures: check --mean, --std and '
            '--scale')
    are_probabilities = bool(
        (rows >= -1e-6).all() and np.abs(rows.sum(axis=1) - 1).max() < 1e-2)
    if activation == 'softmax' and are_probabilities:
        raise UsageError(
            'the output is probabilities already, a second softmax would flatten them: '
            'pass --activation none')
    if activation == 'none' and not are_probabilities:
        raise UsageError(
            f'the rows of the output sum to {rows.sum(axis=1).min():.3g} to '
            f'{rows.sum(axis=1).max():.3g}, not to 1: pass --activation softmax if they are '
            'logits')
    if activation == 'auto' and not are_probabilities and last_op in ('Sigmoid', 'Softmax'):
        raise UsageError(
            f'the model ends in {last_op} but its rows do not sum to 1, so it does not choose '
            'one class of all: pass --activation softmax to put one behind it nevertheless, or '
            'export the model without it')
    return not are_probabilities


def _grafted(
        source: SourceModel, spec: ModelSpec, normalisation: Normalisation,
        softmax: bool, flat: bool) -> onnx.ModelProto:
    """Return the deployable model, without metadata; `flat` if the output has two sides."""
    nchw = (3, spec.height, spec.width)
    model = source.model
    set_input_shape(model, nchw if source.layout == 'nchw' else (spec.height, spec.width, 3))
    model = simplify(model)
    free_batch(model, source.batch)
    move_pairs_off_clips(model)
    head, tail = GraphBuilder(source.input_precision), GraphBuilder('fp32')
    own = {INPUT_NAME, OUTPUT_NAME, 'images_float', 'images_nchw', 'normalised', 'logits_2d',
           'normalised.weight', 'normalised.bias', 'logits_float', 'normalised_nhwc'}
    names = {value.name for value in (*model.graph.input, *model.graph.initializer)}
    names.update(name for node in model.graph.node for name in (node.name, *node.output))
    if own & names:
        model = onnx.compose.add_prefix(model, 'source/')
    graph = model.graph
    x = add_input_end(head, normalisation, 'normalised')
    _join_input(graph, head, x, source.layout)
    result = graph.output[0].name
    if not flat:
        result = tail.node('Flatten', 'logits_2d', result, axis=1)
    add_output_end(tail, result, source.output_type, softmax)
    nodes = [*head.nodes, *graph.node, *tail.nodes]
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(head.constants)
    graph.input.append(
        tensor(INPUT_NAME, TensorProto.UINT8, (BATCH, spec.height, spec.width, 3)))
    graph.output.append(tensor(OUTPUT_NAME, TensorProto.FLOAT, (BATCH, spec.num_classes)))
    return model


def _join_input(graph: onnx.GraphProto, head: GraphBuilder, x: str, layout: str) -> None:
    """Feed the graph's input from `x`, (N, 3, H, W)."""
    name = graph.input[0].name
    users = [node for node in graph.node if name in node.input]
    if layout == 'nhwc':
        first = users[0] if len(users) == 1 else None
        if first is not None and first.op_type == 'Transpose' and list(
                first.attribute[0].ints) == [0, 3, 1, 2]:
            # There and back again: leave both transposes out.
            graph.node.remove(first)
            name = first.output[0]
            users = [node for node in graph.node if name in node.input]
        else:
            x = head.node('Transpose', 'normalised_nhwc', x, perm=[0, 2, 3, 1])
    for node in users:
        for index, used in enumerate(node.input):
            if used == name:
                node.input[index] = x


def _write(
        model: onnx.ModelProto, spec: ModelSpec, source: SourceModel, reference: _Reference,
        out: Path) -> float:
    """Write and check; return the largest difference of a probability."""
    if opset_of(model) <= OPSET:
        # So that older runtimes read it; exporters write their newest.
        model.ir_version = IR_VERSION
    write_model_spec(model, spec)
    with whole_file(out) as temporary:
        onnx.save(model, str(temporary))
        try:
            return largest_difference(
                temporary, spec.architecture, spec.height, spec.width, reference,
                BOUNDS[spec.precision])
        except ModelError as error:
            if source.batch is None:
                raise
            raise ModelError(
                f'the model is bound to a batch of {source.batch} and could not be freed from '
                f'it ({error}): export it again with a dynamic batch') from error
