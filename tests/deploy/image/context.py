"""Docker's build context: .dockerignore, with the patterns that ours uses."""

from fnmatch import fnmatchcase
from pathlib import Path


class Context:
    """The files of a folder that its .dockerignore does not exclude."""

    def __init__(self, root: Path) -> None:
        self.root = root
        lines = (root / ".dockerignore").read_text().splitlines()
        self._rules = [line for line in lines if line and not line.startswith("#")]

    def has(self, path: Path) -> bool:
        """Whether the context contains a path. The last rule that matches it or one of its parents decides."""
        inside = path.relative_to(self.root)
        names = [inside, *list(inside.parents)[:-1]]
        taken = True
        for rule in self._rules:
            pattern = rule.removeprefix("!")
            if any(_matches(str(name), pattern) for name in names):
                taken = rule.startswith("!")
        return taken

    def files(self, source: str) -> list[Path]:
        """The files that COPY of this source copies. Raises FileNotFoundError if there are none."""
        start = self.root / source
        found = [start] if start.is_file() else [path for path in sorted(start.rglob("*")) if path.is_file()]
        if not (taken := [path for path in found if self.has(path)]):
            raise FileNotFoundError(f"COPY {source}: nothing of it is in the context")
        return taken


def _matches(name: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatchcase(Path(name).name, pattern.removeprefix("**/"))
    # `*` matches one path component, without its children.
    return name.count("/") == pattern.count("/") and fnmatchcase(name, pattern)
