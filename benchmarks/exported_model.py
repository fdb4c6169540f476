"""A ViT-B/32 exported to ONNX, on a processor alone: cold queries, agreement, size.

The model has CLIP's dimensions and random weights, made on the spot: its answers mean nothing, its
cost is the real one. A query is a fresh process over a library of the example photos. Needs torch,
transformers and onnx to make the model; the queries load none of them.
"""

from __future__ import annotations

import json
import shutil
from itertools import cycle, islice
from pathlib import Path
from statistics import median

from cold_query import QUERIES, imgsearch_over
from common import Result, at_least, at_most, excuses, new_parser, report, say

from imgsearch import Library
from imgsearch.models import export_model

TARGET_SECONDS = 1.5
TARGET_AGREEMENT = 0.9999
EXAMPLES = Path(__file__).parent.parent / "examples" / "photos"


def make_vit_b_32(folder: Path, seed: int) -> Path:
    """Write a CLIP checkpoint of the size of ViT-B/32 with random weights; return its folder."""
    import torch
    import transformers

    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    # CLIP's vocabulary has 49,408 entries; which ones does not matter here.
    bytes_ = [*(chr(c) for c in range(33, 127)), *(chr(c) + "</w>" for c in range(33, 127))]
    filler = [f"<{n}>" for n in range(49_406 - len(bytes_))]
    entries = [*bytes_, *filler, "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(entries)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    # The defaults of transformers are those of ViT-B/32.
    config = transformers.CLIPConfig(
        text_config={"bos_token_id": 49_406, "eos_token_id": 49_407, "pad_token_id": 49_407},
        vision_config={},
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    transformers.CLIPTokenizer(
        vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt")
    ).save_pretrained(folder)
    transformers.CLIPImageProcessor().save_pretrained(folder)
    return folder


def main() -> None:
    """Measure and report."""
    parser = new_parser(__doc__)
    parser.add_argument("--runs", type=int, default=10, help="[%(default)s]")
    options = parser.parse_args()
    with excuses():
        place = options.work / f"vit-b-32-seed{options.seed}"
        shutil.rmtree(place, ignore_errors=True)
        say("making a ViT-B/32 with random weights ...")
        checkpoint = make_vit_b_32(place / "checkpoint", options.seed)
        results: list[Result] = []
        for kind in ("fp32", "int8"):
            say(f"exporting it as {kind} ...")
            made = export_model(str(checkpoint), place / kind, int8=kind == "int8")
            with Library.open(place / f"library-{kind}", model=str(made.folder)) as library:
                library.index(EXAMPLES)
            contender = imgsearch_over(place / f"library-{kind}")
            contender.run("a warm-up", warm_up=True)
            for words in islice(cycle(QUERIES), options.runs):
                contender.run(words)
            agreement = min(made.image_agreement, made.text_agreement)
            times = [run.seconds for run in contender.runs]
            results += [
                at_most(
                    f"{kind}: cold query", median(times), "s", TARGET_SECONDS,
                    note=f"median of {len(times)}; {min(times):.2f} to {max(times):.2f}",
                ),
                Result(f"{kind}: peak memory of a query", contender.megabytes, "MB"),
                Result(f"{kind}: model folder", made.megabytes, "MB"),
                at_least(f"{kind}: agreement", agreement, "", TARGET_AGREEMENT)
                if kind == "fp32"
                else Result(f"{kind}: agreement", agreement, ""),
            ]  # fmt: skip
        report("exported model", results, options.seed, as_json=options.json)


if __name__ == "__main__":
    main()
