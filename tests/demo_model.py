"""The demo model's source, and making its checkpoint without a word."""

from pathlib import Path

from maritalk_vllm.models import demo
from maritalk_vllm.models.profile import Embedded, Profile, find

_found = find("demo")
assert _found is not None and _found.embedded is not None
PROFILE: Profile = _found
EMBEDDED: Embedded = _found.embedded


def quietly(step: str, fraction: float) -> None:
    pass


def make(checkpoint: Path) -> None:
    demo.materialise(EMBEDDED, checkpoint, quietly)
