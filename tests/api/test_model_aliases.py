"""Names and aliases of the served model."""

import pytest

from maritalk_vllm.api.model_aliases import ModelNames
from maritalk_vllm.errors import NoSuchModel

NAMES = ModelNames(["demo", "other"])

# Every name in Maritaca's documents, and in its clients' defaults, from 2023 to 2026.
# fmt: off
DOCUMENTED = [
    "MariTalk", "maritalk", "maritalk-2024-01-08", "maritalk-large-2024-01-08", "sabia-2-medium", "sabia-2-small",
    "sabia-2-medium-2024-03-13", "sabia-2-small-2024-03-13", "sabia-3", "sabia-3-2024-07-15", "sabia-3-2024-09-09",
    "sabia-3.1", "sabiazinho-3", "sabiazinho-3-2024-11-13", "sabia-4", "sabia-4-2026-01-06", "sabia-4-br-sp",
    "sabia-4-thinking", "sabia-4-thinking-br-sp", "sabiazinho-4", "sabiazinho-4-2026-01-06", "sabia-4-small",
    "sabiazim-4", "sabiazinho-4-br-sp",
]
# fmt: on


@pytest.mark.parametrize("name", [*DOCUMENTED, "Sabiá-3", "SABIA-3", "", None])
def test_alias_resolves_to_the_served_model(name: str | None) -> None:
    assert NAMES.resolve(name) == "demo"


def test_own_names_are_not_aliases() -> None:
    assert NAMES.resolve("other") == "other"
    assert not NAMES.is_alias("demo")
    assert ModelNames(["sabia-3"]).resolve("sabia-3") == "sabia-3"
    assert not ModelNames(["sabia-3"]).is_alias("sabia-3")


@pytest.mark.parametrize("name", ["gpt-4", "sabiax", "sabia3", "my-sabia-3", "sabia-3 ", "sabia-3\n"])
def test_unknown_model_is_rejected(name: str) -> None:
    with pytest.raises(NoSuchModel, match="This server serves demo, other"):
        NAMES.resolve(name)
