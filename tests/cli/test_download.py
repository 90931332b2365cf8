"""`maritalk-vllm download`: its progress lines outside a terminal."""

from collections.abc import Iterator

import pytest

from maritalk_vllm.cli.download import ProgressDisplay
from maritalk_vllm.i18n.language import Language, choose
from maritalk_vllm.i18n.message import msg


@pytest.fixture(autouse=True)
def reset_language() -> Iterator[None]:
    yield
    choose(Language.ENGLISH)


@pytest.mark.parametrize(
    ("language", "lines"),
    [
        (
            Language.ENGLISH,
            [
                "Looking for google/gemma-3...",
                "Downloading google/gemma-3: 0.0 GB of 14.6 GB",
                "Downloading google/gemma-3: 2.6 GB of 14.6 GB, 20.0 MB/s, 10 min left",
                "Unpacking google/gemma-3: 1.0 GB",
                "Unpacking google/gemma-3: 4.0 GB, 50.0 MB/s",
            ],
        ),
        (
            Language.PORTUGUESE,
            [
                "Procurando google/gemma-3...",
                "Baixando google/gemma-3: 0,0 GB de 14,6 GB",
                "Baixando google/gemma-3: 2,6 GB de 14,6 GB, 20,0 MB/s, faltam 10 min",
                "Descompactando google/gemma-3: 1,0 GB",
                "Descompactando google/gemma-3: 4,0 GB, 50,0 MB/s",
            ],
        ),
    ],
)
def test_download_progress_lines(
    language: Language, lines: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(language)
    now = 1000.0
    downloading = msg("Downloading {what}", what="google/gemma-3")
    unpacking = msg("Unpacking {what}", what="google/gemma-3")
    monkeypatch.setattr("time.monotonic", lambda: now)
    with ProgressDisplay() as meter:
        meter.show(msg("Looking for {name}", name="google/gemma-3"), 0, None)
        meter.show(downloading, 0, 14_600_000_000)
        now += 130
        meter.show(downloading, 2_600_000_000, 14_600_000_000)
        meter.show(unpacking, 1_000_000_000, None)
        now += 60
        meter.show(unpacking, 4_000_000_000, None)
    assert capsys.readouterr().out.splitlines() == lines
