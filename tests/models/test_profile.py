"""The profiles in configs/."""

from maritalk_vllm.models.profile import find, profiles


def test_every_file_is_a_profile_with_its_own_name() -> None:
    assert set(profiles()) == {"demo", "small", "medium"}


def test_large_is_an_alias_of_medium() -> None:
    assert find("large") == find("medium")
    assert find("nothing") is None


def test_requirements_match_the_reference() -> None:
    small, medium = find("small"), find("medium")
    assert small is not None and medium is not None
    assert (small.gpu_memory_gb, small.host_memory_gb, small.min_compute_capability) == (24, 32, (8, 0))
    assert (medium.gpu_memory_gb, medium.host_memory_gb, medium.min_compute_capability) == (70, 130, (8, 0))
