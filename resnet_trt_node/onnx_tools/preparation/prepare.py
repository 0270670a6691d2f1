"""Makes a float classifier from elsewhere deployable by pre- and postprocessing nodes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Optional, Sequence, Tuple, Union

import onnx
from onnx import TensorProto
from resnet_trt_node import __version__
from resnet_trt_node.contract.model_file import file_sha256, load_with_outside_tensors, spec_of
from resnet_trt_node.contract.onnx_graph import (
    names_of, names_read, opset_of, rename_readers, replace_all, subgraphs_of)
from resnet_trt_node.contract.spec import INPUT_NAME, ModelSpec, OUTPUT_NAME, ResizeRule
from resnet_trt_node.errors import check_choice, LabelsError, ModelError, UsageError
from resnet_trt_node.onnx_tools.choices import ACTIVATIONS, CHANNEL_ORDERS, STRETCH
from resnet_trt_node.onnx_tools.class_names import (
    binary_labels, given_labels, labels_for, labels_in, Say, silent)
from resnet_trt_node.onnx_tools.deployable import write_model, WrittenModel
from resnet_trt_node.onnx_tools.graph import BATCH, GraphBuilder, IR_VERSION, OPSET, tensor
from resnet_trt_node.onnx_tools.int8.qdq_clip import move_pairs_off_clips
from resnet_trt_node.onnx_tools.io_nodes import add_activation, add_preprocessing
from resnet_trt_node.onnx_tools.normalisation import (
    Normalisation, pick_normalisation, pixels_of)
from resnet_trt_node.onnx_tools.preparation.activation import Answers, read_answers
from resnet_trt_node.onnx_tools.preparation.reference import Reference
from resnet_trt_node.onnx_tools.preparation.source_model import (
    read_source, reads_as_float, SourceModel)
from resnet_trt_node.onnx_tools.simplify import free_batch, set_input_shape, simplify
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames

DEFAULT_CROP = 224
#: The short side in ImageNet's usual evaluation rule, for each pixel of the crop.
_RESIZE_TO_CROP = 256 / 224


@dataclass(frozen=True)
class PreparedModel(WrittenModel):
    """
    What was prepared, beside the file.

    :param layout: of the original input, 'nchw' or 'nhwc'.
    :param activation: 'softmax' or 'sigmoid' if one was added, 'none' if the output was
        probabilities.
    :param fixed_batch: the batch size that the original was bound to, None if it was dynamic.
    :param unused_inputs: inputs of the original that nothing reads; they were left out.
    :param binary: whether the original has one output, of which two classes were made.
    """

    layout: str
    activation: str
    fixed_batch: Optional[int]
    unused_inputs: Tuple[str, ...]
    binary: bool

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON; of the class names only their count."""
        return {**super().to_dict(), 'multi_label': self.spec.multi_label}


