"""What `resnet_trt export` takes."""

from __future__ import annotations

from pathlib import Path

from resnet_trt_node.cli.arguments.shared import (
    add_class_names, add_json, add_output, onnx_file)
from resnet_trt_node.cli.support.parser import CommandParser
from resnet_trt_node.training.checkpoints.published import RECIPES
from resnet_trt_node.training.networks.architectures import ARCHITECTURES, DEFAULT_ARCHITECTURE

EXAMPLES = (
    ('resnet_trt export -o models/resnet50.onnx', 'ResNet-50 with its best published weights'),
    ('resnet_trt export --weights training/best.pth -o models/mine.onnx',
     'what `resnet_trt train` made'),
    ('resnet_trt export --precision fp16 -o models/resnet50_fp16.onnx',
     'half of the size, for GPUs'),
)


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    parser.surplus = 'write --arch NAME for a network, -o FILE for what is written'
    group = parser.add_argument_group('network')
    group.add_argument(
        '--arch', choices=ARCHITECTURES,
        help='network; not given: that of a checkpoint of `resnet_trt train`, else '
        f'{DEFAULT_ARCHITECTURE}')
    group.add_argument(
        '--weights', metavar='WEIGHTS',
        help=f'{", ".join(RECIPES)} (downloaded once, checked), random, a checkpoint of '
        '`resnet_trt train`, or the file of a PyTorch state dict; not given: the better published '
        'ones, v2, for resnet18, resnet34 and resnet152 v1')
    group.add_argument(
        '--num-classes', type=int, metavar='C',
        help='number of classes; not given: that of the labels or the weights')
    group.add_argument('--seed', type=int, default=0, help='seed of random weights')
    group.add_argument(
        '--cache', type=Path, metavar='DIR',
        help='folder of downloads; not given: $RESNET_TRT_CACHE, or the XDG cache')
    add_class_names(
        parser, "not given: the checkpoint's, else the ImageNet names for 1000 classes, class_0, "
        'class_1, ... for any other number')
    group = parser.add_argument_group('model')
    group.add_argument(
        '--precision', default='fp32', choices=('fp32', 'fp16'), help='what the graph computes in')
    group.add_argument(
        '--image-size', type=int, metavar='PIXELS',
        help="sides of the model's input; not given: those of the checkpoint's training, else 224")
    group.add_argument(
        '--resize', type=int, metavar='PIXELS',
        help="short side before the centre crop; not given: the weights' own rule (256, for "
        'imagenet1k_v2 232, to 224 of input)')
    add_output(
        parser, 'OUT.onnx', 'file to write; not given: ARCH_PRECISION.onnx in the current folder',
        kind=onnx_file)
    add_json(parser)
