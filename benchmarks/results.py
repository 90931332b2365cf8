"""Results as Markdown and JSON, with the machine that they were measured on."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maritalk_vllm import __version__
from maritalk_vllm.engine.vllm_version import installed_vllm

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def machine() -> dict[str, Any]:
    """Hardware and versions of this measurement."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "vllm": str(installed_vllm().version),
        "maritalk_vllm": __version__,
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def write(folder: Path, name: str, title: str, measured: object, lines: Sequence[str]) -> None:
    """Write everything to `NAME.json` and the tables to `NAME.md`, and print the tables."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = machine()
    content = {"title": title, "machine": environment, "measured": measured}
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    summary = ", ".join(f"{key} {value}" for key, value in environment.items())
    text = "\n".join([f"# {title}", "", summary, "", *lines, ""])
    (folder / f"{name}.md").write_text(text)
    print(text)


def table(rows: Sequence["DataclassInstance"]) -> list[str]:
    """Dataclass instances as a Markdown table, with their field names as the header."""
    names = [field.name for field in fields(rows[0]) if not isinstance(getattr(rows[0], field.name), tuple)]
    lines = ["| " + " | ".join(name.replace("_", " ") for name in names) + " |", "|" + "---|" * len(names)]
    return lines + ["| " + " | ".join(_cell(getattr(row, name)) for name in names) + " |" for row in rows]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def ratios(lines: Sequence[tuple[str, float, str]]) -> list[str]:
    """Performance targets as a Markdown table: name, measured value, target."""
    return ["| ratio | measured | target |", "|---|---|---|"] + [
        f"| {name} | {value:.3f} | {target} |" for name, value, target in lines
    ]
