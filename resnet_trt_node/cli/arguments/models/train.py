"""What `resnet_trt train` takes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from resnet_trt_node.cli.arguments.shared import add_json, add_output, IMAGES_SURPLUS
from resnet_trt_node.cli.arguments.training import add_data, add_machine, add_recipe
from resnet_trt_node.cli.support.parser import CommandParser
from resnet_trt_node.training.checkpoints.published import RECIPES
from resnet_trt_node.training.networks.architectures import ARCHITECTURES, DEFAULT_ARCHITECTURE
from resnet_trt_node.training.settings import TrainingSettings

EXAMPLES = (
    ('resnet_trt train --images pictures/', 'fine-tune on a folder with one subfolder per class'),
    ('resnet_trt train --images mine.zip --arch resnet18 -o runs/first',
     'a smaller network, from a zip file'),
    ('resnet_trt train --images mine.zip --arch resnet18 -o runs/first --resume',
     'continue an interrupted run'),
)
#: Settings that are taken where they are not given; lr and warm-up depend on others.
USUAL = {name: value for name, value in asdict(TrainingSettings()).items()
         if name not in ('lr', 'warmup_epochs')}
LONGEST_WARMUP = 5.0


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    parser.surplus = IMAGES_SURPLUS
    parser.add_argument_group('input').add_argument(
        '--images', type=Path, required=True, metavar='DIR|ZIP',
        help='pictures in one folder per class, optionally split into train/ and val/ or test/')
    add_data(parser)
    group = parser.add_argument_group('network')
    group.add_argument(
        '--arch', choices=ARCHITECTURES, metavar='NAME',
        help=f'network: {", ".join(ARCHITECTURES)}; default: that of a checkpoint in --weights, '
        f'otherwise {DEFAULT_ARCHITECTURE}')
    group.add_argument(
        '--weights', metavar='WEIGHTS',
        help=f'{", ".join(RECIPES)} (downloaded once and verified), random, or a checkpoint file; '
        'default: the better published weights')
    group.add_argument(
        '--cache', type=Path, metavar='DIR',
        help='folder for downloads; default: $RESNET_TRT_CACHE or the XDG cache')
    recipe = parser.add_argument_group('training')
    add_recipe(recipe, USUAL, LONGEST_WARMUP)
    recipe.add_argument(
        '--resize', type=int, metavar='PIXELS',
        help='short side before the centre crop in validation and deployment; default: 256/224 of '
        '--image-size, or --image-size if all pictures are smaller')
    add_machine(parser)
    add_output(
        parser, 'DIR', 'folder for checkpoints, metrics and the learning curve',
        default=Path('training'))
    group = parser.add_argument_group('output')
    group.add_argument(
        '--save-every', type=int, default=1, metavar='N', help='epochs between checkpoints')
    group.add_argument('--resume', action='store_true', help='continue the run in --output')
    add_json(parser, 'print the result as JSON')
