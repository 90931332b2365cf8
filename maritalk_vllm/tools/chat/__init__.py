"""The chat in a terminal, or in a pipe: a client of any server that speaks MariTalk Local's API."""
