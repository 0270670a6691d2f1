"""What `resnet_trt prune` takes."""

from __future__ import annotations

from pathlib import Path

from resnet_trt_node.cli.arguments.shared import add_json, add_output
from resnet_trt_node.cli.arguments.training import add_data, add_machine, add_recipe
from resnet_trt_node.cli.support.parser import CommandParser

EXAMPLES = (
    ('resnet_trt prune training/best.pth -o pruned.pth --finetune pictures/',
     'prune a checkpoint and fine-tune it to recover accuracy'),
    ('resnet_trt prune models/resnet50.onnx -o models/sparse.onnx',
     'prune a model without fine-tuning: accuracy drops'),
)
#: Of a fine-tuning, whatever the network was trained with.
USUAL = {'epochs': 10, 'batch_size': 64, 'seed': 0}
LONGEST_WARMUP = 1.0


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    group = parser.add_argument_group('model')
    group.add_argument(
        'model', type=Path, metavar='MODEL',
        help='checkpoint of a ResNet (.pth, .safetensors), from `resnet_trt train` or elsewhere, '
        'or a deployable fp32 or fp16 model (.onnx), which cannot be fine-tuned')
    group.add_argument(
        '--sparsity', default='2:4', metavar='N:M',
        help='sparsity pattern; the hardware supports only 2:4, two of every four weights')
    group.add_argument(
        '--fully-connected', action='store_true',
        help='also prune the fully connected classifier, which is small and affects accuracy')
    absent = 'write --finetune DIR with the pictures to train on'
    parser.absent.update({'--images': absent, '--data': absent})
    parser.add_argument_group('input').add_argument(
        '--finetune', type=Path, metavar='DIR',
        help='fine-tune on pictures in class folders, in a folder or zip file; without this, '
        'accuracy drops')
    add_data(parser)
    group = parser.add_argument_group(
        'fine-tuning', 'defaults are the settings stored in the checkpoint')
    add_recipe(group, USUAL, LONGEST_WARMUP)
    group.add_argument(
        '--run-dir', type=Path, metavar='DIR',
        help='folder for a checkpoint of each epoch, metrics and the learning curve')
    group.add_argument(
        '--resume', action='store_const', const=True,
        help='continue the run in --run-dir with the same options')
    add_machine(parser)
    add_output(parser, 'OUT', 'output file, of the same type as MODEL', required=True)
    add_json(parser)