def prepare(
        source: Union[str, Path], out: Union[str, Path], *,
        mean: Optional[Sequence[float]] = None, std: Optional[Sequence[float]] = None,
        scale: Optional[float] = None,
        resize: Optional[Union[int, str]] = None, crop: Optional[int] = None,
        interpolation: str = 'bilinear',
        labels: Optional[Union[str, Path, Sequence[str]]] = None, layout: str = 'auto',
        channel_order: str = 'rgb', activation: str = 'auto',
        output: Optional[str] = None, say: Say = silent) -> PreparedModel:
    """
    Make a float classifier deployable.

    :param source: ONNX file of one float32 or float16 input, (N, 3, H, W) or (N, H, W, 3), or with
        one channel instead of three, and one logit or probability for each class, or a single
        one of a binary model; N may be fixed. Or of uint8 pixels, of which it makes what it
        needs by itself.
    :param out: the ONNX file to write; it appears complete and checked, or not at all.
    :param mean: as for `normalisation.pick_normalisation`; None only if the model takes uint8.
    :param std: likewise.
    :param scale: likewise.
    :param resize: short side before the centre crop, 'stretch' to stretch pictures to the crop;
        None is 256 / 224 of the crop.
    :param crop: H and W where the model leaves them open; None is the model's own, else 224.
    :param interpolation: one of `spec.INTERPOLATIONS`.
    :param labels: class names or a file of them; None takes those in the source's metadata, else
        as in `class_names.labels_for`.
    :param layout: one of `source_model.LAYOUTS`.
    :param channel_order: of the model's input, one of `CHANNEL_ORDERS`.
    :param activation: one of `ACTIVATIONS`, see `activation.read_answers`; 'auto' looks whether
        the rows of the output sum to 1, else whether the model ends in a Sigmoid.
    :param output: which output to take where there are several.
    :param say: told in a line what was assumed of the class names.
    :raises UsageError: for arguments that cannot be used, or where the model leaves a choice.
    :raises LabelsError: if the number of labels differs from the classes.
    :raises ModelError: if the model cannot be read or made deployable.
    """
    start_ns = perf_counter_ns()
    source, out = Path(source), Path(out)
    check_choice('channel order', channel_order, CHANNEL_ORDERS)
    check_choice('activation', activation, ACTIVATIONS)
    model = load_with_outside_tensors(source)
    # What has no contract is what this command is for.
    with suppress(ModelError):
        spec_of(model)
        raise UsageError(f'{source} is already deployable: use it as it is')
    names = given_labels(labels, say)
    original = read_source(model, layout, output)
    normalisation = _normalisation(original, mean, std, scale, channel_order == 'bgr')
    rule = _resize_rule(original, resize, crop, interpolation)
    reference = Reference(original, str(source), normalisation)
    rows = reference(sample_frames(3, rule.crop_height, rule.crop_width))
    answers = read_answers(rows, original.last_op, activation)
    if names is None:
        names = _labels_in(model, source.name, 1 if answers.binary else rows.shape[1], say)
    spec = ModelSpec(
        height=rule.crop_height, width=rule.crop_width,
        labels=binary_labels(names, str(source), say) if answers.binary else labels_for(
            names, rows.shape[1], str(source), say), resize=rule,
        precision=original.precision, architecture=source.stem, source=source.name,
        source_sha256=file_sha256(source), tool_version=__version__,
        activation=answers.activation, multi_label=answers.multi_label,
        normalisation=normalisation.describe())
    reference.answers = answers
    prepared = _with_io_nodes(original, spec, normalisation, answers, reference.output_rank == 2)
    difference = _write(prepared, spec, original, reference, out)
    return PreparedModel(
        out, spec, difference, file_sha256(out), out.stat().st_size,
        (perf_counter_ns() - start_ns) / 1e9, original.layout,
        answers.added, original.batch, original.unused_inputs, answers.binary)


def _normalisation(
        source: SourceModel, mean: Optional[Sequence[float]], std: Optional[Sequence[float]],
        scale: Optional[float], bgr: bool) -> Normalisation:
    """Return what a model's input is to be."""
    if source.takes_pixels:
        if any(mean or ()) or any(value != 1 for value in std or ()) or scale == 255:
            raise UsageError(
                f'input {source.input_name!r} takes uint8 pixels, so the model normalises them '
                'itself: leave out --mean, --std and --scale')
        return pixels_of(source.channels, bgr)
    if mean is None or std is None:
        raise UsageError(
            'pass --mean and --std that the network was trained with; only a model of uint8 '
            'pixels needs none')
    return pick_normalisation(mean, std, scale, bgr, source.channels)


def _labels_in(
        model: onnx.ModelProto, what: str, count: int, say: Say) -> Optional[tuple[str, ...]]:
    """Return the class names in a model's metadata; None if there are none that fit."""
    said: list[str] = []
    try:
        names = labels_in(
            {one.key: one.value for one in model.metadata_props}, what, said.append)
    except LabelsError as error:
        say(f'what looks like class names was left out: {error}')
        return None
    # One more is a background, or the negative class of a binary model.
    if names is not None and len(names) not in (count, count + 1):
        say(f'{said[-1]}: {len(names)} names were left out, since there are {count} classes')
        return None
    for line in said:
        say(line)
    return names


