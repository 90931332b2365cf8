"""The turns of a conversation, and which of them are still sent to the model."""

from collections.abc import Sequence
from dataclasses import dataclass

Message = dict[str, str]


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its answer, which may be partial if it was interrupted."""

    question: str
    answer: str


class Conversation:
    """Turns in order. Turns that no longer fit into the context are kept, but not sent."""

    def __init__(self, system: str = "") -> None:
        self.system = system
        """The system message; empty for none."""
        self._turns: list[Turn] = []
        self._dropped = 0

    @property
    def turns(self) -> Sequence[Turn]:
        """All turns."""
        return self._turns

    @property
    def active_turns(self) -> int:
        """Number of the latest turns that are sent with a question."""
        return len(self._turns) - self._dropped

    def messages(self, question: str, *, skip: int = 0) -> list[Message]:
        """The messages of a request, without the first `skip` of the active turns."""
        return [*self._to_messages(self._turns[self._dropped + skip :]), _message("user", question)]

    def transcript(self) -> list[Message]:
        """The messages of all turns, including those no longer sent."""
        return self._to_messages(self._turns)

    def add(self, question: str, answer: str) -> None:
        """Add a turn."""
        self._turns.append(Turn(question, answer))

    def drop_oldest(self, count: int) -> None:
        """Stop sending the oldest `count` of the active turns."""
        self._dropped += count

    def clear(self) -> None:
        """Remove all turns; keep the system message."""
        self._turns.clear()
        self._dropped = 0

    def _to_messages(self, turns: Sequence[Turn]) -> list[Message]:
        messages = [_message("system", self.system)] if self.system else []
        for turn in turns:
            messages += [_message("user", turn.question), _message("assistant", turn.answer)]
        return messages


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}
