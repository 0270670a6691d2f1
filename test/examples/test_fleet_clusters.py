"""The descriptions of clusters in examples/fleet: what Ray and KubeRay would read."""

from __future__ import annotations

import json
from pathlib import Path
import re
from typing import Any

from jsonschema import Draft7Validator
import pytest
import yaml


def load(repository: Path, name: str) -> Any:
    """Return the content of a file of examples/fleet."""
    return yaml.safe_load((repository / 'examples' / 'fleet' / name).read_text(encoding='utf-8'))


@pytest.mark.slow
def test_ray_up_takes_the_cluster(repository):
    ray = pytest.importorskip('ray', reason='Ray is missing: it has the schema')
    schema = json.loads(
        (Path(ray.__file__).parent / 'autoscaler' / 'ray-schema.json').read_text())
    document = load(repository, 'ray-cluster.yaml')
    faults = [fault.message for fault in Draft7Validator(schema).iter_errors(document)]
    assert faults == []
    # The schema does not know what refers to what.
    types = document['available_node_types']
    assert document['head_node_type'] in types
    assert sum(one.get('max_workers', 0) for one in types.values()) <= document['max_workers']
    # A run places its model actors when it starts, so the machines are there from the start.
    workers = [one for name, one in types.items() if name != document['head_node_type']]
    assert all(one['min_workers'] == one['max_workers'] for one in workers)
    assert 'idle_timeout_minutes' not in document
    assert 'ray[default]' in document['setup_commands'][0]
    wrong = {**document, 'max_workers': 'eight'}
    assert len(list(Draft7Validator(schema).iter_errors(wrong))) == 1


def test_kuberay_takes_the_cluster(repository):
    document = load(repository, 'kuberay.yaml')
    assert (document['apiVersion'], document['kind']) == ('ray.io/v1', 'RayCluster')
    spec = document['spec']
    assert set(spec) == {'rayVersion', 'headGroupSpec', 'workerGroupSpecs'}
    pins = (repository / 'requirements' / 'fleet.txt').read_text(encoding='utf-8')
    assert spec['rayVersion'] == re.search('^ray==(.*)$', pins, re.MULTILINE)[1]
    for group in (spec['headGroupSpec'], *spec['workerGroupSpecs']):
        # Ray's options are strings there.
        assert all(isinstance(value, str) for value in group['rayStartParams'].values())
        pod = group['template']['spec']
        [container] = pod['containers']
        assert {one['name'] for one in container['volumeMounts']} == {
            one['name'] for one in pod['volumes']}
        for name, amount in container['resources']['requests'].items():
            assert name in container['resources']['limits']
            assert isinstance(amount, str)
    for group in spec['workerGroupSpecs']:
        assert group['minReplicas'] <= group['replicas'] <= group['maxReplicas']
        limits = group['template']['spec']['containers'][0]['resources']['limits']
        assert limits['nvidia.com/gpu'] == '1'
