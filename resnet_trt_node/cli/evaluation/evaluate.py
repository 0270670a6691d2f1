"""`resnet_trt evaluate`: measures accuracy on labelled pictures, and agreement of two models."""

from __future__ import annotations

from argparse import Namespace
from contextlib import ExitStack

from resnet_trt_node.cli.support.console import print_json
from resnet_trt_node.cli.support.evaluation.files import check_outputs, write_outputs
from resnet_trt_node.cli.support.evaluation.measurement import (
    labelled_items, measure, refuse_simulated)
from resnet_trt_node.cli.support.evaluation.multi_label import (
    check_multi_label, open_pictures, report_multi_label)
from resnet_trt_node.cli.support.evaluation.report import Evaluation, print_report, report_document
from resnet_trt_node.cli.support.options import open_model
from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.datasets.class_folders import ClassFolders
from resnet_trt_node.errors import ModelError, UsageError

#: Bounds the memory; more bins would be empty.
_MAX_BINS = 100_000


def run(arguments: Namespace) -> int:
    """Evaluate and print the results."""
    for option in ('limit', 'bins', 'worst'):
        value, least = getattr(arguments, option), 0 if option == 'worst' else 1
        if value is not None and value < least:
            raise UsageError(f'--{option} {value}: choose at least {least}')
    if arguments.bins > _MAX_BINS:
        raise UsageError(f'--bins {arguments.bins}: choose at most {_MAX_BINS}')
    refuse_simulated(arguments.backend, arguments.compare_backend)
    # Opening a backend may take minutes, so wrong options are refused before.
    check_outputs(arguments)
    spec = read_model_spec(arguments.model)
    check_multi_label(arguments, spec)
    others = _others(arguments, spec)
    with ExitStack() as stack:
        pictures = open_pictures(arguments, spec)
        stack.enter_context(pictures)
        items = labelled_items(arguments, pictures)
        asked = [arguments, *others]
        names = [one.backend for one in asked]
        backends = [stack.enter_context(open_model(one, names)) for one in asked]
        for one, backend in zip(asked, backends):
            if backend.spec.labels != spec.labels:
                raise ModelError(f'{one.model} was changed while it was opened: try again')
        if spec.multi_label:
            return report_multi_label(arguments, backends, items, pictures, others)
        measured = measure(backends, items, pictures, arguments)
        evaluation = Evaluation(
            **vars(measured), models=[one.model for one in asked],
            infos=[backend.info for backend in backends], labels=spec.labels,
            unlabelled=pictures.unlabelled, bins=arguments.bins, noun=pictures.noun,
            absent=pictures.absent if isinstance(pictures, ClassFolders) else ())
    if arguments.json:
        print_json('evaluate', report_document(evaluation, arguments))
    else:
        print_report(evaluation, arguments.worst)
    # After the results are printed, so that a full disk does not lose them.
    write_outputs(evaluation, arguments)
    return 0


def _others(arguments: Namespace, spec: ModelSpec) -> list[Namespace]:
    """Return the options of the model to compare with, if there is one."""
    if arguments.compare is None and arguments.compare_backend is None:
        return []
    model = arguments.compare or arguments.model
    other = read_model_spec(model)
    labels = other.labels
    if other.multi_label != spec.multi_label:
        raise ModelError(
            f'only one of {model} and {arguments.model} is multi-label: compare models of the '
            'same kind')
    if len(labels) != len(spec.labels):
        raise ModelError(
            f'{model} knows {len(labels)} classes, {arguments.model} {len(spec.labels)}: compare '
            'models of the same classes')
    for index, (one, two) in enumerate(zip(spec.labels, labels)):
        if one != two:
            raise ModelError(
                f'class {index} is {one!r} in {arguments.model} and {two!r} in {model}: compare '
                'models of the same classes')
    return [Namespace(**{
        **vars(arguments), 'model': model,
        'backend': arguments.compare_backend or arguments.backend})]
