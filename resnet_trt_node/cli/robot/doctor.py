"""`resnet_trt doctor`: what this machine can run, and the command that mends the rest."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
import os
import platform

from resnet_trt_node.backends.engines.cache import default_engine_dir
from resnet_trt_node.cli.support.console import print_json, table_row, write
from resnet_trt_node.cli.support.doctor import ros, runtimes, system
from resnet_trt_node.cli.support.doctor.finding import BROKEN, Finding, MISSING
from resnet_trt_node.cli.support.doctor.machine import Machine
from resnet_trt_node.cli.support.doctor.probes import run_probes, search_paths

#: Exit code where the node cannot run on any backend.
CANNOT_RUN = 1
#: What the node cannot do without.
_NEEDED_BY_NODE = ('numpy', 'opencv', 'rclpy', 'vision_msgs', 'middleware', 'backend')


def run(arguments: argparse.Namespace) -> int:
    """Look at everything and print it; returns 0 if the node can run here."""
    machine = Machine.here()
    findings = examine(machine, os.environ)
    lacking = [name for name in _NEEDED_BY_NODE if not findings[name].works]
    if 'rclpy' in lacking:
        # It is not known, and no reason of its own.
        lacking.remove('middleware')
    backend, _ = runtimes.choose_backend(findings)
    if arguments.json:
        print_json('doctor', {
            'node_can_run': not lacking, 'lacking': lacking, 'backend': backend or None,
            'machine': machine.to_dict(),
            'subjects': [finding.to_dict() for finding in findings.values()]})
    else:
        _print(machine, findings, lacking, backend)
    return CANNOT_RUN if lacking else 0


def examine(machine: Machine, environment: Mapping[str, str]) -> dict[str, Finding]:
    """
    Find out about every subject.

    :param machine: this machine.
    :param environment: of this process.
    :returns: by subject, in the order of their printing.
    """
    outcomes = run_probes({**runtimes.PROBES, **ros.PROBES}, search_paths())
    found = {finding.subject: finding for finding in (
        runtimes.gpu_finding(machine), *runtimes.runtime_findings(machine, outcomes))}
    backend = runtimes.backend_finding(machine, found)
    # A machine without a GPU lacks nothing.
    found['gpu'] = found['gpu'].unless_needed(machine.has_gpu)
    others = (
        backend, *ros.ros_findings(machine, outcomes, environment),
        system.package_finding(environment), system.command_finding(environment),
        system.shared_memory_finding(machine), system.socket_buffer_finding(),
        system.engine_folder_finding(default_engine_dir()))
    return {**found, **{finding.subject: finding for finding in others}}


def _print(
        machine: Machine, findings: Mapping[str, Finding], lacking: list[str],
        backend: str) -> None:
    write(f'{machine.system}, {machine.architecture}, Python {platform.python_version()}'
          + f', {machine.tegra}' * bool(machine.tegra) + ', in a container' * machine.container)
    for finding in findings.values():
        write('  ' + table_row(
            (finding.state, finding.subject, f'{finding.found} ({finding.purpose})'), (10, 14)),
            hanging=30)
        if finding.remedy:
            write('  ' + table_row(('', '', f'$ {finding.remedy}'), (10, 14)), whole=True)
    if not lacking:
        write(f'The node can run here, on {backend}.')
        return
    reasons = ', '.join(f'{name} is {_word(findings[name])}' for name in lacking)
    write(f'The node cannot run here: {reasons}.')
    if backend:
        write(f'The offline commands can, on {backend}.')


def _word(finding: Finding) -> str:
    return BROKEN if finding.state == BROKEN else MISSING
