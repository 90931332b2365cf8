"""Cards that are not here, by the names that people give them."""

import pytest

from maritalk_vllm.errors import UsageError
from maritalk_vllm.hardware.catalogue import cards, find, imagine, several
from maritalk_vllm.hardware.link import Link

MiB = 1 << 20


@pytest.mark.parametrize("card", cards(), ids=lambda card: card.short_name)
def test_every_name_finds_its_card(card: object) -> None:
    for name in card.names:  # type: ignore[attr-defined]
        for written in (name, name.lower(), name.upper(), name.replace("-", " "), name.replace(" ", "")):
            assert find(written) is card


def test_what_the_table_covers() -> None:
    generations = {card.compute_capability for card in cards()}
    assert {(7, 0), (7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)} <= generations
    assert all(card.compute_capability < (8, 0) for card in (find("T4"), find("V100")))


@pytest.mark.parametrize(
    ("name", "mib"), [("A10", 23028), ("L4", 23034), ("A100-40GB", 40960), ("A100-80GB", 81920), ("A6000", 49140)]
)
def test_totals_are_those_of_nvml(name: str, mib: int) -> None:
    assert find(name).memory_total_bytes == mib * MiB


def test_an_l4_has_the_24_gb_of_the_reference() -> None:
    assert round(find("L4").memory_total_bytes / 1e9, 2) == 24.15


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("A10", ["NVIDIA A10"]),
        ("1xA10", ["NVIDIA A10"]),
        ("4xA10", ["NVIDIA A10"] * 4),
        ("2xA100-40GB,1xT4", ["NVIDIA A100-SXM4-40GB"] * 2 + ["Tesla T4"]),
        (" 2 X l40s , rtx-4090 ", ["NVIDIA L40S"] * 2 + ["NVIDIA GeForce RTX 4090"]),
        ("NVIDIA A10", ["NVIDIA A10"]),
        ("8×h100", ["NVIDIA H100 80GB HBM3"] * 8),
    ],
)
def test_imagined_machines(text: str, names: list[str]) -> None:
    machine = imagine(text)
    assert [gpu.name for gpu in machine.gpus] == names
    assert [gpu.index for gpu in machine.gpus] == list(range(len(names)))
    assert len({gpu.uuid for gpu in machine.gpus}) == len(names)
    assert len(machine.links) == len(names) * (len(names) - 1) // 2
    assert machine.host is None


def test_links_of_imagined_machines() -> None:
    assert set(imagine("4xA100-40GB").links.values()) == {Link.NVLINK}
    assert set(imagine("4xA10").links.values()) == {Link.NODE}
    assert set(imagine("1xA100-40GB,1xH100").links.values()) == {Link.NODE}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("4xA11", "There is no card A11"),
        ("2xA100-40", "Did you mean A100-40GB?"),
        ("RTX-4091", "Did you mean RTX-4090?"),
        ("0xA10", "cannot be read"),
        ("", "cannot be read"),
        ("4x", "There is no card 4x"),
        ("A10,,A10", "cannot be read"),
    ],
)
def test_what_is_not_in_the_table(text: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        imagine(text)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("text", "nodes", "cards"),
    [
        ("4xA10", 1, "4xA10"),
        ("2 nodes of 4xA10", 2, "4xA10"),
        (" 16 Nodes  of 2xA100-40GB,1xT4", 16, "2xA100-40GB,1xT4"),
        ("1 node of A10", 1, "A10"),
    ],
)
def test_machines_of_the_same_cards(text: str, nodes: int, cards: str) -> None:
    assert several(text) == (nodes, cards)


def test_no_machine_at_all() -> None:
    with pytest.raises(UsageError, match="0 nodes of A10"):
        several("0 nodes of A10")
