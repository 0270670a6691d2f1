"""What `train` and `prune` take: the options of a training, and of its pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

from resnet_trt_node.cli.arguments.shared import add_picture_memory, add_skip_bad
from resnet_trt_node.cli.support.parser import CommandParser
from resnet_trt_node.training.settings import AUTO_AUGMENTS, COMPILED, MIXES

IMAGE_SIZE = 224
VALIDATION_SHARE = 0.1
#: Option to its type, its word in the help, and its meaning.
_RECIPE: dict[str, tuple[type, str, str]] = {
    'image_size': (int, 'PIXELS', f"side length of the network's input; default: {IMAGE_SIZE}"),
    'lr': (
        float, 'RATE', 'peak learning rate; default: 0.1 for random weights, otherwise 0.01, '
        'per 256 pictures in a step'),
    'epochs': (int, 'N', 'number of epochs'),
    'batch_size': (int, 'N', 'pictures per step'),
    'weight_decay': (float, 'X', 'weight decay, not applied to norms and biases'),
    'label_smoothing': (float, 'SHARE', 'fraction of the target that is spread over all classes'),
    'min_scale': (
        float, 'SHARE', "minimum fraction of a picture's area in a random crop"),
    'colour': (float, 'SHARE', 'variation of brightness, contrast and saturation'),
    'ema': (
        float, 'DECAY',
        'decay of the exponential moving average of the weights, which becomes the result; 0 '
        'disables it'),
    'seed': (int, 'N', 'random seed for initial weights, order and augmentation'),
    'teacher_share': (float, 'SHARE', "weight of the teacher's outputs in the loss"),
    'temperature': (float, 'T', 'distillation temperature, which softens those outputs'),
}


def add_data(parser: CommandParser) -> None:
    """Add the options of pictures; like all of these, None where they are not given."""
    group = parser.add_argument_group('input')
    group.add_argument(
        '--validation', type=Path, metavar='DIR|ZIP',
        help='validation pictures, in class folders')
    group.add_argument(
        '--validation-split', type=float, metavar='SHARE',
        help='fraction of each class held out if there are no validation pictures; default: '
        f'{VALIDATION_SHARE}')
    add_skip_bad(parser, None)
    add_picture_memory(parser, None)


def add_recipe(group: Any, usual: Mapping[str, Any], longest_warmup: float) -> None:
    """
    Add the options of how a network is trained.

    :param group: of a parser.
    :param usual: settings by name that are taken where they are not given.
    :param longest_warmup: epochs.
    """
    group.add_argument(
        '--warmup-epochs', type=float, metavar='N',
        help='epochs until the peak learning rate; default: a tenth of --epochs, at most '
        f'{longest_warmup:g}')
    for name, (kind, word, meaning) in _RECIPE.items():
        taken = f'; default: {usual[name]}' if name in usual else ''
        group.add_argument(
            f'--{name.replace("_", "-")}', type=kind, metavar=word, help=meaning + taken)
    group.add_argument(
        '--no-flip', dest='flip', action='store_const', const=False,
        help='no mirroring, for example for traffic signs')
    group.add_argument(
        '--auto-augment', choices=AUTO_AUGMENTS,
        help='trivial: TrivialAugment, which rotates, shears, shifts or recolours each picture by '
        'a random amount; helps with few pictures')
    group.add_argument(
        '--mix', choices=tuple(MIXES),
        help='how pictures are mixed with each other; helps with few pictures')
    group.add_argument(
        '--teacher', type=Path, metavar='FILE',
        help='distil from another network: a checkpoint from `resnet_trt train` or '
        'examples/cifar10/teacher.py')


def add_machine(parser: CommandParser) -> None:
    """Add the options of where a network is trained."""
    group = parser.add_argument_group('hardware')
    group.add_argument(
        '--device', type=_device, metavar='NAME',
        help='index of the GPU, or auto, cuda, cuda:1 or cpu; default: auto')
    group.add_argument(
        '--threads', type=int, metavar='N',
        help='threads that decode pictures; 0 for one per core')
    group.add_argument(
        '--no-amp', dest='amp', action='store_const', const=False,
        help='use full instead of mixed precision on a GPU')
    group.add_argument(
        '--compile', nargs='?', const='kernels', choices=tuple(COMPILED),
        help='compile the network first, which takes a minute and is then faster on a GPU; graphs '
        'also uses CUDA graphs, which helps if the CPU is slower than the GPU')


def _device(text: str) -> str:
    """Return PyTorch's name of a device; the other commands know a GPU by its index alone."""
    return f'cuda:{text}' if text.isascii() and text.isdigit() else text
