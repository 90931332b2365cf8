"""What the clients ask, in the words of the wire.

The demo model's likeliest answers to these lie far before its next ones, so that every processor gives the same, and
those to the conversations end by themselves.
"""

MESSAGE = "What is the capital of Japan?"

MESSAGES = [
    {"role": "system", "content": "You know geography."},
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "The capital of France is Paris."},
    {"role": "user", "content": "What is the capital of Italy?"},
]

LINE = "metadata: x\n"
PROMPT = LINE * 4
"""The model goes on with the same line."""

ECHO = [
    {"role": "user", "content": "Some data: x"},
    {"role": "assistant", "content": "Some data: x"},
    {"role": "user", "content": "Some data: y"},
    {"role": "assistant", "content": "Some data: y"},
    {"role": "user", "content": "Some data: z"},
]
"""The model says it after the user. Clients take every `data: ` out of what they are streamed, wherever it stands."""

STOPS = [" Rome", " x"]
"""The answers to `MESSAGES` and to `PROMPT` would go on with one of these."""

TOO_MANY = 9000
"""More tokens than the demo model's context of 8192 has."""

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Recife", "Manaus"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
"""The demo model calls no tool unless it has to, and then `strict` holds it to this form."""