def _resize_rule(
        source: SourceModel, resize: Optional[Union[int, str]], crop: Optional[int],
        interpolation: str) -> ResizeRule:
    asked = DEFAULT_CROP if crop is None else crop
    height, width = source.height or asked, source.width or asked
    if crop is not None and (height, width) != (crop, crop):
        raise UsageError(
            f'the model takes {height}x{width}, --crop {crop} was asked for: leave --crop away')
    if resize is None:
        resize = round(max(height, width) * _RESIZE_TO_CROP)
    short_side = None if resize == STRETCH else int(resize)
    return ResizeRule(short_side, height, width, interpolation)


def _with_io_nodes(
        source: SourceModel, spec: ModelSpec, normalisation: Normalisation,
        answers: Answers, flat: bool) -> onnx.ModelProto:
    """Return the deployable model, without metadata; `flat` if the output has two sides."""
    model, sides, channels = source.model, (spec.height, spec.width), (source.channels,)
    set_input_shape(
        model, channels + sides if source.layout == 'nchw' else sides + channels)
    model = simplify(model)
    free_batch(model, source.batch)
    move_pairs_off_clips(model)
    before, after = GraphBuilder(source.input_precision), GraphBuilder('fp32')
    own = {INPUT_NAME, OUTPUT_NAME, 'images_float', 'images_nchw', 'normalised', 'logits_2d',
           'normalised.weight', 'normalised.bias', 'logits_float', 'normalised_nhwc', 'both',
           'images_uint8', 'both_signs', 'both.factors', 'both.first'}
    if own & set(names_of(model)) or any(
            str(name).startswith('luminance') for name in names_of(model)):
        model = onnx.compose.add_prefix(model, 'source/')
    graph = model.graph
    x = add_preprocessing(
        before, normalisation, 'normalised', opset_of(model), source.takes_pixels)
    _join_input(graph, before, x, source)
    result = graph.output[0].name
    if not flat:
        result = after.node('Flatten', 'logits_2d', result, axis=1)
    add_activation(after, result, source.output_type, answers)
    replace_all(graph.node, [*before.nodes, *graph.node, *after.nodes])
    graph.initializer.extend([*before.constants, *after.constants])
    replace_all(graph.input, [
        tensor(INPUT_NAME, TensorProto.UINT8, (BATCH, spec.height, spec.width, 3))])
    replace_all(graph.output, [
        tensor(OUTPUT_NAME, TensorProto.FLOAT, (BATCH, spec.num_classes))])
    del graph.value_info[:]
    return model


def _join_input(
        graph: onnx.GraphProto, before: GraphBuilder, x: str, source: SourceModel) -> None:
    """Feed the graph's input from `x`, (N, 3, H, W) or (N, 1, H, W)."""
    name = graph.input[0].name
    users = [node for node in graph.node if name in names_read([node])]
    as_pixels = source.takes_pixels and not reads_as_float(graph, name)
    if source.layout == 'nhwc':
        first = users[0] if len(users) == 1 and not subgraphs_of(users[0]) else None
        if first is not None and first.op_type == 'Transpose' and [0, 3, 1, 2] in [
                list(one.ints) for one in first.attribute]:
            # There and back again: leave both transposes out.
            graph.node.remove(first)
            name = first.output[0]
        else:
            x = before.node('Transpose', 'normalised_nhwc', x, perm=[0, 2, 3, 1])
    if as_pixels:
        x = before.node('Cast', 'images_uint8', x, to=TensorProto.UINT8)
    rename_readers(graph.node, name, x)


def _write(
        model: onnx.ModelProto, spec: ModelSpec, source: SourceModel, reference: Reference,
        out: Path) -> float:
    """Write and check; return the largest difference of a probability."""
    if opset_of(model) <= OPSET:
        # So that older runtimes read it; exporters write their newest.
        model.ir_version = IR_VERSION
    try:
        return write_model(model, spec, out, f'what was made of {spec.source}', reference)
    except ModelError as error:
        if source.batch is None:
            raise
        raise ModelError(
            f'the model is bound to a batch of {source.batch} and could not be freed from '
            f'it ({error}): export it again with a dynamic batch') from error
