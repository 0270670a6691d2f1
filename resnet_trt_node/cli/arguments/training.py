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
    'image_size': (int, 'PIXELS', f"sides of the network's input; not given: {IMAGE_SIZE}"),
    'lr': (
        float, 'RATE', 'highest learning rate; not given: for 256 pictures a step 0.1 from random '
        'weights and 0.01 from others, in proportion'),
    'epochs': (int, 'N', 'passes over the pictures'),
    'batch_size': (int, 'N', 'pictures a step'),
    'weight_decay': (float, 'X', 'pull of weights to zero, not of norms and biases'),
    'label_smoothing': (float, 'SHARE', 'share of a target that is spread over all classes'),
    'min_scale': (
        float, 'SHARE', "smallest share of a picture's area that a random crop shows"),
    'colour': (float, 'SHARE', 'by how much brightness, contrast and saturation vary'),
    'ema': (
        float, 'DECAY',
        "decay of the weights' moving average, which then is the result; 0 for none"),
    'seed': (int, 'N', 'of first weights, order and augmentation'),
    'teacher_share': (float, 'SHARE', "share of the loss that follows the teacher's answers"),
    'temperature': (float, 'T', 'softens these answers'),
}


def add_data(parser: CommandParser) -> None:
    """Add the options of pictures; like all of these, None where they are not given."""
    group = parser.add_argument_group('input')
    group.add_argument(
        '--validation', type=Path, metavar='DIR|ZIP',
        help='pictures to measure with, in class folders')
    group.add_argument(
        '--validation-split', type=float, metavar='SHARE',
        help='share of each class to measure with where there are no such pictures; not given: '
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
        help='epochs until the highest learning rate; not given: a tenth, at most '
        f'{longest_warmup:g}')
    for name, (kind, word, meaning) in _RECIPE.items():
        taken = f'; not given: {usual[name]}' if name in usual else ''
        group.add_argument(
            f'--{name.replace("_", "-")}', type=kind, metavar=word, help=meaning + taken)
    group.add_argument(
        '--no-flip', dest='flip', action='store_const', const=False,
        help='never mirror, such as for traffic signs')
    group.add_argument(
        '--auto-augment', choices=AUTO_AUGMENTS,
        help='trivial: TrivialAugment, which turns, shears, moves or recolours each picture by a '
        'random amount; helps where there are few')
    group.add_argument(
        '--mix', choices=tuple(MIXES),
        help='how pictures are mixed with each other; helps where there are few')
    group.add_argument(
        '--teacher', type=Path, metavar='FILE',
        help='learn the answers of another network too: a checkpoint of `resnet_trt train`, or '
        'what examples/cifar10/teacher.py writes')


def add_machine(parser: CommandParser) -> None:
    """Add the options of where a network is trained."""
    group = parser.add_argument_group('where it is trained')
    group.add_argument(
        '--device', type=_device, metavar='NAME',
        help='index of the GPU, or auto, cuda, cuda:1 or cpu; not given: auto')
    group.add_argument(
        '--threads', type=int, metavar='N', help='threads that decode pictures, 0 for one a core')
    group.add_argument(
        '--no-amp', dest='amp', action='store_const', const=False,
        help='full instead of mixed precision on a GPU')
    group.add_argument(
        '--compile', nargs='?', const='kernels', choices=tuple(COMPILED),
        help='compile the network first: a minute, then faster on a GPU; graphs replays the '
        'kernels from CUDA graphs, which helps where the processor is slower than the GPU')


def _device(text: str) -> str:
    """Return PyTorch's name of a device; the other commands know a GPU by its index alone."""
    return f'cuda:{text}' if text.isascii() and text.isdigit() else text
