"""What `resnet_trt export` takes."""

from __future__ import annotations

from pathlib import Path

from resnet_trt_node.cli.arguments.preprocessing import add_normalisation, resize_rule
from resnet_trt_node.cli.arguments.shared import (
    add_class_names, add_json, add_output, onnx_file)
from resnet_trt_node.cli.support.parser import CommandParser
from resnet_trt_node.contract.spec import INTERPOLATIONS
from resnet_trt_node.onnx_tools.choices import CHANNEL_ORDERS, STRETCH
from resnet_trt_node.training.checkpoints.published import RECIPES
from resnet_trt_node.training.networks.architectures import ARCHITECTURES, DEFAULT_ARCHITECTURE

EXAMPLES = (
    ('resnet_trt export -o models/resnet50.onnx', 'ResNet-50 with its best published weights'),
    ('resnet_trt export --weights training/best.pth -o models/mine.onnx',
     'a checkpoint from `resnet_trt train`'),
    ('resnet_trt export --weights theirs.pth --ema --mean .5 --std .5 -o mine.onnx',
     "another program's checkpoint: its averaged weights, its normalisation"),
    ('resnet_trt export --precision fp16 -o models/resnet50_fp16.onnx',
     'fp16 for GPUs, half the size'),
)


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    parser.surplus = 'write --arch NAME for the network, -o FILE for the output'
    group = parser.add_argument_group('network')
    group.add_argument(
        '--arch', choices=ARCHITECTURES, metavar='NAME',
        help=f'network: {", ".join(ARCHITECTURES)}; default: that of the checkpoint, otherwise '
        f'{DEFAULT_ARCHITECTURE}')
    group.add_argument(
        '--weights', metavar='WEIGHTS',
        help=f'{", ".join(RECIPES)} (downloaded once and verified), random, a checkpoint of '
        "PyTorch or safetensors, or a folder as timm's with model.safetensors and config.json; "
        'default: the better published weights (v2; v1 for resnet18, resnet34 and resnet152)')
    ema = group.add_mutually_exclusive_group()
    ema.add_argument(
        '--ema', dest='averaged', action='store_const', const=True,
        help='take the averaged weights of a checkpoint (EMA, SWA)')
    ema.add_argument(
        '--no-ema', dest='averaged', action='store_const', const=False,
        help='take the weights that were not averaged; default: these, or the averaged ones if '
        'there are no others')
    group.add_argument(
        '--num-classes', type=int, metavar='C',
        help='number of classes; default: that of the labels or the weights')
    group.add_argument('--seed', type=int, default=0, help='seed for random weights')
    group.add_argument(
        '--cache', type=Path, metavar='DIR',
        help='folder for downloads; default: $RESNET_TRT_CACHE or the XDG cache')
    add_class_names(
        parser, "default: the checkpoint's, otherwise the ImageNet names for 1000 classes, or "
        'class_0, class_1, ...')
    _add_preprocessing(parser)
    group = parser.add_argument_group('model')
    group.add_argument(
        '--precision', default='fp32', choices=('fp32', 'fp16'),
        help='precision in which the graph computes')
    add_output(
        parser, 'OUT.onnx', 'output file; default: ARCH_PRECISION.onnx in the current folder',
        kind=onnx_file)
    add_json(parser)


def _add_preprocessing(parser: CommandParser) -> None:
    group = parser.add_argument_group('normalisation and resizing')
    group.add_argument(
        '--image-size', type=int, metavar='PIXELS',
        help="side length of the model's input; default: as in the checkpoint, otherwise 224")
    group.add_argument(
        '--resize', type=resize_rule, metavar='PIXELS',
        help=f'short side before the centre crop, or {STRETCH} to stretch pictures to the image '
        'size; default: as published with the weights (256, or 232 for imagenet1k_v2, for an '
        'input of 224)')
    group.add_argument(
        '--interpolation', choices=INTERPOLATIONS,
        help='interpolation for resizing; default: as published with the weights, otherwise '
        'bilinear')
    add_normalisation(
        group, "; default: as published with the weights, otherwise ImageNet's")
    group.add_argument(
        '--channel-order', default='rgb', choices=CHANNEL_ORDERS,
        help="channel order of the network's input; bgr if OpenCV read its pictures")
