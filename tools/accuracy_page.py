"""
Write the tables of docs/accuracy.md from what `resnet_trt evaluate --json` gave.

The documents of one data set, all of the same MODEL, each with another one to --compare, become
docs/accuracy/NAME.json, and that becomes the page's section NAME.

Usage: python3 -m tools.accuracy_page docs --name NAME --title TITLE --add RESULT.json ...
       python3 -m tools.accuracy_page docs        (writes the page from the files that are there)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from tools.markdown_page import add_results, read_json, table, write_section

_FOLDER = Path('accuracy')
_COMMAND = 'tools/accuracy_page.py from docs/accuracy'
#: Parts of a document that are told; the classes and cells are too many.
_KEPT = ('top1', 'top5', 'calibration')


def summary(title: str, note: str, documents: list[dict[str, Any]]) -> dict[str, Any]:
    """
    Return what is kept of several evaluations.

    :param title: the section's heading.
    :param note: Markdown below it; may be empty.
    :param documents: of `resnet_trt evaluate --json`, of the same model on the same pictures.
    :raises ValueError: if they are not.
    """
    first = documents[0]
    for key in ('model', 'count', 'top1', 'backend', 'resize_method'):
        if any(document[key] != first[key] for document in documents):
            raise ValueError(
                f'the results differ in {key}: evaluate one MODEL on the same pictures, each time '
                'with another one to --compare')
    models = [_kept(first)]
    for document in documents:
        if 'comparison' in document:
            other = document['comparison']
            models.append({**_kept(other), 'agreement': other['agreement']})
    return {
        'title': title, 'note': note, 'images': short_path(first['images']),
        'count': first['count'], 'failures': len(first['failures']),
        'resize_method': first['resize_method'],
        'models': models}


def short_path(images: str) -> str:
    """Return a path's last part, or from the zip file on."""
    parts = Path(images).parts
    start = next((place for place, part in enumerate(parts) if part.endswith('.zip')), -1)
    return '/'.join(parts[start:])


def _kept(document: dict[str, Any]) -> dict[str, Any]:
    kept = {key: document[key] for key in _KEPT}
    kept['calibration'] = {
        key: value for key, value in document['calibration'].items() if key != 'bins'}
    return {'name': Path(document['model']).stem, 'backend': document['backend'], **kept}


def section(results: dict[str, Any]) -> str:
    """Return a data set's section as Markdown."""
    models = results['models']
    lines = [f'## {results["title"]}', '']
    if results['note']:
        lines += [results['note'], '']
    bad = f'; {results["failures"]} could not be used' if results['failures'] else ''
    lines += [f'{results["count"]:,} pictures of `{results["images"]}`{bad}.', '']
    lines += table(
        ['model', 'run by', 'top-1 %', '95 %', 'top-5 %', 'mean confidence %', 'ECE %', 'NLL',
         'Brier'],
        [[model['name'], _backend(model['backend']), _percent(model['top1']['accuracy']),
          _range(model['top1']['confidence_95']), _percent(model['top5']['accuracy']),
          _percent(model['calibration']['mean_confidence']),
          _percent(model['calibration']['expected_error']),
          f'{model["calibration"]["nll"]:.4f}', f'{model["calibration"]["brier"]:.4f}']
         for model in models]) + ['']
    compared = [model for model in models if 'agreement' in model]
    if compared:
        lines += [f'Against {models[0]["name"]}, picture by picture:', '']
        lines += table(
            ['model', 'same top-1 %', '95 %', 'points of top-1', '95 %',
             'right only in it / only in the other', 'p', 'largest difference', 'mean KL, nats'],
            [_agreement(model['name'], model['agreement']) for model in compared]) + ['']
    return '\n'.join(lines)


def _agreement(name: str, found: dict[str, Any]) -> list[str]:
    low, high = found['accuracy_difference_95']
    return [
        name, _percent(found['rate']), _range(found['confidence_95']),
        f'{100 * found["accuracy_difference"]:+.2f}', f'{100 * low:+.2f} to {100 * high:+.2f}',
        f'{found["only_other_right"]} / {found["only_model_right"]}', f'{found["mcnemar_p"]:.3g}',
        f'{found["max_probability_difference"]:.4f}', f'{found["mean_kl_nats"]:.2g}']


def _backend(backend: dict[str, str]) -> str:
    return f'{backend["name"]} {backend["version"]}, {backend["device"]}'


def _percent(share: float) -> str:
    return f'{100 * share:.2f}'


def _range(bounds: list[float]) -> str:
    return f'{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f}'


def write_page(docs: Path) -> None:
    """Write every section of docs/accuracy.md from its file."""
    for file in sorted((docs / _FOLDER).glob('*.json')):
        write_section(docs / 'accuracy.md', file.stem, section(read_json(file)), _COMMAND)


def main(words: Optional[list[str]] = None) -> None:
    """Keep new results, if there are any, and write the page."""
    write_page(add_results(__doc__, _FOLDER, summary, words))


if __name__ == '__main__':
    main()
