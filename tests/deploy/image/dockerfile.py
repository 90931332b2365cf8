"""Parse our Dockerfile into stages, and pass their steps to a builder in order."""

import io
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template
from typing import Protocol

from dockerfile_parse import DockerfileParser

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Default of every image."""

_FLAG = re.compile(r"--([a-z-]+)=(\S+)\s+")


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction. A flag may occur several times: `RUN --mount=... --mount=...`."""

    instruction: str
    value: str
    flags: tuple[tuple[str, str], ...] = ()

    def flag(self, name: str) -> str | None:
        return dict(self.flags).get(name)


@dataclass
class Stage:
    """`base` is another stage or an image."""

    name: str
    base: str
    steps: list[Step] = field(default_factory=list)


@dataclass
class Image:
    """The configuration of an image."""

    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    arguments: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    volumes: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    user: str = ""
    folder: str = "/"
    stop_signal: str = "SIGTERM"
    entrypoint: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    health_flags: dict[str, str] = field(default_factory=dict)

    def filled(self, text: str) -> str:
        """Expand variables. Raises KeyError for an unknown variable, ValueError for an unsupported form."""
        return Template(text).substitute(self.arguments | self.environment)


class Builder(Protocol):
    """Executes the instructions that change files."""

    def begin(self, stage: Stage) -> None: ...
    def run(self, stage: Stage, image: Image, step: Step) -> None: ...
    def copy(self, stage: Stage, origin: str | None, sources: list[str], target: str) -> None: ...
    def make_folder(self, stage: Stage, path: str) -> None: ...


class Dockerfile:
    """`arguments` are those of `docker build --build-arg`."""

    def __init__(self, text: str, arguments: Mapping[str, str] | None = None) -> None:
        self.stages: dict[str, Stage] = {}
        self._given = dict(arguments or {})
        self._global: dict[str, str] = {}
        for part in DockerfileParser(fileobj=io.BytesIO(text.encode())).structure:
            if part["instruction"] != "COMMENT":
                self._take(_step(part["instruction"], part["value"]))

    def _take(self, step: Step) -> None:
        if step.instruction == "FROM":
            named = re.fullmatch(r"(\S+) AS (\S+)", Template(step.value).substitute(self._global))
            assert named is not None, step.value
            base, name = named.groups()
            self._last = self.stages[name] = Stage(name, base)
        elif self.stages:
            self._last.steps.append(step)
        else:
            name, _, default = step.value.partition("=")
            self._global[name] = self._given.get(name, default)

    @property
    def default(self) -> str:
        """The default target of `docker build`."""
        return self._last.name

    def build(self, target: str, builder: Builder) -> Image:
        """Pass the steps of a target to a builder, after those of the stages that it is based on or copies from."""
        built: dict[str, Image] = {}

        def stage(name: str) -> Image:
            if name not in built:
                built[name] = self._build(self.stages[name], stage, builder)
            return built[name]

        return stage(target)

    def _build(self, stage: Stage, other: "_Other", builder: Builder) -> Image:
        image = Image()
        if stage.base in self.stages:
            base = other(stage.base)
            image = Image(environment=dict(base.environment), user=base.user, folder=base.folder)
        for step in stage.steps:
            if (origin := step.flag("from")) is not None:
                other(origin)
        builder.begin(stage)
        for step in stage.steps:
            self._apply(step, stage, image, builder)
        return image

    def _apply(self, step: Step, stage: Stage, image: Image, builder: Builder) -> None:
        value = step.value if step.instruction == "RUN" else image.filled(step.value)
        match step.instruction:
            case "ARG":
                name, _, default = value.partition("=")
                image.arguments[name] = self._given.get(name, default or self._global.get(name, ""))
            case "ENV":
                image.environment |= _pairs(value)
            case "LABEL":
                image.labels |= _pairs(value)
            case "USER":
                image.user = value
            case "WORKDIR":
                image.folder = value
                builder.make_folder(stage, value)
            case "VOLUME":
                image.volumes += _words(value)
            case "EXPOSE":
                image.ports += _words(value)
            case "STOPSIGNAL":
                image.stop_signal = value
            case "ENTRYPOINT":
                image.entrypoint = _words(value)
            case "HEALTHCHECK":
                image.health_flags, image.health = dict(step.flags), _words(value.removeprefix("CMD "))
            case "COPY":
                *sources, target = _words(value)
                place = target if target.startswith("/") else f"{image.folder}/{target}"
                builder.copy(stage, step.flag("from"), sources, place)
            case "RUN":
                builder.run(stage, image, step)
            case other:
                raise ValueError(f"{other} is not known here")


class _Other(Protocol):
    def __call__(self, name: str) -> Image: ...


def _step(instruction: str, value: str) -> Step:
    flags = []
    while found := _FLAG.match(value):
        flags.append((found[1], found[2]))
        value = value[found.end() :]
    return Step(instruction, value, tuple(flags))


def _words(value: str) -> list[str]:
    words: list[str] = json.loads(value) if value.startswith("[") else value.split()
    return words


def _pairs(value: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(value))
