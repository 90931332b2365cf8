"""Writes a conversation to a file: JSON if its name ends in .json, else Markdown."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...i18n.rendering import say
from .conversation import Conversation


class Transcript:
    """Writes conversations to files. Overwrites only files that it has written itself."""

    def __init__(self) -> None:
        self._written: set[Path] = set()

    def write(
        self, file: Path, conversation: Conversation, parameters: Mapping[str, Any], answer_name: Callable[[], str]
    ) -> str:
        """Write a conversation and return a confirmation message. Raises UsageError where it cannot be written.

        `answer_name` returns the title of answers in Markdown.
        """
        file = file.expanduser().absolute()
        is_json = file.suffix.lower() == ".json"
        text = _json(conversation, parameters) if is_json else _markdown(conversation, answer_name())
        overwrite = file in self._written
        try:
            with file.open("w" if overwrite else "x", encoding="utf-8") as opened:
                opened.write(text)
        except FileExistsError as error:
            raise UsageError(
                say("{file} already exists and is not overwritten.", file=file), say("Give another name.")
            ) from error
        except OSError as error:
            message = say("{file} cannot be written: {reason}.", file=file, reason=error.strerror)
            raise UsageError(message, say("Give another name.")) from error
        self._written.add(file)
        return (
            say("Written again, over the same file: {file}", file=file)
            if overwrite
            else say("Written: {file}", file=file)
        )


def _json(conversation: Conversation, parameters: Mapping[str, Any]) -> str:
    content = {"messages": conversation.transcript(), "parameters": dict(parameters)}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _markdown(conversation: Conversation, answer_name: str) -> str:
    titles = {"system": say("System"), "user": say("You"), "assistant": answer_name}
    parts = [f"## {titles[message['role']]}\n\n{message['content']}\n" for message in conversation.transcript()]
    return "\n".join(parts)
