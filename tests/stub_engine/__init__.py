"""A stub that stands for vLLM below the supervisor, so that our own decisions are tested in seconds on any machine.

Everything of ours is real: the supervisor, its channel, the nursery that forks, the API process with its routes, its
drain and its watch over the engine. vLLM alone is replaced: its import, the engine's process and what that computes.

    serve      `maritalk-serve`, whose supervisor starts the stub
    __main__   takes the place of the nursery
    boot       takes the place of maritalk_vllm.engine.vllm_launcher
    engine     the engine's process, and the client that talks with it
    script     what the stub is told to do at which moment, and when it came to each
    server     starts all that in a test
"""
