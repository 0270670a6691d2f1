"""What a training does, as one frozen dataclass that a checkpoint keeps."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Optional

from resnet_trt_node.errors import UsageError
from resnet_trt_node.training.networks.architectures import MIN_IMAGE_SIZE

#: How pictures of a batch are mixed with each other, and with which Beta(alpha, alpha).
MIXES = {'none': 0.0, 'mixup': 0.2, 'cutmix': 1.0}
#: How the network may be compiled, with PyTorch's name of it. A step of ResNet-50 is hundreds of
#: kernels; a processor that launches them slower than the GPU computes them gains by graphs.
COMPILED = {'no': None, 'kernels': None, 'graphs': 'reduce-overhead'}
#: Policies that choose how each picture is altered beyond crops, flips and colours.
AUTO_AUGMENTS = ('none', 'trivial')
#: Learning rates for 256 pictures a batch, which are usual for SGD with momentum.
_LR_FROM_RANDOM = 0.1
_LR_FINE_TUNING = 0.01


@dataclass(frozen=True)
class TrainingSettings:
    """
    What decides the result of a training, together with the data and the first weights.

    :param epochs: passes over the pictures.
    :param batch_size: pictures a step.
    :param lr: the highest learning rate, reached after the warm-up.
    :param warmup_epochs: over which the learning rate rises linearly; may be a fraction.
    :param momentum: of SGD, Nesterov's kind.
    :param weight_decay: of convolutions and the classifier; norms and biases have none.
    :param label_smoothing: share of a target that is spread over all classes.
    :param min_scale: smallest share of a picture's area that a random crop shows; 1 crops nothing
        of a square picture.
    :param flip: whether half of the pictures are mirrored.
    :param colour: by what share brightness, contrast and saturation vary either way.
    :param auto_augment: one of `AUTO_AUGMENTS`.
    :param mix: one of `MIXES`.
    :param teacher: digest of the teacher's file, empty where there is none.
    :param teacher_share: share of the loss that follows the teacher, the rest the classes.
    :param temperature: softens the answers of both, see `teacher.distillation_loss`.
    :param ema: decay a step of the weights' moving average, which then is the result; 0 for none.
    :param seed: of first weights, order and augmentation.
    :raises UsageError: for a number that cannot be used.
    """

    epochs: int = 30
    batch_size: int = 64
    lr: float = 0.01
    warmup_epochs: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    min_scale: float = 0.25
    flip: bool = True
    colour: float = 0.0
    auto_augment: str = 'none'
    mix: str = 'none'
    teacher: str = ''
    teacher_share: float = 0.9
    temperature: float = 2.0
    ema: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be used, by the option's name."""
        _check('--epochs', self.epochs, self.epochs >= 1, 'at least 1')
        _check('--batch-size', self.batch_size, self.batch_size >= 2,
               'at least 2: batch norm needs several pictures')
        _check('--lr', self.lr, 0 < self.lr < 1000, 'a positive number')
        _check('--warmup-epochs', self.warmup_epochs, 0 <= self.warmup_epochs <= self.epochs,
               f'0 to the {self.epochs} epochs')
        _check('momentum', self.momentum, 0 < self.momentum < 1, 'above 0 and below 1')
        _check('--weight-decay', self.weight_decay, 0 <= self.weight_decay < 1, '0 to below 1')
        _check('--label-smoothing', self.label_smoothing, 0 <= self.label_smoothing < 1,
               '0 to below 1')
        _check('--min-scale', self.min_scale, 0 < self.min_scale <= 1, 'above 0, at most 1')
        _check('--colour', self.colour, 0 <= self.colour < 1, '0 to below 1')
        _check('--auto-augment', self.auto_augment, self.auto_augment in AUTO_AUGMENTS,
               f'one of {", ".join(AUTO_AUGMENTS)}')
        _check('--mix', self.mix, self.mix in MIXES, f'one of {", ".join(MIXES)}')
        _check('--teacher-share', self.teacher_share, 0 < self.teacher_share <= 1,
               'above 0, at most 1')
        _check('--temperature', self.temperature, 0 < self.temperature <= 100,
               'above 0, at most 100')
        _check('--ema', self.ema, 0 <= self.ema < 1, '0 to below 1')
        _check('--seed', self.seed, 0 <= self.seed < 2**32, '0 to 4294967295')

    def differences(self, other: dict[str, Any]) -> list[str]:
        """
        Compare with the settings of another run.

        :param other: its fields by name; what an older one lacks had the default then.
        :returns: 'name: theirs, now ours' for each that differs.
        """
        return [
            f'{one.name}: {theirs}, now {getattr(self, one.name)}' for one in fields(self)
            if (theirs := other.get(one.name, one.default)) != getattr(self, one.name)]


def default_lr(batch_size: int, from_random: bool) -> float:
    """Return the usual highest learning rate, which grows with the batch."""
    return (_LR_FROM_RANDOM if from_random else _LR_FINE_TUNING) * batch_size / 256


def check_image_size(image_size: int, resize: Optional[int]) -> None:
    """
    Refuse sizes that cannot be trained.

    :param image_size: H and W of the input.
    :param resize: short side before the crop, None where it was not given.
    :raises UsageError: if the network's stages cannot halve it, or the crop is larger.
    """
    if not MIN_IMAGE_SIZE <= image_size <= 4096:
        raise UsageError(f'--image-size {image_size}: choose {MIN_IMAGE_SIZE} to 4096 pixels')
    if resize is not None and resize < image_size:
        raise UsageError(
            f'--resize {resize} is smaller than --image-size {image_size}, which is cut from it: '
            'choose at least that')


def _check(name: str, value: object, good: bool, choose: str) -> None:
    if not good:
        raise UsageError(f'{name} {value}: choose {choose}')
