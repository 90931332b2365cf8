"""Finished English sentences in the language chosen, at the edge: where a person reads them.

Errors, plans and checks are made in English, and go into JSON, into logs and over HTTP as they are. What is printed is
found again in the catalogue, of whose entries it is an instance.
"""

import functools
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass

from .language import Language, catalogue, spoken

_SHAPES = {"number": r"[\d.,]+", "size": r"[\d.,]+ [kMG]?B", "kind": r"\w+(?: \w+)?"}
"""What a name with this beginning stands for, so that short entries are not taken for what they are not."""

_WORD = "kind"
"""A name with this beginning stands for words that are translated; any other single word may be somebody's name."""

_JOINTS = re.compile(r"(?<=[.?!]) |: |; |, | (?=\()")
"""Where what is said may be several things."""

_MOST_JOINTS, _LONGEST = 16, 2000
"""What has more of them, or more characters, is somebody else's text and left alone: all of it takes too long."""


def translated(text: str) -> str:
    """The text in the language chosen, line by line. What the catalogue does not know stays as it is."""
    if spoken() is Language.ENGLISH:
        return text
    return "\n".join(catalogue().get(line) or _inside(line)[1] for line in text.split("\n"))


@dataclass(frozen=True, slots=True)
class _Entry:
    """A sentence of the catalogue with `{names}`: how to know it again, and how much of it is its own."""

    begins: str
    ends: str
    pattern: re.Pattern[str]
    names: tuple[str, ...]
    portuguese: str
    own: int

    def read(self, text: str) -> tuple[int, str] | None:
        """How many characters of the text are known by this, and its Portuguese; None if it is no instance."""
        if not text.startswith(self.begins) or not text.endswith(self.ends):
            return None
        found = self.pattern.fullmatch(text)
        if found is None:
            return None
        values = {name: _value(name, value) for name, value in zip(self.names, found.groups(), strict=True)}
        filled = "".join(
            literal + (values[name][1] if name is not None else "")
            for literal, name, *_ in string.Formatter().parse(self.portuguese)
        )
        return self.own + sum(known for known, _ in values.values()), filled


def _entry(english: str, portuguese: str) -> _Entry:
    parts = [(literal, name) for literal, name, *_ in string.Formatter().parse(english)]
    pattern, before = "", ""
    for literal, name in parts:
        pattern += re.escape(literal)
        if name is not None:
            # What follows a word without a space may be nothing: `{cards} of KV cache{where}`.
            least = "*?" if re.search(r"[\w)}]$", literal or before) else "+?"
            shape = next((shape for kind, shape in _SHAPES.items() if name.startswith(kind)), f".{least}")
            pattern += f"({shape})"
            before = "}"
    last, name = parts[-1]
    return _Entry(
        begins=parts[0][0],
        ends="" if name is not None else last,
        pattern=re.compile(pattern),
        names=tuple(name for _, name in parts if name is not None),
        portuguese=portuguese,
        own=sum(len(literal) for literal, _ in parts),
    )


@functools.cache
def _entries() -> list[_Entry]:
    return [_entry(english, portuguese) for english, portuguese in catalogue().items() if "{" in english]


def _value(name: str, text: str) -> tuple[int, str]:
    if name.startswith(_WORD) and text in catalogue():
        return len(text), catalogue()[text]
    return _inside(text)


def _inside(text: str) -> tuple[int, str]:
    """The reading of a text without what only surrounds it: indentation, a joint to what is before, brackets."""
    bare = text.strip(" ,;")
    if bare.startswith("(") and bare.endswith(")") and not _reading(bare)[0]:
        bare = bare[1:-1]
    if not bare:
        return 0, text
    known, said = _reading(bare)
    before, _, after = text.partition(bare)
    return known, f"{before}{said}{after}"


@functools.lru_cache(maxsize=4096)
def _reading(text: str) -> tuple[int, str]:
    """How much of a text is known, and what it says: of all readings the one that knows most, else the text itself."""
    best = 0, text
    if len(text) > _LONGEST:
        return best
    for known, said in _readings(text):
        if known > best[0]:
            best = known, said
    return best


def _readings(text: str) -> Iterator[tuple[int, str]]:
    yield from _as_one(text)
    joints = list(_JOINTS.finditer(text))
    for joint in joints if len(joints) <= _MOST_JOINTS else ():
        before = text[: joint.start()]
        first, said = max(_as_one(before), key=lambda reading: reading[0], default=(0, before))
        second, rest = _inside(text[joint.end() :])
        yield first + second, f"{said}{joint[0]}{rest}"


def _as_one(text: str) -> Iterator[tuple[int, str]]:
    """Readings as one sentence, also where its first letter or its full stop is another than in the catalogue."""
    yield from _as_it_is(text)
    if text[:1].isupper():
        yield from ((known, said[:1].upper() + said[1:]) for known, said in _as_it_is(text[0].lower() + text[1:]))
    if text.endswith("."):
        yield from ((known, f"{said}.") for known, said in _as_it_is(text[:-1]))
    else:
        yield from ((known, said.removesuffix(".")) for known, said in _as_it_is(f"{text}."))


@functools.lru_cache(maxsize=4096)
def _as_it_is(text: str) -> tuple[tuple[int, str], ...]:
    if " " in text and text in catalogue():
        return ((len(text), catalogue()[text]),)
    return tuple(reading for entry in _entries() if (reading := entry.read(text)) is not None)
