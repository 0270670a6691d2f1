"""A comparison in words and tables, from its document."""

from __future__ import annotations

from typing import Any, Iterator, Optional

#: Heads of the tables, also of those on a terminal.
LATENCY_HEAD = (
    'batch', 'what', 'p50 ms', 'p90 ms', 'p99 ms', 'between rounds', 'images/s', 'times the first')
ACCURACY_HEAD = ('what', 'largest difference', 'mean difference', 'same top-1', '')


def latency_rows(document: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Give the cells of `LATENCY_HEAD`, batch size by batch size."""
    for place, _ in enumerate(document['plan']['batch_sizes']):
        for row in document['rows']:
            found = row['latency'][place]
            ratio = f'{found["ratio"]:.3g}'
            if row['label'] == document['reference']:
                ratio = '1'
            elif found['ratio_interval'] is None:
                ratio += ' (another run)'
            else:
                ratio += ' ({:.3g} to {:.3g})'.format(*found['ratio_interval'])
            yield (
                str(found['batch_size']), row['label'], milliseconds(found['p50_ms']),
                milliseconds(found['p90_ms']), milliseconds(found['p99_ms']),
                f'{found["round_spread"]:.1%}', f'{found["images_s"]:,.1f}',
                ratio)


def accuracy_rows(document: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Give the cells of `ACCURACY_HEAD`; none where there is nothing to compare with."""
    for label, found in document['accuracy']['pairs'].items():
        yield (
            label, f'{found["max_difference"]:.2e}', f'{found["mean_difference"]:.2e}',
            f'{found["same_top1"]} of {found["frames"]}',
            'agrees' if found['agrees'] else 'DISAGREES')


def milliseconds(value: float) -> str:
    """Return milliseconds with four digits, as far as they are after the point."""
    return f'{value:.3f}' if value < 10 else f'{value:.2f}' if value < 100 else f'{value:,.1f}'


def verdict(document: dict[str, Any]) -> str:
    """Return in one sentence whether all agree."""
    accuracy = document['accuracy']
    reference = document['reference']
    bounds = (
        f'probabilities within {accuracy["atol"]:g} or {accuracy["rtol"]:.3g} of their value, '
        f'the same top-1 for {accuracy["min_agreement"]:.1%} of the frames')
    if not accuracy['pairs']:
        return f'{reference} is alone: there is nothing to compare it with.'
    wrong = [label for label, found in accuracy['pairs'].items() if not found['agrees']]
    if wrong:
        return f'{", ".join(wrong)} DISAGREE with {reference} ({bounds}).'
    return f'All agree with {reference} ({bounds}).'


def markdown(
        document: dict[str, Any], title: str = 'Backends compared', level: int = 1,
        plot: Optional[str] = None) -> str:
    """
    Return the report.

    :param document: as `Session.run` returns it, with 'command' and 'source'.
    :param title: its heading.
    :param level: of that heading.
    :param plot: the picture's file, None if there is none.
    """
    deeper = '#' * (level + 1)
    parts = [
        f'{"#" * level} {title}', _what(document), f'{deeper} Latency',
        _table(LATENCY_HEAD, latency_rows(document)), _how(document), *_other_runs(document)]
    if plot is not None:
        parts.append(f'![latencies]({plot})')
    parts += [f'{deeper} Accuracy', verdict(document)]
    if document['accuracy']['pairs']:
        parts.append(_table(ACCURACY_HEAD, accuracy_rows(document)))
    if document['unavailable']:
        parts += [
            f'{deeper} What could not be opened',
            '\n'.join(f'- {_flat(one["label"])}: {_flat(one["reason"])}'
                      for one in document['unavailable'])]
    parts += [f'{deeper} What ran', _runtimes(document), _models(document),
              f'    {document["command"]}']
    return '\n\n'.join(parts) + '\n'


def _what(document: dict[str, Any]) -> str:
    machine = document['machine']
    packages = ', '.join(f'{name} {number}' for name, number in document['packages'].items())
    return (
        f'Measured on {document["date"][:10]}: {machine["cores"]} cores of {machine["cpu"]}, '
        f'{machine["memory"]}, Linux {machine["kernel"]}, Python {machine["python"]}, {packages}, '
        f'resnet_trt_node {document["tool_version"]}. Frames: {document["source"]}.')


def _how(document: dict[str, Any]) -> str:
    plan = document['plan']
    length = (
        f'{plan["seconds"]:g} s' if plan['iterations'] is None
        else f'{plan["iterations"]} inferences')
    return (
        f'One batch at a time, from frames in main memory to probabilities there. Each row '
        f'had {length} in {plan["rounds"]} rounds (slow ones fewer), after at least one and at '
        f'most {plan["warm_up"]} inferences to warm up; each round visits all in a random order, '
        'so that a drift of the machine falls on all alike. Between rounds: largest less '
        'smallest median of a round, by their median. Times the first: median of the ratios '
        f'to {document["reference"]} in the same round, with its 95 % bootstrap interval.')


def _other_runs(document: dict[str, Any]) -> Iterator[str]:
    """Give a sentence for each file, whose rows were not measured in turns with the others."""
    origins = {row['saved']['file']: row['saved'] for row in document['rows'] if row.get('saved')}
    for name, origin in origins.items():
        machine = origin['machine']
        yield (
            f'Rows of {_flat(name)} are from another run, on {_flat(origin["date"])[:10]} with '
            f'{_flat(machine["cores"])} cores of {_flat(machine["cpu"])}: they were not measured '
            'in turns with the others, so that what the machine did meanwhile counts.')


def _runtimes(document: dict[str, Any]) -> str:
    return _table(('what', 'runtime', 'device', 'Python', 'details'), (
        (row['label'], f'{row["runtime"]} {row["version"]}', row['device'], row['python'],
         ', '.join(f'{name} {value}' for name, value in row['details'].items()))
        for row in document['rows']))


def _models(document: dict[str, Any]) -> str:
    return _table(('model', 'precision', 'network', 'input', 'sha256'), (
        (model['name'], model['precision'], model['architecture'],
         'x'.join(str(side) for side in model['input']), f'`{model["sha256"]}`')
        for model in document['models']))


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    return '\n'.join(
        '| ' + ' | '.join(_flat(cell) for cell in row) + ' |'
        for row in (head, ('---',) * len(head), *rows))


def _flat(text: str) -> str:
    """Return a text that stays in its cell."""
    return ' '.join(text.split()).replace('|', '\\|')
