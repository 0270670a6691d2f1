"""What the JSON documents of all commands begin with: whose they are, and in which version."""

from __future__ import annotations

from typing import Any, Mapping

#: One more when a key of any document is renamed or removed, or means something else.
JSON_VERSION = 1


def json_document(name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return a document with its head, as docs/reference/json.md describes them.

    :param name: whose it is: a command, such as 'classify', or a file, such as 'confusion'.
    :param content: its other keys, none of them `format` or `version`.
    """
    head = {'format': f'resnet_trt.{name}', 'version': JSON_VERSION}
    assert not head.keys() & content.keys(), sorted(head.keys() & content.keys())
    return {**head, **content}
