"""What `maritalk-vllm` does beside serving. The server imports none of it."""
