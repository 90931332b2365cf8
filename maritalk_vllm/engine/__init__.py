"""A plan becomes a running vLLM. The only room that imports vllm, and never at import time."""
