"""What is asked: each prompt is another, so that no answer comes from the prefix cache as a whole."""

_REVIEWS = """Classifique a resenha de filme como "positiva" ou "negativa".

Resenha: Gostei muito do filme, é o melhor do ano!
Classe: positiva

Resenha: O filme deixa muito a desejar.
Classe: negativa

Resenha: {review}
Classe:"""
"""The few-shot example of the MariTalk Local document."""


def counting(number: int) -> str:
    """A short text that models go on with for as long as they are let."""
    return f"{number}: 1 2 3 4 5 6 7 8 9 10 11 12"


def review(number: int) -> str:
    """One film review of many to classify: all but the review is the same."""
    return _REVIEWS.format(review=f"Foi fantástico, valeu o ingresso {number}..")


def document(number: int) -> str:
    """A text of some 550 tokens where each digit is one, as long as what the public MariTalk Local benchmark sends."""
    return f"{number}: {numbers(165)}"


def numbers(size: int) -> str:
    """`0 1 2 ...`, as in the public MariTalk Local benchmark, with at least `size` tokens."""
    return " ".join(map(str, range(size)))
