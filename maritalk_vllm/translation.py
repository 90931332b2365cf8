"""Translates complete English messages where they are printed.

Errors, plans and checks are created in English, and go into JSON, logs and HTTP responses untranslated. For printing,
a message is matched against the catalogue's entries and their `{names}`.
"""

import functools
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass

from .language import Language, catalogue, spoken

_SHAPES = {"number": r"[\d.,]+", "size": r"[\d.,]+ [kMG]?B", "kind": r"\w+(?: \w+)?"}
"""Pattern of a placeholder by the prefix of its name, so that short entries do not match unrelated text."""

_TRANSLATED_PREFIX = "kind"
"""Prefix of placeholders for words that are translated; any other single word may be a proper name."""

_SEPARATORS = re.compile(r"(?<=[.?!]) |: |; |, | (?=\()")
"""Where a message may be split into parts that are translated separately."""

_MAX_SEPARATORS, _MAX_LENGTH = 16, 2000
"""Text with more is not ours and is left as it is: to try all splits would take too long."""


def translated(text: str) -> str:
    """Translate a text into the selected language, line by line. Unknown parts stay as they are."""
    if spoken() is Language.ENGLISH:
        return text
    return "\n".join(catalogue().get(line) or _translate_inner(line)[1] for line in text.split("\n"))


@dataclass(frozen=True, slots=True)
class _Entry:
    """A catalogue entry with placeholders, as a pattern; `literal_length` is its length without placeholders."""

    prefix: str
    suffix: str
    pattern: re.Pattern[str]
    names: tuple[str, ...]
    portuguese: str
    literal_length: int

    def match(self, text: str) -> tuple[int, str] | None:
        """Number of matched characters of the text, and its translation; None if the entry does not match."""
        if not text.startswith(self.prefix) or not text.endswith(self.suffix):
            return None
        found = self.pattern.fullmatch(text)
        if found is None:
            return None
        values = {name: _value(name, value) for name, value in zip(self.names, found.groups(), strict=True)}
        filled = "".join(
            literal + (values[name][1] if name is not None else "")
            for literal, name, *_ in string.Formatter().parse(self.portuguese)
        )
        return self.literal_length + sum(matched for matched, _ in values.values()), filled


def _entry(english: str, portuguese: str) -> _Entry:
    parts = [(literal, name) for literal, name, *_ in string.Formatter().parse(english)]
    pattern, before = "", ""
    for literal, name in parts:
        pattern += re.escape(literal)
        if name is not None:
            # A placeholder directly after a word may be empty: `{cards} of KV cache{where}`.
            quantifier = "*?" if re.search(r"[\w)}]$", literal or before) else "+?"
            shape = next((shape for kind, shape in _SHAPES.items() if name.startswith(kind)), f".{quantifier}")
            pattern += f"({shape})"
            before = "}"
    last, name = parts[-1]
    return _Entry(
        prefix=parts[0][0],
        suffix="" if name is not None else last,
        pattern=re.compile(pattern),
        names=tuple(name for _, name in parts if name is not None),
        portuguese=portuguese,
        literal_length=sum(len(literal) for literal, _ in parts),
    )


@functools.cache
def _entries() -> list[_Entry]:
    return [_entry(english, portuguese) for english, portuguese in catalogue().items() if "{" in english]


def _value(name: str, text: str) -> tuple[int, str]:
    if name.startswith(_TRANSLATED_PREFIX) and text in catalogue():
        return len(text), catalogue()[text]
    return _translate_inner(text)


def _translate_inner(text: str) -> tuple[int, str]:
    """Translate a text without its surroundings: indentation, separators, parentheses."""
    bare = text.strip(" ,;")
    if bare.startswith("(") and bare.endswith(")") and not _best_translation(bare)[0]:
        bare = bare[1:-1]
    if not bare:
        return 0, text
    matched, translation = _best_translation(bare)
    before, _, after = text.partition(bare)
    return matched, f"{before}{translation}{after}"


@functools.lru_cache(maxsize=4096)
def _best_translation(text: str) -> tuple[int, str]:
    """The translation that matches the most characters, with their number; else 0 and the text itself."""
    best = 0, text
    if len(text) > _MAX_LENGTH:
        return best
    for matched, translation in _translations(text):
        if matched > best[0]:
            best = matched, translation
    return best


def _translations(text: str) -> Iterator[tuple[int, str]]:
    yield from _as_one_sentence(text)
    separators = list(_SEPARATORS.finditer(text))
    for separator in separators if len(separators) <= _MAX_SEPARATORS else ():
        before = text[: separator.start()]
        first, translation = max(_as_one_sentence(before), key=lambda match: match[0], default=(0, before))
        second, rest = _translate_inner(text[separator.end() :])
        yield first + second, f"{translation}{separator[0]}{rest}"


def _as_one_sentence(text: str) -> Iterator[tuple[int, str]]:
    """Translations as one sentence, whose first letter's case and full stop may differ from the catalogue's."""
    yield from _exact_matches(text)
    if text[:1].isupper():
        yield from (
            (matched, translation[:1].upper() + translation[1:])
            for matched, translation in _exact_matches(text[0].lower() + text[1:])
        )
    if text.endswith("."):
        yield from ((matched, f"{translation}.") for matched, translation in _exact_matches(text[:-1]))
    else:
        yield from ((matched, translation.removesuffix(".")) for matched, translation in _exact_matches(f"{text}."))


@functools.lru_cache(maxsize=4096)
def _exact_matches(text: str) -> tuple[tuple[int, str], ...]:
    if " " in text and text in catalogue():
        return ((len(text), catalogue()[text]),)
    return tuple(match for entry in _entries() if (match := entry.match(text)) is not None)
