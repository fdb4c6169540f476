"""Write the files that rclip downloads: ``rclip_export.py FOLDER MODEL_FOLDER``.

Run by `rclip.py` in an environment with torch and OpenCLIP. Follows scripts/convert_model.py of
rclip's repository (same exporter, opset and names), but for the weights, which are random here.
"""

from __future__ import annotations

import shutil
import sys
import warnings
from pathlib import Path

import torch

MODEL = "ViT-B-32-256"
CONTEXT_LENGTH = 77
OPSET = 18


def import_open_clip():
    """Import OpenCLIP also where torchvision's compiled part does not fit a CPU build of torch."""
    register = torch.library.register_fake
    # Without its compiled part torchvision has no operators to describe; none is needed here.
    torch.library.register_fake = lambda *_, **__: lambda function: function
    try:
        import open_clip
    finally:
        torch.library.register_fake = register
    return open_clip


class TextTower(torch.nn.Module):
    """The text half of the model: token ids int64 [n, 77] to vectors float32 [n, 512]."""

    def __init__(self, clip: torch.nn.Module) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embed a batch of texts."""
        return self.clip.encode_text(tokens)


def export(tower: torch.nn.Module, example: torch.Tensor, path: Path) -> None:
    """Write one tower as ONNX with a free batch size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            tower.eval(),
            (example,),
            str(path),
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )


def main() -> None:
    """Export both towers and copy the tokenizer's vocabulary, which OpenCLIP brings."""
    folder, model_folder = Path(sys.argv[1]), sys.argv[2]
    open_clip = import_open_clip()
    torch.manual_seed(0)
    clip = open_clip.create_model(MODEL, pretrained=None).eval()
    towers = folder / model_folder
    towers.mkdir(parents=True, exist_ok=True)
    edge = clip.visual.image_size[0]
    export(clip.visual, torch.randn(1, 3, edge, edge), towers / "visual.onnx")
    tokens = torch.zeros(1, CONTEXT_LENGTH, dtype=torch.long)
    export(TextTower(clip), tokens, towers / "textual.onnx")
    vocabulary = "bpe_simple_vocab_16e6.txt.gz"
    (folder / "tokenizer").mkdir(exist_ok=True)
    shutil.copy(Path(open_clip.__file__).parent / vocabulary, folder / "tokenizer" / vocabulary)


if __name__ == "__main__":
    main()
