"""What a classifier from elsewhere answers, and what has to be done to make it probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from resnet_trt_node.errors import ModelError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Nodes that give a number within 0 and 1 for each class by itself.
_SIGMOIDS = ('Sigmoid', 'HardSigmoid')
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Answers:
    """
    How the output of a classifier becomes probabilities.

    :param added: the activation that is put behind it, 'softmax' or 'sigmoid'; 'none' if it is
        probabilities already.
    :param binary: whether it is one number for each picture, the second of two classes.
    :param multi_label: whether a picture may show any number of its classes.
    """

    added: str
    binary: bool = False
    multi_label: bool = False

    @property
    def activation(self) -> str:
        """Return what makes the probabilities, one of `spec.ACTIVATIONS`."""
        return 'sigmoid' if self.binary or self.multi_label else 'softmax'

    def apply(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """
        Return the probabilities, as the reference for checks.

        :param rows: float32 (N, C), or (N, 1) of a binary model.
        :returns: float32 (N, C), or (N, 2) of a binary model.
        """
        if self.added == 'softmax':
            powers = np.exp(rows - rows.max(axis=1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=1, keepdims=True))
        exact = rows.astype(np.float64)
        if self.added == 'sigmoid':
            with np.errstate(over='ignore'):
                exact = 1 / (1 + np.exp(-exact))
        if self.binary:
            exact = np.concatenate([1 - exact, exact], axis=1)
        return exact.astype(np.float32)


def read_answers(rows: NDArray[np.float32], last_op: str, activation: str) -> Answers:
    """
    Decide what came out, by its values first and by the graph where they leave it open.

    :param rows: the reference's answers, float32 (N, C); C is 1 for a binary model.
    :param last_op: the operator that made them.
    :param activation: what the user declares them to be, one of `choices.ACTIVATIONS`.
    :raises ModelError: if they are not finite.
    :raises UsageError: if that does not fit them, or they are neither.
    """
    if not np.isfinite(rows).all():
        raise ModelError(
            'the model returns NaN or infinity on synthetic pictures: check --mean, --std and '
            '--scale')
    within = bool(rows.min() >= -_ROUNDING and rows.max() <= 1 + _ROUNDING)
    squashed = within and last_op in _SIGMOIDS
    if rows.shape[1] == 1:
        return _binary(rows, within, squashed, activation)
    sums_to_one = bool(
        rows.min() >= -_ROUNDING and np.abs(rows.sum(axis=1) - 1).max() < 1e-2)
    if activation == 'sigmoid':
        if within and not squashed and not sums_to_one:
            raise UsageError(
                f'the output is within 0 and 1 and comes from {last_op}, so that it may be '
                'probabilities already: export the model with Sigmoid as its last node, or '
                'without it')
        if sums_to_one and not squashed:
            raise UsageError(
                'the rows of the output sum to 1, so that they choose one class of all: pass '
                '--activation none')
        return Answers('none' if squashed else 'sigmoid', multi_label=True)
    if activation == 'softmax' and sums_to_one:
        raise UsageError(
            'the output is probabilities already, a second softmax would flatten them: '
            'pass --activation none')
    if activation in ('auto', 'none') and squashed and not sums_to_one:
        return Answers('none', multi_label=True)
    if activation == 'auto' and squashed:
        raise UsageError(
            'the model ends in a Sigmoid and its rows sum to 1 on synthetic pictures: pass '
            '--activation sigmoid if any number of classes may be right, none if one is')
    if activation == 'none' and not sums_to_one:
        raise UsageError(
            f'the rows of the output sum to {rows.sum(axis=1).min():.3g} to '
            f'{rows.sum(axis=1).max():.3g}, not to 1: pass --activation softmax if they are '
            'logits of which one class is right, sigmoid if any number of classes may be')
    if activation == 'auto' and not sums_to_one and last_op == 'Softmax':
        raise UsageError(
            'the model ends in Softmax but its rows do not sum to 1, so it does not choose '
            'one class of all: pass --activation softmax to put one behind it nevertheless, or '
            'export the model without it')
    return Answers('none' if sums_to_one else 'softmax')


def _binary(
        rows: NDArray[np.float32], within: bool, squashed: bool, activation: str) -> Answers:
    """Read one number for each picture."""
    if activation == 'softmax':
        raise UsageError(
            'the output is one number for each picture, whose softmax is always 1: pass '
            '--activation sigmoid')
    if activation == 'sigmoid':
        return Answers('none' if squashed else 'sigmoid', binary=True)
    if squashed or (within and activation == 'none'):
        return Answers('none', binary=True)
    if activation == 'none':
        raise UsageError(
            f'the output is one number for each picture, of {rows.min():.3g} to '
            f'{rows.max():.3g}, which is no probability: pass --activation sigmoid if it is a '
            'logit')
    raise UsageError(
        'the output is one number for each picture and the model does not end in a Sigmoid: pass '
        '--activation sigmoid if it is the logit of a binary model, none if it is a probability; '
        'a model of anything else, such as an age, is no classifier')
