"""Finished sentences are translated by matching the catalogue; other text is unchanged."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from maritalk_vllm.language import Language, choose
from maritalk_vllm.server.startup.console import Console
from maritalk_vllm.settings import TimeUnit
from maritalk_vllm.translation import translated
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
    ("english", "portuguese"),
    [
        ("Print JSON.", "Imprime JSON."),
        ("  Print JSON.", "  Imprime JSON."),
        ("There is no key 7.", "Não existe a chave 7."),
        # Placeholders are translated in turn,
        ("4 cards, tensor parallel: 4 does not divide its 9 attention heads",
         "4 placas, tensor parallel: 4 não divide seus 9 attention heads"),
        (
            "MariTalk Small does not run on a CPU: "
            "it needs an NVIDIA GPU of compute capability 8.0 or more and 24 GB of GPU memory in all (tested on A10).",
            "MariTalk Small não roda em uma CPU: ele precisa de uma GPU NVIDIA de compute capability 8.0 ou mais "
            "e de 24 GB de memória de GPU no total (testado em A10).",
        ),
        # element by element in a list, without the separators.
        (
            "Plan: the CPU, 4 cores by 2 workers, bfloat16; "
            "0.3 GB of weights and 1.1 GB of KV cache for each in 24.7 GB of memory, for 5.7 users at 8192 tokens.",
            "Plano: a CPU, 4 núcleos por 2 workers, bfloat16; "
            "0.3 GB de pesos e 1.1 GB de KV cache para cada um em 24.7 GB de memória, "
            "para 5.7 usuários com 8192 tokens.",
        ),
        # A sentence may be part of another, with another first letter and without its full stop.
        ("The engine died: starting it again now.", "O motor caiu: ele está sendo reiniciado."),
        ("Whoever reaches this port may use the model.", "Whoever reaches this port may use the model."),
        (
            "The engine died. It was started again 3 times within 10 minutes before. Check --revision.",
            "O motor caiu. Ele já foi reiniciado 3 vezes em 10 minutos. Verifique --revision.",
        ),
        # Of two matches, the one that translates more: not everything after the colon is the reason.
        (
            "The licence service http://a cannot be asked about this key: it answers 500. "
            "Its last answer is of 2026-01-01 and served for 14 days.",
            "Não é possível consultar o serviço de licenças http://a sobre esta chave: ele responde 500. "
            "A última resposta dele é de 2026-01-01 e valeu por 14 dias.",
        ),
        # Line by line; unknown text is unchanged.
        ("Print JSON.\n\nNobody did.\n  Sign a licence.", "Imprime JSON.\n\nNobody did.\n  Assina uma licença."),
        ("Nobody wrote this. Give both or neither.", "Nobody wrote this. Informe os dois ou nenhum."),
        # A single word in a sentence may be a name: `file`, not "arquivo".
        ("There is no model file.", "Não existe o modelo file."),
        ("file", "arquivo"),
        ("x is no public key in PEM.", "x não é uma chave pública em PEM."),
        # The place of a value, within a sentence and at its end.
        (
            "Invalid value for port in line 1 of a.yaml, which is '22:30': Input should be a valid integer, "
            "unable to parse string as an integer.",
            "Valor inválido para port na linha 1 de a.yaml, que é '22:30': não é um número inteiro.",
        ),
        (
            "There is no folder ./x. Give the folder of a checkpoint. --model is set by model in line 1 of a.yaml.",
            "Não existe a pasta ./x. Informe a pasta de um checkpoint. --model vem de model na linha 1 de a.yaml.",
        ),
        (
            "Invalid value for --max-model-len: '1.5K' has a fraction, which 8K and 8M cannot have: write 1.5k.",
            "Valor inválido para --max-model-len: '1.5K' tem uma fração, que 8K e 8M não podem ter: escreva 1.5k.",
        ),
        ("", ""),
    ],
)  # fmt: skip
def test_sentences_are_translated_into_portuguese(english: str, portuguese: str) -> None:
    assert translated(english) == portuguese
    choose(Language.ENGLISH)
    assert translated(english) == english


def test_translating_a_long_foreign_text_is_fast() -> None:
    """vLLM's errors are translated too, and some are pages long."""
    began = time.monotonic()
    for parts in (7, 35, 2000):
        text = "; ".join(f"part {number} of something, that is (nothing) at all: no" for number in range(parts))
        assert text in translated(f"vLLM failed to start: {text}.")
    assert time.monotonic() - began < 5


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
    said = re.sub(r"\[-- VLLM FLAGS\]|\S*[-/.]\S+", "", f"{result.stdout}{result.stderr}")
    assert said.strip()
    assert [line for line in said.splitlines() if ENGLISH.search(line)] == []


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
    console.starting("demo", ["Warning: this licence is nearly over.", "Warning: Give both or neither."], Path("/log"))
    console.progress("Importing vLLM")
    console.progress("Loading weights 1/2", 0.5)
    console.loaded()
    console.warming_up()
    console.engine_died("The engine died: starting it again in 2 s.")
    console.listening("http://here", arguments="", unit=TimeUnit.SECONDS)
    said = re.sub(r"\[2.*?\] ", "", capsys.readouterr().out).splitlines()
    assert said[:10] == [
        "Starting MariTalk Local API demo...",
        "Aviso: this licence is nearly over.",
        "Aviso: Informe os dois ou nenhum.",
        "vLLM's log: /log",
        "Importando o vLLM...",
        "Carregando os pesos 1/2 (50%)...",
        "✓ Loaded in 0s",
        "Warming up...",
        "O motor caiu: ele será reiniciado em 2 s.",
        "Start using MariTalk Local API:",
    ]
    assert said[-1] == "Listening on http://here"
