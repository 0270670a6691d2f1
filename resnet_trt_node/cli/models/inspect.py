"""`resnet_trt inspect`: shows what a model is."""  # noqa: A005  the command is called so

from __future__ import annotations

import argparse

from resnet_trt_node.cli.support.console import print_json, write
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.onnx_tools.inspection import inspect_model, Inspection
from resnet_trt_node.text.printable import some


def run(arguments: argparse.Namespace) -> int:
    """Inspect and print; a model that is not deployable is shown too."""
    found = inspect_model(arguments.model)
    if arguments.json:
        print_json('inspect', found.to_dict())
        return 0
    for name, text in _lines(found):
        write(f'{name:12}{text}', hanging=12)
    if arguments.all_labels and found.spec is not None:
        for index, label in enumerate(found.spec.labels):
            write(f'{index:6}  {label}', hanging=8)
    return 0


def _scores(spec: ModelSpec) -> str:
    if spec.multi_label:
        return 'sigmoid, multi-label: each class by itself'
    return f'{spec.activation}, one class of all: they sum to 1'


def _lines(found: Inspection) -> list[tuple[str, str]]:
    lines = [('file', f'{found.path}, {found.size_bytes / 1e6:.1f} MB'),
             ('sha256', found.sha256),
             ('deployable', f'no: {found.not_deployable_because}'
              if found.not_deployable_because else 'yes')]
    lines += [(side, f'{value.name} {value.dtype} {value.shown_shape}')
              for side, values in (('input', found.inputs), ('output', found.outputs))
              for value in values]
    spec = found.spec
    if spec is not None:
        lines += [
            ('resize', spec.resize.describe()),
            *([('pixels', spec.normalisation)] if spec.normalisation else []),
            ('labels', f'{spec.num_classes}: {some(spec.labels)}'),
            ('scores', _scores(spec)),
            ('network', spec.architecture or 'unknown'),
            ('source', spec.source + (f', sha256 {spec.source_sha256}'
                                      if spec.source_sha256 else '')),
            *(('assumed', one) for one in spec.assumptions),
            ('written by', f'resnet_trt_node {spec.tool_version}')]
    macs = 'unknown: the graph leaves shapes open' if found.macs is None else (
        f'{found.macs / 1e9:.2f} G multiply-accumulates a picture ({2 * found.macs / 1e9:.2f} '
        'GFLOPs), convolutions and matrix products')
    operators = ', '.join(f'{count} {name}' for name, count in found.operators.items())
    if found.sparse_layers:
        lines.append(('sparsity', f'2:4 in {found.sparse_layers} layers'))
    if found.temperature not in (None, 1):
        lines.append(('temperature', f'{found.temperature:.4f}'))
    return lines + [
        ('precision', found.precision if spec is None else spec.precision),
        ('parameters', f'{found.parameters:,}, {found.weight_bytes / 1e6:.1f} MB of constants'),
        ('cost', macs), ('nodes', f'{sum(found.operators.values())}: {operators}'),
        ('format', f'ONNX opset {found.opset}, IR {found.ir_version}')]
