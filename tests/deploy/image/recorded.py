"""A builder for tests that only records the instructions."""

from dataclasses import dataclass, field

from tests.deploy.image.dockerfile import Image, Stage, Step


@dataclass
class Recorded:
    """The recorded instructions of all stages, in order."""

    begun: list[str] = field(default_factory=list)
    ran: list[tuple[str, str]] = field(default_factory=list)
    copied: list[tuple[str, str | None, list[str], str]] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)

    def begin(self, stage: Stage) -> None:
        self.begun.append(stage.name)

    def run(self, stage: Stage, image: Image, step: Step) -> None:
        self.ran.append((stage.name, step.value))

    def copy(self, stage: Stage, origin: str | None, sources: list[str], target: str) -> None:
        self.copied.append((stage.name, origin, sources, target))

    def make_folder(self, stage: Stage, path: str) -> None:
        self.folders.append(path)
