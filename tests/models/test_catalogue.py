"""The catalogue of open models in configs/models/."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from maritalk_vllm import config_files
from maritalk_vllm.models import profile
from maritalk_vllm.models.architecture import BYTES
from maritalk_vllm.models.catalogue import RECOMMENDED, CatalogueModel, catalogue, find
from maritalk_vllm.models.memory_footprint import llama_footprint

MODELS = catalogue()


def test_every_file_is_found_by_its_own_name() -> None:
    assert sorted(MODELS) == sorted(config_files.names("models"))
    assert all(find(name) == model and model.name == name for name, model in MODELS.items())
    assert find("nothing") is None and find("../small") is None


def test_no_name_means_a_profile_as_well() -> None:
    assert not [name for name in MODELS if profile.find(name)]


def test_smallest_come_first() -> None:
    sizes = [model.parameters for model in MODELS.values()]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_shape_has_the_published_number_of_parameters(model: CatalogueModel) -> None:
    """The shape is from config.json and the number from the model card, so that one of them wrong does not pass."""
    vision = 419_816_304 if model.name == "gemma-3-4b" else 0  # SigLIP 416,866,032, and its projector
    counted = llama_footprint(model.shape, tied=model.tied).weights_bytes / BYTES[model.shape.dtype]
    assert counted == pytest.approx(model.parameters - vision, rel=2e-4)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_footprint_counts_all_parameters(model: CatalogueModel) -> None:
    assert model.footprint.weights_bytes == pytest.approx(2 * model.parameters, rel=1e-4)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_facts_are_usable(model: CatalogueModel) -> None:
    assert re.fullmatch(r"[\w-]+/[\w.-]+", model.hub_name)
    assert "pt" in model.languages
    spec = find_spec("vllm")
    assert spec is not None and spec.origin is not None
    parsers = (Path(spec.origin).parent / "tool_parsers" / "__init__.py").read_text()
    assert model.tool_call_parser is None or f'"{model.tool_call_parser}": (' in parsers
    assert model.revision is None or re.fullmatch(r"[0-9a-f]{40}", model.revision)


def test_recommended_model_asks_for_no_acceptance_and_can_chat() -> None:
    model = MODELS[RECOMMENDED]
    assert not model.must_be_accepted and not model.is_base
