"""File descriptors in messages between processes."""

import os
from typing import NewType

InheritedDescriptor = NewType("InheritedDescriptor", int)
"""A descriptor that the receiver has inherited: neither fork nor exec with `pass_fds` changes its number."""


class Descriptor:
    """A descriptor that a message carries: the receiver gets a duplicate, with another number, and has to close it.

    Not a dataclass: msgspec would encode it as its number, instead of passing it to the channel.
    """

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.number})"

    def close(self) -> None:
        """Close the descriptor in this process."""
        os.close(self.number)
