"""How fast the finished graphs are: `python tools/starter/speed.py FOLDER`."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

IMAGE_THREADS = 2
IMAGE_BATCH = 4
IMAGE_SECONDS = 8.0
COLD_STARTS = 5
QUERY = "a dog running on the beach"


def photos_per_second(folder: Path) -> float:
    """Embedding speed from ready pixels: two threads, one core each, on one shared session.

    Computed from processor time, so that other work on the machine does not count.
    """
    size = json.loads((folder / "model.json").read_text(encoding="utf-8"))["image"]["size"]
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(folder / "image.onnx"), options)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (IMAGE_BATCH, size, size, 3), dtype=np.uint8)
    session.run(None, {"pixels": pixels})
    runs = [0] * IMAGE_THREADS
    started, used = time.perf_counter(), time.process_time()

    def work(thread: int) -> None:
        while time.perf_counter() - started < IMAGE_SECONDS:
            session.run(None, {"pixels": pixels})
            runs[thread] += 1

    threads = [threading.Thread(target=work, args=(i,)) for i in range(IMAGE_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return IMAGE_THREADS * sum(runs) * IMAGE_BATCH / (time.process_time() - used)


def cold_query(folder: Path) -> float:
    """Seconds to make the text session and to embed one query; meant for a fresh process."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    encoding = tokenizer.encode(QUERY)
    started = time.perf_counter()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(folder / "text.onnx"), options)
    tokens = {
        "input_ids": np.array([encoding.ids], dtype=np.int64),
        "attention_mask": np.array([encoding.attention_mask], dtype=np.int64),
    }
    session.run(None, tokens)
    return time.perf_counter() - started


def cold_query_in_fresh_process(folder: Path) -> float:
    """The best of several fresh processes, in seconds."""
    command = [sys.executable, __file__, str(folder), "--cold-query"]
    times = [float(subprocess.check_output(command)) for _ in range(COLD_STARTS)]
    return min(times)


def main() -> None:
    """Print both measures, or, with --cold-query, the seconds of one cold query."""
    folder = Path(sys.argv[1])
    if "--cold-query" in sys.argv:
        print(cold_query(folder))
        return
    print(f"photos a second: {photos_per_second(folder):.1f}")
    print(f"cold text session and one query: {1000 * cold_query_in_fresh_process(folder):.0f} ms")


if __name__ == "__main__":
    main()
