"""Load generator and latency metrics of `maritalk-vllm bench`."""
