"""A JSON schema in words, for models that take none."""

import json
from collections.abc import Mapping
from typing import Any


def in_words(schema: Mapping[str, Any]) -> str:
    """What to append to the last message."""
    return "\n\nAnswer with nothing but JSON that fits this JSON schema: " + json.dumps(dict(schema))
