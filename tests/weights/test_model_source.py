"""Which model is served, for each combination of model and licence."""

from pathlib import Path

import pytest

from maritalk_vllm.errors import LicenseError, MariTalkError, UsageError, WeightsError
from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from maritalk_vllm.licensing.license_check import LicenseCheck
from maritalk_vllm.models.catalogue import find
from maritalk_vllm.settings import Settings
from maritalk_vllm.weights.fetch_request import FetchFromHub
from maritalk_vllm.weights.model_source import Source, locate, wanted_profile
from tests.serving import UNREACHABLE_URL


def source(**given: object) -> Source:
    settings = Settings(license_service=UNREACHABLE_URL, **given)  # type: ignore[arg-type]
    check = LicenseCheck(settings)
    return locate(settings, wanted_profile(settings, check), check)


def test_evaluation_licence_selects_the_demo_model(tmp_path: Path) -> None:
    found = source(license=EVALUATION_KEY, cache_dir=tmp_path)
    assert found.name == "demo"
    assert Path(found.location).parent == tmp_path / "models"
    assert found.is_made_here
    assert found.must_be_prepared
    Path(found.location).mkdir(parents=True)
    assert not found.must_be_prepared


def test_folder_of_the_user_is_not_made_here(tmp_path: Path) -> None:
    """Even if it has the name of the demo model's profile. Neither are weights that come with a licence."""
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    found = source(model=str(folder))
    assert (found.name, found.is_made_here) == ("demo", False)
    (tmp_path / "models" / "demo").mkdir(parents=True)
    assert not source(license=EVALUATION_KEY, cache_dir=tmp_path).is_made_here


@pytest.mark.parametrize("license", [None, EVALUATION_KEY, "AAAAA-BBBBB-CCCCC-DDDDD", "eyJ.damaged.licence", "çé"])
def test_demo_model_by_its_name_needs_no_licence_and_none_is_checked(tmp_path: Path, license: str | None) -> None:
    found = source(model="demo", license=license, cache_dir=tmp_path)
    assert (found.name, found.is_demo, found.is_made_here, found.fetch) == ("demo", True, True, None)
    assert not list(tmp_path.iterdir())


def test_open_model_needs_no_licence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert source(model=str(tmp_path)) == Source(tmp_path.name, str(tmp_path), given_folder=tmp_path)
    assert source(model="org/name") == Source("org/name", "org/name", fetch=FetchFromHub("org/name"))


def test_only_an_installed_model_that_is_not_made_here_can_be_replaced_by_the_user(tmp_path: Path) -> None:
    folder, link = tmp_path / "model", tmp_path / "link"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    link.symlink_to(folder)
    found = source(model=str(link))
    assert found.location == str(folder)
    assert found.places == [link]
    assert source(model="org/name").places == []
    assert source(license=EVALUATION_KEY, cache_dir=tmp_path).places == []


def test_catalogue_names_a_model_of_hugging_face_and_its_short_name_is_served() -> None:
    found = source(model="qwen3-0.6b")
    assert (found.name, found.entry) == ("qwen3-0.6b", find("qwen3-0.6b"))
    assert found.fetch == FetchFromHub("Qwen/Qwen3-0.6B")
    revision = source(model="qwen3-0.6b", engine_args=("--revision", "abc"))
    assert revision.fetch == FetchFromHub("Qwen/Qwen3-0.6B", "abc")


def test_a_variant_is_another_checkpoint_of_hugging_face_under_the_same_served_name() -> None:
    fp8, unquantized = source(model="qwen3-8b:fp8"), source(model="qwen3-8b:bf16")
    assert (fp8.name, fp8.exact_name, fp8.fetch) == ("qwen3-8b", "qwen3-8b:fp8", FetchFromHub("Qwen/Qwen3-8B-FP8"))
    assert unquantized.exact_name == "qwen3-8b:bf16"
    assert (unquantized.name, unquantized.fetch) == ("qwen3-8b", FetchFromHub("Qwen/Qwen3-8B"))
    revision = source(model="qwen3-8b:fp8", engine_args=("--revision", "abc"))
    assert revision.fetch == FetchFromHub("Qwen/Qwen3-8B-FP8", "abc")
    assert source(model="org/name").exact_name == "org/name"
    with pytest.raises(UsageError, match=r"^qwen3-8b has no variant fp9\.") as caught:
        source(model="qwen3-8b:fp9")
    assert caught.value.hint == "Did you mean qwen3-8b:fp8?"
    with pytest.raises(UsageError, match=r"^There is no model qwen9:fp8: "):
        source(model="qwen9:fp8")


def test_known_models_are_sorted_and_without_aliases() -> None:
    with pytest.raises(UsageError) as caught:
        source(model="xyz")
    assert caught.value.hint.startswith("Known: demo, gemma-3-4b, ")
    names = caught.value.hint.removeprefix("Known: ").rstrip(".").split(", ")
    assert names == sorted(names)
    assert "large" not in names
    with pytest.raises(UsageError, match=r"Did you mean large\?"):
        source(model="larje")


def test_folder_comes_before_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "qwen3-0.6b").mkdir()
    (tmp_path / "qwen3-0.6b" / "config.json").write_text("{}")
    folder = tmp_path / "qwen3-0.6b"
    assert source(model="qwen3-0.6b") == Source("qwen3-0.6b", str(folder), given_folder=folder)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, UsageError),
        ({"license": "AAAAA-BBBBB"}, LicenseError),
        ({"license": "çé"}, LicenseError),
        ({"license": EVALUATION_KEY, "model": "small"}, LicenseError),
        ({"model": "demos"}, UsageError),
        ({"model": "/nowhere/at/all"}, UsageError),
        ({"model": "/"}, WeightsError),
    ],
)
def test_invalid_selections(given: dict[str, object], error: type[MariTalkError]) -> None:
    with pytest.raises(error):
        source(**given)
