"""What `resnet_trt prune` takes."""

from __future__ import annotations

from pathlib import Path

from resnet_trt_node.cli.arguments.shared import add_json, add_output
from resnet_trt_node.cli.arguments.training import add_data, add_machine, add_recipe
from resnet_trt_node.cli.support.parser import CommandParser

EXAMPLES = (
    ('resnet_trt prune training/best.pth -o pruned.pth --finetune pictures/',
     'prune a checkpoint, and train on to get the accuracy back'),
    ('resnet_trt prune models/resnet50.onnx -o models/sparse.onnx',
     'a model, as it is: its accuracy falls'),
)
#: Of a fine-tuning, whatever the network was trained with.
USUAL = {'epochs': 10, 'batch_size': 64, 'seed': 0}
LONGEST_WARMUP = 1.0


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    group = parser.add_argument_group('model')
    group.add_argument(
        'model', type=Path, metavar='MODEL',
        help='checkpoint (.pth) of `resnet_trt train` or of torchvision, or a deployable fp32 or '
        'fp16 model (.onnx), which cannot be fine-tuned')
    group.add_argument(
        '--sparsity', default='2:4', metavar='N:M',
        help='2:4, the pattern that the hardware computes with: two of every four weights')
    group.add_argument(
        '--fully-connected', action='store_true',
        help='prune the classifier as well; it is small, and decides between the classes')
    absent = 'write --finetune DIR with the pictures to train on'
    parser.absent.update({'--images': absent, '--data': absent})
    parser.add_argument_group('input').add_argument(
        '--finetune', type=Path, metavar='DIR',
        help='train on with the pictures of a folder or zip of class folders; without it '
        'accuracy is lost')
    add_data(parser)
    group = parser.add_argument_group(
        'fine-tuning', 'what is not given is as the checkpoint says it was trained')
    add_recipe(group, USUAL, LONGEST_WARMUP)
    group.add_argument(
        '--run-dir', type=Path, metavar='DIR',
        help='keep a checkpoint of each epoch, metrics and the learning curve there')
    group.add_argument(
        '--resume', action='store_const', const=True,
        help='continue what --run-dir has, with the same options')
    add_machine(parser)
    add_output(parser, 'OUT', 'file to write, of the same kind as MODEL', required=True)
    add_json(parser)
