"""The golden questions, and as a program vLLM's own answers to them without a server, printed as JSON.

python golden.py CHECKPOINT DTYPE
"""

import json
import sys

MAX_TOKENS = 12
TEXTS = [
    "1 2 3 4 5",
    "The capital of Brazil is",
    'Classifique a resenha de filme como "positiva" ou "negativa".\n\nResenha: Gostei muito do filme!\nClasse:',
]
CHAT = [
    {"role": "user", "content": "sugira três nomes para a minha cachorra"},
    {"role": "assistant", "content": "nina, bela e luna."},
    {"role": "user", "content": "e para o meu peixe?"},
]


def main(checkpoint: str, dtype: str) -> None:
    from vllm import LLM, SamplingParams

    model = LLM(checkpoint, dtype=dtype, enforce_eager=True, max_model_len=2048, kv_cache_memory_bytes=1 << 28)
    greedy = SamplingParams(temperature=0, max_tokens=MAX_TOKENS)
    # One by one, as an otherwise idle server does: a batch changes the rounding.
    outputs = [model.generate([text], greedy, use_tqdm=False)[0] for text in TEXTS]
    outputs += model.chat(CHAT, greedy, use_tqdm=False)
    print(json.dumps([output.outputs[0].text for output in outputs]))


if __name__ == "__main__":
    main(*sys.argv[1:])
