"""`resnet_trt prepare`: makes any float image classifier in ONNX deployable."""

from __future__ import annotations

import argparse

from resnet_trt_node.atomic_file import check_place
from resnet_trt_node.cli.support.console import log, print_json, write
from resnet_trt_node.onnx_tools.preparation.prepare import prepare, PreparedModel


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
    batch = f'fixed at {report.fixed_batch}, made dynamic' if report.fixed_batch else 'dynamic'
    write(f'{report.path}: {spec.precision}, {report.size_bytes / 1e6:.1f} MB, '
          f'{report.seconds:.1f} s')
    write('interpreted the original as')
    write(f'  input    {report.layout.upper()}, {spec.normalisation}, batch {batch}')
    if report.unused_inputs:
        write(f'  removed  {", ".join(report.unused_inputs)}, which no node reads')
    write(f'  output   {_output(report)}')
    write(f'  resize   {spec.resize.describe()}')
    write(f'  checked  probabilities within {report.max_abs_difference:.2g} of the original, '
          f'bound {report.bound:g}')
    return 0


def _output(report: PreparedModel) -> str:
    """Return how the output was read."""
    labels, one = report.spec.labels, 'one ' if report.binary else ''
    many = 'probability' if report.binary else 'probabilities'
    found = f'{one}{many}' if report.activation == 'none' else (
        f'{"one logit" if report.binary else "logits"}, {report.activation} added')
    if report.binary:
        return f'{found}, binary: {labels[1]} has its score p, {labels[0]} has 1 - p'
    kind = f', multi-label: any number of {len(labels)} classes' if report.spec.multi_label \
        else f', {len(labels)} classes'
    return f'{found}{kind}, {labels[0]} to {labels[-1]}'
