"""The requests of the clients, with the field names of the wire.

The demo model's most likely tokens lead by a wide margin, so that every processor generates the same, and the answers
to the conversations end by themselves.
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
"""The model continues with the same line."""

ECHO = [
    {"role": "user", "content": "Some data: x"},
    {"role": "assistant", "content": "Some data: x"},
    {"role": "user", "content": "Some data: y"},
    {"role": "assistant", "content": "Some data: y"},
    {"role": "user", "content": "Some data: z"},
]
"""The model repeats the user's text. Clients remove every `data: ` from a stream, wherever it is."""

STOPS = [" Rome", " x"]
"""The answers to `MESSAGES` and to `PROMPT` would continue with one of these."""

TOO_MANY = 9000
"""More tokens than the demo model's context of 8192."""

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
"""The demo model calls a tool only if required, and then `strict` enforces this schema."""
