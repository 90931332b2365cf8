"""A stub for vLLM, so that our process management is tested in seconds on any machine.

All our own code is real: the supervisor, its channel, the fork server, the API process with its routes, its drain and
its engine watchdog. Only vLLM is replaced: its import, the engine process and the computation.

    serve      `maritalk-serve`, whose supervisor starts the stub
    __main__   replaces the fork server's program
    launcher   replaces maritalk_vllm.engine.vllm_launcher
    engine     the engine process and its client
    script     the actions of the stub at each stage of a start, and when it reached each stage
    server     starts such a server in a test
"""
