"""`resnet_trt check`: the contract of deployable models, clause by clause."""

from __future__ import annotations

import argparse
import shlex
from typing import Optional

from resnet_trt_node.cli.support.console import count_of, print_json, table_row, write
from resnet_trt_node.onnx_tools.contract_check import check_contract, clause_dict, ContractReport
from resnet_trt_node.onnx_tools.preparation.advice import advise, PrepareAdvice

#: Exit code for a model that was read and is not deployable.
NOT_DEPLOYABLE = 1


def run(arguments: argparse.Namespace) -> int:
    """Check and print; returns 0 if the model is deployable."""
    report = check_contract(arguments.model)
    # What this package's tools wrote is to be made again; the errors say how.
    advice = None if report.deployable or report.own else advise(arguments.model)
    if arguments.json:
        print_json('check', {
            'model': str(report.path), 'deployable': report.deployable,
            'clauses': list(map(clause_dict, report.clauses)),
            'command': shlex.join(advice.words) if advice and advice.words else None,
            'notes': list(advice.notes) if advice else []})
    else:
        _print(report, advice)
    return 0 if report.deployable else NOT_DEPLOYABLE


def _print(report: ContractReport, advice: Optional[PrepareAdvice]) -> None:
    broken = [clause for clause in report.clauses if clause.error is not None]
    write(f'{report.path}: deployable' if report.deployable else
          f'{report.path}: not deployable, {count_of(len(broken), "clause")} of '
          f'{len(report.clauses)} not kept')
    for values in map(clause_dict, report.clauses):
        lines = [(values['state'], values['clause'], values['found'])]
        if values['state'] == 'not ok':
            lines.append(('', 'wanted', values['wanted']))
        for line in lines:
            write('  ' + table_row(line, (11, 15)), hanging=32)
    if advice is None:
        for problem in dict.fromkeys(str(clause.error) for clause in broken):
            write(f'- {problem}')
        return
    if advice.words:
        write('To make it deployable:')
        write(f'  {shlex.join(advice.words)}', whole=True)
    for note in advice.notes:
        write(f'- {note}')
