"""What a model file declares of itself, whoever read it, checked against the contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from resnet_trt_node.contract.spec import (
    activation_in, ACTIVATIONS, check_properties, class_names_in, CONTRACT_VERSION,
    HOW_TO_MAKE_ONE, INPUT_NAME, ModelSpec, OUTPUT_NAME, own_properties, precision_in, PRECISIONS,
    resize_in, ResizeRule)
from resnet_trt_node.errors import LabelsError, ModelError
from resnet_trt_node.text.printable import some

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

    def describe(self) -> str:
        """Return name, type and shape for a message."""
        return f'{self.name} {self.dtype} {self.shown_shape}'


@dataclass(frozen=True)
class Clause:
    """
    One clause of the contract, and whether a model keeps it.

    :param name: what it is about.
    :param wanted: what the contract says, in words.
    :param found: what the model has.
    :param error: what is wrong and what to do, None if it is kept, or was not checked.
    :param checked: whether it could be told; one that needs another may not be.
    """

    name: str
    wanted: str
    found: str
    error: Optional[ModelError] = None
    checked: bool = True

    @property
    def kept(self) -> bool:
        """Tell whether the model is known to keep it."""
        return self.checked and self.error is None


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
    for clause in declared_clauses(metadata, inputs, outputs):
        if clause.error is not None:
            raise clause.error
    return ModelSpec.from_metadata(metadata)


def declared_clauses(
        metadata: Mapping[str, str], inputs: Sequence[TensorInfo],
        outputs: Sequence[TensorInfo]) -> Iterator[Clause]:
    """
    Yield what the contract asks of a file's declarations, each clause checked by itself.

    What the metadata leave open, any number of an input's or output's sides fits.

    :param metadata: the file's properties.
    :param inputs: of its graph, constants left out.
    :param outputs: of its graph.
    """
    values = own_properties(metadata)
    error = _error_of(check_properties, values)
    found = f'contract version {values["contract"]}' if 'contract' in values else 'no contract'
    yield Clause(
        'metadata', f'contract version {CONTRACT_VERSION}, with labels, resize and precision',
        found, error)
    parts: List[Any] = []
    for name, wanted, read, shown in _PARTS:
        if error is not None:
            yield Clause(name, wanted, 'not in the metadata', checked=False)
            parts.append(None)
            continue
        part, wrong = _part_of(read, values)
        yield Clause(name, wanted, 'malformed' if wrong else shown(part), wrong)
        parts.append(part)
    rule, names, *_ = parts
    height, width = (rule.crop_height, rule.crop_width) if rule else (None, None)
    yield _tensor_clause('input', inputs, INPUT_NAME, 'uint8', ('N', height, width, 3), 'NHW')
    yield _tensor_clause(
        'output', outputs, OUTPUT_NAME, 'float32', ('N', None if names is None else len(names)),
        'NC')


#: Part of the metadata: name, what is wanted, reader, how it is shown.
_PARTS: Tuple[Tuple[str, str, Callable[[Mapping[str, str]], Any], Callable[[Any], str]], ...] = (
    ('resize', 'a rule that ends in the size of the input', resize_in, ResizeRule.describe),
    ('class names', 'one for each output, no two equal', class_names_in,
     lambda names: f'{len(names)}: {some(names, 3)}'),
    ('precision', ' or '.join(PRECISIONS), precision_in, str),
    ('activation', ' or '.join(ACTIVATIONS), activation_in,
     lambda found: f'{found[0]}, multi-label' if found[1] else found[0]),
)


def _error_of(check: Callable[..., object], *values: object) -> Optional[ModelError]:
    return _part_of(check, *values)[1]


def _part_of(read: Callable[..., Any], *values: object) -> Tuple[Any, Optional[ModelError]]:
    try:
        return read(*values), None
    except ModelError as error:
        return None, error


def _tensor_clause(
        what: str, found: Sequence[TensorInfo], name: str, dtype: str,
        sides: Tuple[Union[int, str, None], ...], letters: str) -> Clause:
    """Check the only input or output; a side of None may be any number."""
    wanted = TensorInfo(name, dtype, tuple(
        letters[place] if side is None else side for place, side in enumerate(sides)))
    return Clause(
        what, f'{wanted.describe()} alone, with a dynamic N',
        some([one.describe() for one in found], 3) or 'none',
        _error_of(_check, found, wanted, sides, what))


def _check(
        found: Sequence[TensorInfo], wanted: TensorInfo,
        sides: Tuple[Union[int, str, None], ...], what: str) -> None:
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
    fits = all(side in (None, other) for side, other in zip(sides[1:], one.shape[1:]))
    empty = any(isinstance(side, int) and side < 1 for side in one.shape)
    if dynamic != [isinstance(side, str) for side in sides] or empty or (
            what == 'input' and not fits):
        raise ModelError(
            f'not a deployable model: {what} {one.name!r} has the shape {one.shown_shape}, it '
            f'must be {wanted.shown_shape} with a dynamic N; {HOW_TO_MAKE_ONE}')
    if not fits:
        raise LabelsError(
            f'the model has {one.shape[1]} outputs and {wanted.shape[1]} class names: '
            'export it again with --labels FILE of one name a line')
