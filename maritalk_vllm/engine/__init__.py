"""Run vLLM from a plan. The only package that imports vllm, and only inside functions."""
