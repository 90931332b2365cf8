"""What was said, and what of it the model is still told."""

from collections.abc import Sequence
from dataclasses import dataclass

Message = dict[str, str]


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its answer, or as much of the answer as was waited for."""

    question: str
    answer: str


class Conversation:
    """Turns in their order. Those that the context has no room for are kept, and not sent any more."""

    def __init__(self, system: str = "") -> None:
        self.system = system
        """What the model is told before all else; nothing by default."""
        self._turns: list[Turn] = []
        self._forgotten = 0

    @property
    def turns(self) -> Sequence[Turn]:
        """All of them."""
        return self._turns

    @property
    def remembered(self) -> int:
        """How many of the last turns are sent with a question."""
        return len(self._turns) - self._forgotten

    def messages(self, question: str, *, without: int = 0) -> list[Message]:
        """What is posted with a question, `without` so many of the oldest turns that are still remembered."""
        return [*self._told(self._turns[self._forgotten + without :]), _message("user", question)]

    def transcript(self) -> list[Message]:
        """All that was said, also what is not sent any more."""
        return self._told(self._turns)

    def add(self, question: str, answer: str) -> None:
        """One more turn."""
        self._turns.append(Turn(question, answer))

    def forget(self, count: int) -> None:
        """Send so many of the oldest turns no more."""
        self._forgotten += count

    def clear(self) -> None:
        """Begin anew, with the same system message."""
        self._turns.clear()
        self._forgotten = 0

    def _told(self, turns: Sequence[Turn]) -> list[Message]:
        told = [_message("system", self.system)] if self.system else []
        for turn in turns:
            told += [_message("user", turn.question), _message("assistant", turn.answer)]
        return told


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}
