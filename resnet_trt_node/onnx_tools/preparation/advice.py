"""The `resnet_trt prepare` command for a model from elsewhere, as far as its file tells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Tuple

import onnx
from resnet_trt_node.contract.model_file import load_with_outside_tensors
from resnet_trt_node.contract.onnx_graph import constants_in, names_read, tensor_info
from resnet_trt_node.errors import ModelError, UsageError
from resnet_trt_node.onnx_tools.normalisation import IMAGENET, Normalisation, pixels_of
from resnet_trt_node.onnx_tools.preparation.activation import read_answers
from resnet_trt_node.onnx_tools.preparation.prepare import DEFAULT_CROP
from resnet_trt_node.onnx_tools.preparation.reference import Reference
from resnet_trt_node.onnx_tools.preparation.source_model import read_source, SourceModel
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames

#: Nodes by which graphs normalise their input themselves.
_ARITHMETIC = ('Sub', 'Div', 'Mul', 'Add')
_IMAGENET_CLASSES = 1000
#: Of a grey network, for want of anything usual.
_GREY = Normalisation((0.5,), (0.5,))


@dataclass(frozen=True)
class PrepareAdvice:
    """
    How to make a model deployable.

    :param words: of the command line, none if `prepare` cannot do it.
    :param notes: what the file does not tell and the user has to, or why it cannot be done.
    """

    words: Tuple[str, ...]
    notes: Tuple[str, ...]


def advise(path: Path) -> PrepareAdvice:
    """
    Find the command that makes a model deployable.

    :param path: a model that is not.
    """
    words = ['resnet_trt', 'prepare', str(path), '-o', f'{path.stem}_deployable.onnx']
    notes: list[str] = []
    try:
        model = load_with_outside_tensors(path)
        source = _source(model, words, notes)
        _advise_normalisation(source, words, notes)
        side = source.height or source.width or DEFAULT_CROP
        if source.height is None or source.width is None:
            words += ['--crop', str(side)]
            notes.append(f'the model takes pictures of any size: {side} is a guess')
        height, width = source.height or side, source.width or side
        reference = Reference(
            source, str(path), pixels_of(source.channels) if source.takes_pixels else
            IMAGENET if source.channels == 3 else _GREY)
        rows = reference(sample_frames(2, height, width))
        if rows.shape[1] != _IMAGENET_CLASSES:
            words += ['--labels', 'labels.txt']
            notes.append(
                'labels.txt must be a file with the name of its class, or of both, the negative '
                'one first' if rows.shape[1] == 1 else
                f'labels.txt must be a file with its {rows.shape[1]} class names, one per line')
        if read_answers(rows, source.last_op, 'auto').multi_label:
            notes.append(
                'the model ends in a Sigmoid whose rows do not sum to 1: it is prepared as '
                'multi-label, any number of its classes may be right')
    except ModelError as error:
        return PrepareAdvice((), (f'`resnet_trt prepare` cannot fix it: {error}',))
    except UsageError as error:
        notes.append(str(error))
    return PrepareAdvice(tuple(words), tuple(notes))


def _source(model: onnx.ModelProto, words: list[str], notes: list[str]) -> SourceModel:
    outputs = list(model.graph.output)
    output = None
    if len(outputs) > 1:
        infos = [tensor_info(value) for value in outputs]
        output = next((info.name for info in infos if len(info.shape) == 2), infos[0].name)
        words += ['--output-name', output]
        names = ', '.join(info.name for info in infos)
        notes.append(f'the model has the outputs {names}: which has the classes is a guess')
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    try:
        return read_source(copy, 'auto', output)
    except UsageError:
        words += ['--layout', 'nchw']
        notes.append('of its sides two may be the channels: --layout nchw is a guess')
        return read_source(model, 'nchw', output)


def _advise_normalisation(source: SourceModel, words: list[str], notes: list[str]) -> None:
    if source.takes_pixels:
        return
    graph = source.model.graph
    constants = constants_in(graph)
    first = next((node for node in graph.node if source.input_name in names_read([node])), None)
    if first is not None and first.op_type in _ARITHMETIC and set(first.input) & set(constants):
        words += ['--mean', '0', '--std', '1', '--scale', '255']
        notes.append(f'the graph begins with {first.op_type}, so that it may normalise by itself: '
                     '--scale 1 if it takes pixels of 0 to 255')
        return
    usual = IMAGENET if source.channels == 3 else _GREY
    for option, values in (('--mean', usual.mean), ('--std', usual.std)):
        words += [option, *map(str, values)]
    what = "ImageNet's usual ones, which no file states" if source.channels == 3 else (
        'a guess, since no file states them')
    notes.append(f'mean and std are {what}: write those that the network was trained with')
