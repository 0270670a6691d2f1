"""`resnet_trt export`: writes a ResNet as a deployable ONNX model."""

from __future__ import annotations

import argparse
from pathlib import Path

from resnet_trt_node.atomic_file import check_place
from resnet_trt_node.cli.support.console import print_json, write
from resnet_trt_node.training.checkpoints.weights import (
    choose_weights, DEFAULT_ARCHITECTURE, RECIPES)
from resnet_trt_node.training.export import export_resnet
from resnet_trt_node.training.networks.resnet import ARCHITECTURES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        '--arch', choices=ARCHITECTURES,
        help='network; not given: that of a checkpoint of `resnet_trt train`, else '
        f'{DEFAULT_ARCHITECTURE}')
    parser.add_argument(
        '--weights', metavar='WEIGHTS',
        help=f'{", ".join(RECIPES)} (downloaded once, checked), random, a checkpoint of '
        '`resnet_trt train`, or the file of a PyTorch state dict; not given: the better published '
        'ones, v2, for resnet18, resnet34 and resnet152 v1')
    parser.add_argument(
        '--num-classes', type=int, metavar='C',
        help='number of classes; not given: that of the labels or the weights')
    parser.add_argument(
        '--labels', type=Path, metavar='FILE',
        help='class names, one a line in the order of the output, or numbered from 0 in a text, '
        "CSV, JSON or YAML file; not given: the checkpoint's, "
        'else the ImageNet names for 1000 classes, class_0, class_1, ... for any other number')
    parser.add_argument(
        '--precision', default='fp32', choices=('fp32', 'fp16'), help='what the graph computes in')
    parser.add_argument(
        '--image-size', type=int, metavar='PIXELS',
        help="sides of the model's input; not given: those of the checkpoint's training, else 224")
    parser.add_argument(
        '--resize', type=int, metavar='PIXELS',
        help="short side before the centre crop; not given: the weights' own rule (256, for "
        'imagenet1k_v2 232, to 224 of input)')
    parser.add_argument('--seed', type=int, default=0, help='seed of random weights')
    parser.add_argument(
        '--cache', type=Path, metavar='DIR',
        help='folder of downloads; not given: $RESNET_TRT_CACHE, or the XDG cache')
    parser.add_argument(
        '-o', '--output', type=Path, metavar='OUT.onnx',
        help='file to write; not given: ARCH_PRECISION.onnx in the current folder')
    parser.add_argument('--json', action='store_true', help='print the report as JSON')


def run(arguments: argparse.Namespace) -> int:
    """Export the model and print the report."""
    arch, weights, _ = choose_weights(arguments.arch, arguments.weights)
    out = arguments.output or Path(f'{arch}_{arguments.precision}.onnx')
    check_place(out, weights)
    report = export_resnet(
        arch, weights, out, num_classes=arguments.num_classes, labels=arguments.labels,
        precision=arguments.precision, seed=arguments.seed,
        image_size=arguments.image_size, resize=arguments.resize, cache=arguments.cache)
    if arguments.json:
        print_json('export', report.to_dict())
        return 0
    spec = report.spec
    write(f'{report.path}: {spec.architecture} {spec.precision}, {spec.source}, '
          f'{report.size_bytes / 1e6:.1f} MB, {report.seconds:.1f} s')
    write(f'  input    uint8 (N, {spec.height}, {spec.width}, 3) RGB, {spec.resize.describe()}')
    write(f'  output   float32 (N, {spec.num_classes}), {spec.labels[0]} to {spec.labels[-1]}')
    write(f'  checked  probabilities within {report.max_abs_difference:.2g} of PyTorch in '
          f'float32, bound {report.bound:g}')
    return 0
