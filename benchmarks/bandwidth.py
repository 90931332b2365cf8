"""python -m benchmarks.bandwidth DEVICE: bytes a second of its memory, read and written by a copy in torch."""

import sys
import time

SIZE = 1 << 30
ROUNDS = 10


def main() -> None:
    """The fastest of a few copies."""
    import torch

    device = torch.device(sys.argv[1])
    source = torch.ones(SIZE, dtype=torch.uint8, device=device)
    copy = torch.empty_like(source)

    def seconds() -> float:
        began = time.perf_counter()
        copy.copy_(source)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    print(2 * SIZE / min(seconds() for _ in range(ROUNDS)))


if __name__ == "__main__":
    main()
