"""Chat client for a terminal or a pipe, for any server with MariTalk Local's API."""
