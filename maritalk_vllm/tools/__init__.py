"""Tools of `maritalk-vllm` other than the server, which imports none of them."""
