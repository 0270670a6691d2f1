"""What this project aimed at, and what of it was reached, from the JSON of the measurements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Optional

from tools.gpu.sitting_results import Sitting
from tools.gpu.targets import targets
from tools.markdown_page import table

#: A figure of the whole node on a GPU, in milliseconds, and where it is among those of a scenario.
NODE_FIGURES_MS: dict[str, Callable[[dict[str, Any]], float]] = {
    'p50 of receive to publish': lambda figures: figures['stages_ms']['total'][0],
    'p99 of receive to publish': lambda figures: figures['stages_ms']['total'][2],
    'p50 of source to answer': lambda figures: figures['source_to_answer_ms']['p50'],
    'CPU of a frame': lambda figures: figures['node_cpu_ms_per_answer']}
#: Scenario of the whole node on a GPU to its limits in milliseconds, by the names above. The notes
#: of `gpu/node` say why some are missed.
NODE_LIMITS_MS = {
    'rate_fp16_6_VGA_raw': {'p99 of receive to publish': 2.0},
    'rate_fp16_1_VGA_raw': {'p50 of receive to publish': 1.3, 'p99 of receive to publish': 1.8},
    'rate_fp16_1_1080p_raw': {
        'p50 of receive to publish': 1.8, 'p50 of source to answer': 8.25, 'CPU of a frame': 3.8},
    'regions_fp16_1_VGA_raw_6': {'p99 of receive to publish': 4.0}}


class Goal(NamedTuple):
    """
    Something to be reached.

    :param what: in words.
    :param measured: with its unit.
    :param limit: what it must be, in words.
    :param met: whether it is.
    """

    what: str
    measured: str
    limit: str
    met: bool


def every_goal(
        realtime: dict[str, Any], sitting: Sitting,
        node: Optional[dict[str, Any]] = None) -> list[Goal]:
    """
    Return what was aimed at, with what was measured.

    :param realtime: as `python -m bench` writes it.
    :param sitting: what a sitting at a GPU measured.
    :param node: as `tools.gpu.node.bench` writes it, None if there is none.
    """
    return [
        *(Goal(f'{one["name"]}: {check["name"]}', _value(check['measured'], check['unit']),
               ('at least ' if check['at_least'] else 'at most ')
               + _value(check['limit'], check['unit']), check['met'])
          for one in realtime['scenarios'] for check in one['checks']),
        *(Goal(target.what, _value(target.value, ''),
               ('at most ' if target.at_most else 'at least ') + f'{target.limit:g}',
               target.verdict == 'reached')
          for target in targets(sitting)),
        *_whole_node_goals(node)]


def goals(
        realtime: dict[str, Any], sitting: Sitting, node: Optional[dict[str, Any]] = None) -> str:
    """Return as Markdown what was aimed at and missed; the arguments are those of `every_goal`."""
    every = every_goal(realtime, sitting, node)
    missed = [goal for goal in every if not goal.met]
    return '\n'.join([
        '## Goals that were missed', '',
        f'This project set itself {len(every)} limits; `python -m bench` and `tools.gpu` measure '
        f'all of them. {len(every) - len(missed)} are met. The others:', '',
        *table(['goal', 'measured', 'limit'], (goal[:3] for goal in missed))])


def _whole_node_goals(node: Optional[dict[str, Any]]) -> Iterator[Goal]:
    for name, one in (node['scenarios'] if node else {}).items():
        if one['scenario']['kind'] not in ('rate', 'regions'):
            continue
        balance = one['figures']['balance']
        lost = balance['sent'] - balance['heard']
        yield Goal(f'{name} on a GPU: frames lost of {balance["sent"]}', str(lost), 'at most 0',
                   lost == 0)
        for what, limit in NODE_LIMITS_MS.get(name, {}).items():
            measured = NODE_FIGURES_MS[what](one['figures'])
            yield Goal(f'{name} on a GPU: {what}', _value(measured, 'ms'),
                       f'at most {limit:g} ms', measured <= limit)


def _value(value: Optional[float], unit: str) -> str:
    return 'not measured' if value is None else f'{value:.4g} {unit}'.rstrip()
