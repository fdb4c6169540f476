"""Vectors of the patches of a picture, in the space of whole pictures, from a ViT of transformers.

In MaskCLIP's way (Zhou, Loy & Dai, "Extract Free Dense Labels from CLIP", ECCV 2022, and its
published code): the last attention, which gathers the picture into one token, is taken away; every
patch keeps what it would give to that token, its own value. The rest of the layer, the final
normalisation and the projection stay as they are, and nothing is trained.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def patch_vectors(model: Any, pixel_values: torch.Tensor) -> torch.Tensor:
    """Return vectors [n, g, g, d], not normalised, of pixels [n, 3, s, s].

    `model` is a CLIPModel, SiglipModel, ChineseCLIPModel or AltCLIPModel.
    """
    vision = model.vision_model
    seen = vision(pixel_values=pixel_values, output_hidden_states=True)
    if hasattr(vision, "head"):
        # SigLIP gathers the patches in a pooling layer behind the last normalisation.
        patches = _without_pooling(vision.head, seen.last_hidden_state)
    else:
        last = _without_attention(vision.encoder.layers[-1], seen.hidden_states[-2])
        # The first token stands for the whole picture.
        patches = model.visual_projection(vision.post_layernorm(last[:, 1:]))
    side = math.isqrt(patches.shape[1])
    return patches.reshape(-1, side, side, patches.shape[2])


def _without_attention(layer: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Run a layer on [n, t, w] as if every token attended to itself alone."""
    attention = layer.self_attn
    values = attention.out_proj(attention.v_proj(layer.layer_norm1(hidden)))
    own = hidden + values
    whole: torch.Tensor = own + layer.mlp(layer.layer_norm2(own))
    return whole


def _without_pooling(head: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Run a pooling head on each token of [n, t, w] as if there were no other."""
    from torch.nn.functional import linear

    attention = head.attention
    # Queries, keys and values lie in one matrix, one below the other.
    weight, bias = (
        whole.chunk(3)[2] for whole in (attention.in_proj_weight, attention.in_proj_bias)
    )
    own = attention.out_proj(linear(hidden, weight, bias))
    whole: torch.Tensor = own + head.mlp(head.layernorm(own))
    return whole
