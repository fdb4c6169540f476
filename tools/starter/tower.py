"""EfficientNet-lite2 in PyTorch, made to be trained quickly on a processor.

The same network as `backbone` writes, with the same folded weights. What is trained are the kernels
over one pixel, the first kernel and all biases. Depthwise kernels stay as they are: PyTorch takes
longer for their gradients than for all the rest.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from backbone import STAGES, Weights, same_padding
from image_features import CENTRE_MARGIN

LARGEST = 6.0
# Kernel and bias of every convolution, by its name.
Folded = dict[str, tuple[Tensor, Tensor]]


class _Clipped(Function):
    """ReLU6 whose gradient does not vanish above: PyTorch's own takes several times as long."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        y = x.clamp(0, LARGEST)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, y, 0)


class _Depthwise(Function):
    """A depthwise convolution that has no gradient for its kernel.

    The gradient for the map is a depthwise convolution, too, with the kernel turned round.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, kernel: Tensor, bias: Tensor, stride: int) -> Tensor:
        kernel = kernel.to(x.dtype)
        ctx.save_for_backward(kernel)
        ctx.stride, ctx.shape = stride, x.shape
        ctx.pads = same_padding(x.shape[-1], kernel.shape[-1], stride)
        return _padded(x, kernel, bias.to(x.dtype), stride, ctx.pads)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (kernel,) = ctx.saved_tensors
        of_bias = gradient.sum((0, 2, 3), dtype=torch.float32)
        if ctx.stride > 1:
            spread = torch.zeros(ctx.shape, dtype=gradient.dtype)
            spread = spread.contiguous(memory_format=torch.channels_last)
            spread[:, :, :: ctx.stride, :: ctx.stride] = gradient
            gradient = spread
        before = kernel.shape[-1] - 1 - ctx.pads[0]
        pads = [before, before, ctx.pads[0], ctx.pads[0]]
        return _padded(gradient, kernel.flip(2, 3), None, 1, pads), None, of_bias, None


def _padded(x: Tensor, kernel: Tensor, bias: Tensor | None, stride: int, pads: list[int]) -> Tensor:
    """A convolution with padding as ONNX has it; depthwise if the kernel is."""
    groups = x.shape[1] // kernel.shape[1]
    top, left, bottom, right = pads
    if top != bottom:
        x = functional.pad(x, (left, right, top, bottom))
        top = 0
    return functional.conv2d(x, kernel, bias, stride, top, groups=groups)


class Tower(nn.Module):
    """From pixels to those parts of the image features that the network makes."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self._kernels, self._biases = nn.ParameterDict(), nn.ParameterDict()
        self._keys = {conv: conv.replace(".", "/") for conv, _ in weights.convolutions()}
        self._expands = {conv for conv in self._keys if "expand" in conv}
        for conv, norm in weights.convolutions():
            kernel, bias = map(torch.from_numpy, weights.folded(conv, norm))
            kernel = kernel.contiguous(memory_format=torch.channels_last)
            fixed = "depthwise" in conv
            self._kernels[self._keys[conv]] = nn.Parameter(kernel, requires_grad=not fixed)
            self._biases[self._keys[conv]] = nn.Parameter(bias)
        matrix, bias = map(torch.from_numpy, weights.classifier())
        self.register_buffer("matrix", matrix)
        self.register_buffer("offset", bias)

    def folded(self) -> Folded:
        """The weights as they are now."""
        return {
            conv: (self._kernels[key].detach(), self._biases[key].detach())
            for conv, key in self._keys.items()
        }

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Of float32 [n, 3, s, s], scaled by (x - 127) / 128: float32 [n, f] by their names.

        The names are those of `image_features.WIDTHS`, and `logits`.
        """
        x = self._relu6(x, "_conv_stem", 2)
        parts: dict[str, Tensor] = {}
        index = 0
        for stage, (blocks, stride) in enumerate(STAGES):
            for position in range(blocks):
                wide, y = self._block(x, index, 1 if position else stride)
                if position == 0 and stage in (5, 6):
                    parts[f"wide{stage}"] = _mean(wide)
                x = x + y if position else y
                index += 1
            if stage >= 4:
                parts[f"narrow{stage}"] = _mean(x)
            if stage >= 5:
                parts[f"centre{stage}"] = _centre(x)
        parts["whole"] = _mean(self._relu6(x, "_conv_head", 1))
        parts["logits"] = parts["whole"] @ self.matrix + self.offset
        return parts

    def _block(self, x: Tensor, index: int, stride: int) -> tuple[Tensor, Tensor]:
        prefix = f"_blocks.{index}"
        expand = f"{prefix}._expand_conv"
        inner = self._relu6(x, expand, 1) if expand in self._expands else x
        wide = self._relu6(inner, f"{prefix}._depthwise_conv", stride)
        return wide, self._conv(wide, f"{prefix}._project_conv", 1)

    def _relu6(self, x: Tensor, conv: str, stride: int) -> Tensor:
        return _Clipped.apply(self._conv(x, conv, stride))

    def _conv(self, x: Tensor, conv: str, stride: int) -> Tensor:
        key = self._keys[conv]
        kernel, bias = self._kernels[key], self._biases[key]
        if "depthwise" in conv:
            return _Depthwise.apply(x, kernel, bias, stride)
        pads = same_padding(x.shape[-1], kernel.shape[-1], stride)
        return _padded(x, kernel, bias, stride, pads)


def _mean(x: Tensor) -> Tensor:
    return x.float().mean((2, 3))


def _centre(x: Tensor) -> Tensor:
    margin = round(x.shape[-1] * CENTRE_MARGIN)
    return _mean(x[:, :, margin : x.shape[-1] - margin, margin : x.shape[-1] - margin])
