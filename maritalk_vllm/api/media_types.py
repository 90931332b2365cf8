"""The media types of responses."""

JSON = "application/json"
"""Without a charset: MariTalk clients since 0.1.6 display an error message only for exactly this content type."""

EVENTS = "text/event-stream"
