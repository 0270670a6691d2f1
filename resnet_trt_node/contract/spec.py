"""
The deployable model contract: what a model file promises, as frozen dataclasses.

A deployable model is one ONNX file with its own pre- and post-processing:

    input   images         uint8    (N, H, W, 3)  RGB, 0..255, N dynamic
    output  probabilities  float32  (N, C)        softmax, each row sums to 1; of a multi-label
                                                  model a sigmoid, each class by itself

and with metadata that carries the rest: class names, resize rule, precision, provenance. This
module turns that metadata into objects and back; reading it from a file is `model_file`.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
import json
from typing import Any, Iterator, Mapping, Optional, Tuple

from resnet_trt_node.errors import check_choice, LabelsError, ModelError
from resnet_trt_node.labels.names import check_labels, tell_apart

INPUT_NAME = 'images'
OUTPUT_NAME = 'probabilities'
CONTRACT_VERSION = '1'
#: Resampling filters; each is antialiased when it shrinks, as Pillow and torchvision define it.
INTERPOLATIONS = ('bilinear', 'bicubic', 'nearest')
#: What a graph computes in. int8 means Q/DQ nodes; the rest of such a graph may be fp32 or fp16.
PRECISIONS = ('fp32', 'fp16', 'int8')
#: What makes the probabilities.
ACTIVATIONS = ('softmax', 'sigmoid')

#: How to get a deployable model, for messages.
HOW_TO_MAKE_ONE = (
    'make one with `resnet_trt export`, or with `resnet_trt prepare` from any float classifier')
_PREFIX = 'resnet_trt.'
#: What a file need not say of itself.
_OPTIONAL = ('architecture', 'source', 'source_sha256', 'tool_version')
_BOOLEANS = {'true': True, 'false': False}


@dataclass(frozen=True)
class ResizeRule:
    """
    How a picture of any size becomes the model's input: torchvision's evaluation rule.

    :param short_side: the picture is scaled so that its shorter side has this many pixels, the
        longer one is int(short_side * long / short); None stretches it to the crop instead.
    :param crop_height: rows cut from the centre, the model's H.
    :param crop_width: columns cut from the centre, the model's W.
    :param interpolation: one of `INTERPOLATIONS`.
    :raises ModelError: for a rule that no picture can follow.
    """

    short_side: Optional[int]
    crop_height: int
    crop_width: int
    interpolation: str = 'bilinear'

    def __post_init__(self) -> None:
        """Refuse rules that no picture can follow."""
        check_choice('interpolation', self.interpolation, INTERPOLATIONS, ModelError)
        if self.crop_height < 1 or self.crop_width < 1:
            raise ModelError(
                f'crop of {self.crop_height}x{self.crop_width}: both must be positive')
        if self.short_side is not None and self.short_side < max(
                self.crop_height, self.crop_width):
            raise ModelError(
                f'the short side of {self.short_side} is smaller than the crop of '
                f'{self.crop_height}x{self.crop_width}: resize to at least the crop')

    def describe(self) -> str:
        """Return the rule in words, for logs and `resnet_trt inspect`."""
        crop = f'{self.crop_height}x{self.crop_width}'
        if self.short_side is None:
            return f'stretch to {crop}, {self.interpolation}'
        return f'short side to {self.short_side}, {self.interpolation}, centre crop {crop}'


@dataclass(frozen=True)
class ModelSpec:
    """
    What a deployable model promises.

    :param height: rows of the input, H.
    :param width: columns of the input, W.
    :param labels: the class names, C of them, in the order of the output.
    :param resize: how pictures are brought to H x W.
    :param precision: one of `PRECISIONS`.
    :param architecture: the network's name, such as 'resnet50'.
    :param source: where the weights come from, in words.
    :param source_sha256: hex digest of the source checkpoint, '' where there is none.
    :param tool_version: version of the package that wrote the file.
    :param activation: one of `ACTIVATIONS`, which makes the probabilities.
    :param multi_label: whether a picture may show any number of the classes, so that each has a
        probability of its own and a row need not sum to 1; only of a sigmoid. A binary model is
        a sigmoid of two classes that is none.
    :param normalisation: the formula in the graph, in words; '' where it was not kept.
    :param assumptions: what was assumed when the file was made, a sentence each.
    """

    height: int
    width: int
    # A thousand names would drown every traceback and log line that shows a spec.
    labels: Tuple[str, ...] = field(repr=False)
    resize: ResizeRule
    precision: str
    architecture: str = ''
    source: str = ''
    source_sha256: str = ''
    tool_version: str = ''
    activation: str = 'softmax'
    multi_label: bool = False
    normalisation: str = ''
    assumptions: Tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse contradictions."""
        check_choice('precision', self.precision, PRECISIONS, ModelError)
        _check_activation(self.activation, self.multi_label, len(self.labels))
        _check_class_names(self.labels)
        if (self.resize.crop_height, self.resize.crop_width) != (self.height, self.width):
            raise ModelError(
                f'the resize rule ends in {self.resize.crop_height}x{self.resize.crop_width}, '
                f'but the model takes {self.height}x{self.width}: export the model again')

    @property
    def num_classes(self) -> int:
        """Return C, the number of classes."""
        return len(self.labels)

    @property
    def frame_bytes(self) -> int:
        """Return the bytes of one input frame, H * W * 3."""
        return self.height * self.width * 3

    def to_metadata(self) -> dict[str, str]:
        """Return the spec as ONNX metadata properties, name to text."""
        resize = {
            'short_side': self.resize.short_side,
            'crop': [self.resize.crop_height, self.resize.crop_width],
            'interpolation': self.resize.interpolation,
        }
        values = {
            'contract': CONTRACT_VERSION,
            'labels': json.dumps(list(self.labels), ensure_ascii=False),
            'resize': json.dumps(resize),
            'precision': self.precision,
            'activation': self.activation,
            'multi_label': 'true' if self.multi_label else 'false',
            **{name: getattr(self, name) for name in _OPTIONAL},
        }
        if self.normalisation:
            values['normalisation'] = self.normalisation
        if self.assumptions:
            values['assumptions'] = json.dumps(self.assumptions, ensure_ascii=False)
        return {_PREFIX + name: value for name, value in values.items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> ModelSpec:
        """
        Read a spec back from ONNX metadata properties.

        :param metadata: every property of the file; those of other tools are ignored.
        :raises ModelError: if properties are missing, of a newer contract, or malformed.
        """
        values = own_properties(metadata)
        check_properties(values)
        rule = resize_in(values)
        activation, multi_label = activation_in(values)
        return cls(
            rule.crop_height, rule.crop_width, class_names_in(values), rule, values['precision'],
            activation=activation, multi_label=multi_label,
            **{name: values.get(name, '') for name in _OPTIONAL},
            normalisation=values.get('normalisation', ''), assumptions=_assumptions_in(values))


# Parts of the metadata, each with its rules; `ModelSpec.from_metadata` needs all of them kept.

def own_properties(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the properties of a file that are the contract's, without their prefix."""
    return {name[len(_PREFIX):]: value for name, value in metadata.items()
            if name.startswith(_PREFIX)}


def check_properties(values: Mapping[str, str]) -> None:
    """
    Check that the properties are there and of the contract's version.

    :param values: see `own_properties`.
    :raises ModelError: if not.
    """
    missing = {'contract', 'labels', 'resize', 'precision'} - values.keys()
    if missing:
        raise ModelError(
            f'not a deployable model, its metadata lacks {", ".join(sorted(missing))}: '
            f'{HOW_TO_MAKE_ONE}')
    if values['contract'] != CONTRACT_VERSION:
        raise ModelError(
            f'the model follows contract {values["contract"]!r}, this version reads '
            f'{CONTRACT_VERSION}: update resnet_trt_node or export the model again')


def resize_in(values: Mapping[str, str]) -> ResizeRule:
    """
    Return the resize rule of checked properties.

    :raises ModelError: if it is malformed, or none that a picture can follow.
    """
    with _malformed():
        resize: dict[str, Any] = json.loads(values['resize'])
        height, width = (int(side) for side in resize['crop'])
        short_side = resize['short_side']
        return ResizeRule(
            None if short_side is None else int(short_side), height, width,
            str(resize['interpolation']))


def class_names_in(values: Mapping[str, str]) -> Tuple[str, ...]:
    """
    Return the class names of checked properties, equal ones told apart.

    :raises ModelError: if they are malformed or not usable.
    """
    with _malformed():
        labels: list[str] = json.loads(values['labels'])
        # A bare string would pass for a list of its letters.
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise ValueError('the labels are no list of strings')
    names = tell_apart(labels)
    _check_class_names(names)
    return names


def _assumptions_in(values: Mapping[str, str]) -> Tuple[str, ...]:
    with _malformed():
        found = json.loads(values.get('assumptions', '[]'))
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise ValueError('the assumptions are no list of strings')
        return tuple(found)


def precision_in(values: Mapping[str, str]) -> str:
    """
    Return the precision of checked properties.

    :raises ModelError: if it is none of `PRECISIONS`.
    """
    check_choice('precision', values['precision'], PRECISIONS, ModelError)
    return values['precision']


def activation_in(values: Mapping[str, str]) -> Tuple[str, bool]:
    """
    Return what makes the probabilities of checked properties, and whether it is multi-label.

    A file that does not say so is of a softmax; a sigmoid is multi-label unless it says otherwise.

    :raises ModelError: if that is none of `ACTIVATIONS`, or contradicts itself.
    """
    activation = values.get('activation', 'softmax')
    text = values.get('multi_label', 'true' if activation == 'sigmoid' else 'false')
    check_choice('multi_label', text, tuple(_BOOLEANS), ModelError)
    _check_activation(activation, _BOOLEANS[text])
    return activation, _BOOLEANS[text]


def _check_activation(
        activation: str, multi_label: bool, classes: Optional[int] = None) -> None:
    check_choice('activation', activation, ACTIVATIONS, ModelError)
    if multi_label and activation == 'softmax':
        raise ModelError(
            'the metadata say softmax and multi-label, which contradict each other: prepare the '
            'model again, with --activation softmax or sigmoid')
    if activation == 'sigmoid' and not multi_label and classes not in (None, 2):
        raise ModelError(
            f'a binary model has two classes, this one has {classes}: prepare the model again, '
            'with --activation sigmoid')


def _check_class_names(labels: Tuple[str, ...]) -> None:
    if not labels:
        raise LabelsError('the model has no class names: export it again with --labels FILE')
    check_labels(labels, where='the class names of the model')


@contextmanager
def _malformed() -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ModelError(
            f'the metadata of the model is malformed ({error}): export it again') from error
