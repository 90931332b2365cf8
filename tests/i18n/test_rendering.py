"""Messages are rendered with the translation of their template; commands print no English in Portuguese."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from maritalk_vllm.errors import UsageError
from maritalk_vllm.i18n.language import Language, choose
from maritalk_vllm.i18n.message import (
    Number,
    capitalized,
    clause,
    joined,
    msg,
    numeral,
    pluralized,
    sentences,
    tenths,
    with_full_stop,
)
from maritalk_vllm.i18n.rendering import localized
from maritalk_vllm.server.startup.console import Console
from maritalk_vllm.settings import TimeUnit
from tests.commands import run

ENGLISH = re.compile(
    r"\b(the|of|is|are|and|with|needs?|needed|from|for|not|which|fits?|free|what|cores?|cards?)\b", re.I
)
"""Words of nearly every English sentence, and of no Portuguese one."""

DEMO = ("--license", "000000-00000-00000-00000", "--device", "cpu")


@pytest.fixture(autouse=True)
def in_portuguese() -> Iterator[None]:
    choose(Language.PORTUGUESE)
    yield
    choose(Language.ENGLISH)


@pytest.mark.parametrize(
    ("text", "english", "portuguese"),
    [
        # Text that is all of an entry; any other is unchanged.
        ("Print JSON.", "Print JSON.", "Imprime JSON."),
        ("file", "file", "arquivo"),
        ("Not in the catalogue.", "Not in the catalogue.", "Not in the catalogue."),
        ("", "", ""),
        # Values: a number, a message, a sentence of the catalogue. A single word may be a name.
        (
            msg("{number} cards, tensor parallel: {why}", number=4, why=msg("{count} is {what}", count=1, what="x y")),
            "4 cards, tensor parallel: 1 is x y",
            "4 GPUs, tensor parallel: 1 is x y",
        ),
        (msg("There is no model {asked}.", asked="file"), "There is no model file.", "Não existe o modelo file."),
        (
            msg("Warning: {warning}", warning="Give both or neither."),
            "Warning: Give both or neither.",
            "Aviso: Informe os dois ou nenhum.",
        ),
        (msg("{number} tokens", number=Number(121326)), "121,326 tokens", "121.326 tokens"),
        (numeral(5.94, ".1f"), "5.9", "5,9"),
        (numeral(0.5, ".0%"), "50%", "50%"),
        (pluralized(1, "{number} core", "{number} cores"), "1 core", "1 núcleo"),
        (pluralized(2, "{number} core", "{number} cores"), "2 cores", "2 núcleos"),
        # A whole number has no decimal. In Portuguese the plural begins at 2, in English after 1.
        (pluralized(tenths(0.96), "{number} user", "{number} users"), "1 user", "1 usuário"),
        (pluralized(tenths(1.04), "{number} user", "{number} users"), "1 user", "1 usuário"),
        (pluralized(tenths(1.25), "{number} user", "{number} users"), "1.2 users", "1,2 usuário"),
        (pluralized(tenths(1999.96), "{number} user", "{number} users"), "2,000 users", "2.000 usuários"),
        # A quantity that the text agrees with, with other values.
        (pluralized(1, "{here} has {size}.", "{here} have {size}.", here="x", size="y"), "x has y.", "x has y."),
        # Parts, and what is done to the text in either language.
        (joined("; ", ["Print JSON.", "{x}", msg("{a}", a=1)]), "Print JSON.; {x}; 1", "Imprime JSON.; {x}; 1"),
        (sentences("Print JSON.", "", "Give both or neither."), "Print JSON. Give both or neither.",
         "Imprime JSON. Informe os dois ou nenhum."),
        (capitalized("the installed vLLM is its CPU build"), "The installed vLLM is its CPU build",
         "O vLLM instalado é a versão CPU"),
        (clause("Print JSON."), "Print JSON", "Imprime JSON"),
        (with_full_stop("Print JSON."), "Print JSON.", "Imprime JSON."),
        (with_full_stop("No such option: x"), "No such option: x.", "No such option: x."),
    ],
)  # fmt: skip
def test_a_message_is_rendered_in_the_selected_language(text: str, english: str, portuguese: str) -> None:
    assert localized(text) == portuguese
    assert type(localized(text)) is str
    assert text == english
    choose(Language.ENGLISH)
    assert localized(text) == english
    assert type(localized(text)) is str


def test_an_error_renders_its_message_and_its_hint() -> None:
    error = UsageError(msg("There is no model {asked}.", asked="x"), "Give both or neither.")
    assert str(error) == "There is no model x. Give both or neither."
    assert localized(error.text) == "Não existe o modelo x. Informe os dois ou nenhum."


@pytest.mark.parametrize(
    "command",
    [
        ("maritalk-serve", "--lang", "pt", "--dry-run", "--port", "0", *DEMO),
        ("maritalk-vllm", "--lang", "pt", "plan", "--gpus", "1xT4", "--model", "medium"),
        ("maritalk-vllm", "--lang", "pt", "plan", "--gpus", "3xA10,1xT4", "--model", "medium"),
        ("maritalk-vllm", "--lang", "pt", "plan", "--suggest", "--model", "small"),
        ("maritalk-vllm", "--lang", "pt", "doctor", *DEMO),
        ("maritalk-vllm", "--lang", "pt", "license", "inspect", "nothing"),
        ("maritalk-vllm", "--lang", "pt", "license", "add-key"),
        ("maritalk-vllm", "--lang", "pt", "bench", "--users", "0"),
        ("maritalk-serve", "--lang", "pt", "--help"),
        ("maritalk-vllm", "--lang", "pt", "license", "serve", "--help"),
    ],
    ids=" ".join,
)
def test_commands_print_no_english_in_portuguese(command: tuple[str, ...]) -> None:
    result = run(*command)
    said = re.sub(r"\[MODEL\] \[-- VLLM FLAGS\]|\S*[-/.]\S+", "", f"{result.stdout}{result.stderr}")
    assert said.strip()
    assert [line for line in said.splitlines() if ENGLISH.search(line)] == []


def test_numbers_are_those_of_the_language_and_values_of_options_stay() -> None:
    printed = run("maritalk-vllm", "--lang", "pt", "plan", "--gpus", "4xA10", "--model", "medium").stdout
    assert "116.042 tokens, 28,5 GB" in printed
    assert re.search(r"A10 +8\.6 +24,1 GB ", printed)  # also in a table
    assert re.search(r"gpu_memory_utilization +0\.92\n", printed)


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "--json", "--gpus", "3xA10,1xT4", "--model", "medium"),
        ("plan", "--json", "--gpus", "1xT4", "--model", "medium"),
        ("plan", "--json", "--suggest", "--model", "small"),
    ],
)
def test_json_is_the_same_in_both_languages(arguments: tuple[str, ...]) -> None:
    english, portuguese = (run("maritalk-vllm", *arguments, "--lang", language).stdout for language in ("en", "pt"))
    assert portuguese == english
    assert json.loads(english)


def test_lines_that_programs_parse_stay_english(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.starting(
        "demo", [msg("Warning: {warning}", warning=each) for each in ("x", "Give both or neither.")], Path("/log")
    )
    console.progress("Importing vLLM")
    console.progress(msg("Loading weights {done}/{total}", done=1, total=2), 0.5)
    console.loaded()
    console.warming_up()
    console.engine_event(msg("{died}: starting it again in {pause} s.", died=clause("The engine died."), pause=2))
    console.listening("http://here", port=9000, unit=TimeUnit.SECONDS)
    said = re.sub(r"\[2.*?\] ", "", capsys.readouterr().out).splitlines()
    assert said[:10] == [
        "Starting MariTalk Local API demo...",
        "Aviso: x",
        "Aviso: Informe os dois ou nenhum.",
        "Log do vLLM: /log",
        "Importando o vLLM...",
        "Carregando os pesos 1/2 (50%)...",
        "✓ Loaded in 0s",
        "Warming up...",
        "O motor caiu: ele será reiniciado em 2 s.",
        "Start using MariTalk Local API:",
    ]
    assert said[-1] == "Listening on http://here"


def test_banner_has_an_example_that_the_demo_model_answers_like_this(capsys: pytest.CaptureFixture[str]) -> None:
    Console().listening("http://here", port=1, unit=TimeUnit.MILLISECONDS, is_demo=True)
    said = capsys.readouterr().out
    assert '>>> client.generate("What is the capital of Japan?", do_sample=False)\n' in said
    assert "{'output': 'The capital of Japan is Tokyo.', 'queue_time': 0," in said
    assert "MariTalkLocal(port=1)" in said and "cachorra" not in said


@pytest.mark.parametrize(
    ("has_keys", "certificate", "command"),
    [
        (True, None, 'curl -H "Authorization: Bearer $MARITALK_API_KEY" http://localhost:1/'),
        (False, Path("/etc/a b.pem"), "curl --cacert '/etc/a b.pem' https://localhost:1/"),
        (
            True,
            Path("/etc/c.pem"),
            'curl --cacert /etc/c.pem -H "Authorization: Bearer $MARITALK_API_KEY" https://localhost:1/',
        ),
    ],
)
def test_banner_names_curl_where_the_published_client_cannot_connect(
    has_keys: bool, certificate: Path | None, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for is_demo in (False, True):
        Console().listening(
            "https://here", port=1, unit=TimeUnit.SECONDS, is_demo=is_demo, has_keys=has_keys, ca=certificate
        )
        first, _, *example, _, last = capsys.readouterr().out.splitlines()
        assert first == "Start using MariTalk Local API:"
        assert example[0].startswith(f"        $ {command}chat/generate -d ")
        assert json.loads(shlex.split(example[0].strip())[-1])["messages"]
        assert json.loads(example[1])["queue_time"] == 0
        assert last.endswith("Listening on https://here")
