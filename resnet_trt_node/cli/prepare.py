"""`resnet_trt prepare`: makes any float image classifier in ONNX deployable."""

from __future__ import annotations

import argparse

from resnet_trt_node.atomic_file import check_place
from resnet_trt_node.cli.support.console import log, print_json, write
from resnet_trt_node.onnx_tools.prepare import prepare


def run(arguments: argparse.Namespace) -> int:
    """Prepare the model and print how it was interpreted."""
    check_place(arguments.output, arguments.model)
    report = prepare(
        arguments.model, arguments.output, mean=arguments.mean, std=arguments.std,
        scale=arguments.scale, resize=arguments.resize, crop=arguments.crop,
        interpolation=arguments.interpolation, labels=arguments.labels, layout=arguments.layout,
        channel_order=arguments.channel_order, activation=arguments.activation,
        output=arguments.output_name, say=log)
    if arguments.json:
        print_json('prepare', report.to_dict())
        return 0
    spec = report.spec
    softmax = 'logits, softmax added' if report.activation == 'softmax' else 'probabilities'
    batch = f'fixed at {report.fixed_batch}, made dynamic' if report.fixed_batch else 'dynamic'
    write(f'{report.path}: {spec.precision}, {report.size_bytes / 1e6:.1f} MB, '
          f'{report.seconds:.1f} s')
    write('interpreted the original as')
    write(f'  input    {report.layout.upper()}, {report.normalisation}, batch {batch}')
    if report.unused_inputs:
        write(f'  removed  {", ".join(report.unused_inputs)}, which no node reads')
    write(f'  output   {softmax}, {spec.num_classes} classes, {spec.labels[0]} to '
          f'{spec.labels[-1]}')
    write(f'  resize   {spec.resize.describe()}')
    write(f'  checked  probabilities within {report.max_abs_difference:.2g} of the original, '
          f'bound {report.bound:g}')
    return 0
