"""`resnet_trt export`: writes a ResNet as a deployable ONNX model."""

from __future__ import annotations

import argparse
from pathlib import Path

from resnet_trt_node.atomic_file import check_place
from resnet_trt_node.cli.support.console import print_json, write
from resnet_trt_node.training.checkpoints.weights import choose_weights
from resnet_trt_node.training.export import export_resnet
from resnet_trt_node.training.preprocessing import GivenPreprocessing


def run(arguments: argparse.Namespace) -> int:
    """Export the model and print the report."""
    given = GivenPreprocessing(
        arguments.mean, arguments.std, arguments.scale, arguments.channel_order == 'bgr',
        arguments.image_size, arguments.resize, arguments.interpolation)
    arch, weights, _ = choose_weights(arguments.arch, arguments.weights, arguments.averaged)
    out = arguments.output or Path(f'{arch}_{arguments.precision}.onnx')
    check_place(out, weights)
    report = export_resnet(
        arch, weights, out, num_classes=arguments.num_classes, labels=arguments.labels,
        precision=arguments.precision, seed=arguments.seed, cache=arguments.cache,
        averaged=arguments.averaged, preprocessing=given)
    if arguments.json:
        print_json('export', report.to_dict())
        return 0
    spec = report.spec
    write(f'{report.path}: {spec.architecture} {spec.precision}, {spec.source}, '
          f'{report.size_bytes / 1e6:.1f} MB, {report.seconds:.1f} s')
    write(f'  input    uint8 (N, {spec.height}, {spec.width}, 3) RGB, {spec.resize.describe()}')
    write(f'  pixels   {spec.normalisation}')
    write(f'  output   float32 (N, {spec.num_classes}), {spec.labels[0]} to {spec.labels[-1]}')
    write(f'  checked  probabilities within {report.max_abs_difference:.2g} of PyTorch in '
          f'float32, bound {report.bound:g}')
    for one in spec.assumptions:
        write(f'  assumed  {one}', hanging=11)
    return 0
