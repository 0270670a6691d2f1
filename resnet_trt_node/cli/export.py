"""`resnet_trt export`: writes a ResNet as a deployable ONNX model."""

from __future__ import annotations

import argparse
from pathlib import Path

from resnet_trt_node.atomic_file import check_place
from resnet_trt_node.cli.support.console import log, print_json, write
from resnet_trt_node.training.checkpoints.weights import choose_weights
from resnet_trt_node.training.export import export_resnet


def run(arguments: argparse.Namespace) -> int:
    """Export the model and print the report."""
    arch, weights, _ = choose_weights(arguments.arch, arguments.weights)
    out = arguments.output or Path(f'{arch}_{arguments.precision}.onnx')
    check_place(out, weights)
    report = export_resnet(
        arch, weights, out, num_classes=arguments.num_classes, labels=arguments.labels,
        precision=arguments.precision, seed=arguments.seed,
        image_size=arguments.image_size, resize=arguments.resize, cache=arguments.cache,
        say=log)
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
