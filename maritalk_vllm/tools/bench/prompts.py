"""Prompts of the benchmark. Each differs from the others, so that none is answered from the prefix cache alone."""

_REVIEWS = """Classifique a resenha de filme como "positiva" ou "negativa".

Resenha: Gostei muito do filme, é o melhor do ano!
Classe: positiva

Resenha: O filme deixa muito a desejar.
Classe: negativa

Resenha: {review}
Classe:"""
"""The few-shot example of the MariTalk Local document."""


def counting(number: int) -> str:
    """A short text that models continue up to max_tokens."""
    return f"{number}: 1 2 3 4 5 6 7 8 9 10 11 12"


def review(number: int) -> str:
    """A few-shot prompt to classify one film review; only the review changes with `number`."""
    return _REVIEWS.format(review=f"Foi fantástico, valeu o ingresso {number}..")


def document(number: int) -> str:
    """About 550 tokens where each digit is a token: as long as the prompt of the public MariTalk Local benchmark."""
    return f"{number}: {numbers(165)}"


def numbers(size: int) -> str:
    """`0 1 2 ...`, as in the public MariTalk Local benchmark, with at least `size` tokens."""
    return " ".join(map(str, range(size)))
