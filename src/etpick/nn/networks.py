"""The two networks: `paper`, the 3D-ResUNet of DeepETPicker, and `fast`, its half-resolution successor.

Both take images (batch, 1, z, y, x) and give logits (batch, 1 + classes, z, y, x), background first.
One class is published with a sigmoid; a softmax over (0, z) is the same function, so nothing behind the
network needs to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNorm(nn.Module):
    """3×3×3 convolution and batch normalisation; `fold` merges the second into the first."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 3, padding=1, bias=False)
        self.norm: nn.Module = nn.BatchNorm3d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(b, inputs, z, y, x) → (b, outputs, z, y, x)."""
        out: Tensor = self.norm(self.conv(x))
        return out

    def fold(self) -> None:
        """Put the normalisation's scale and shift into the convolution. For inference only."""
        if isinstance(self.norm, nn.BatchNorm3d):
            self.conv = torch.nn.utils.fusion.fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class CoordinateConvNorm(ConvNorm):
    """The same on an image to which its coordinates are appended as three channels.

    Folding sets what the coordinates contribute to an image of `edge` voxels a side apart, as a constant to add.
    """

    def __init__(self, inputs: int, outputs: int, edge: int) -> None:
        super().__init__(inputs + 3, outputs)
        self.edge = edge
        self.offset: Tensor | None
        self.register_buffer("offset", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(b, inputs, z, y, x) → (b, outputs, z, y, x)."""
        if self.offset is None:
            return super().forward(torch.cat([x, _coordinates(x)], dim=1))
        out: Tensor = self.conv(x) + self.offset
        return out

    def fold(self) -> None:
        """Put scale and shift into the convolution, and the coordinates into a constant."""
        if self.offset is not None:
            return
        super().fold()
        conv, inputs = self.conv, self.conv.in_channels - 3
        with torch.no_grad():
            like = conv.weight.new_zeros(1, 1, self.edge, self.edge, self.edge)
            self.offset = F.conv3d(_coordinates(like), conv.weight[:, inputs:], conv.bias, padding=1)
            self.conv = nn.Conv3d(inputs, conv.out_channels, 3, padding=1, bias=False, device=conv.weight.device)
            self.conv.weight.copy_(conv.weight[:, :inputs])


class Residual(nn.Module):
    """x → act(x + convolutions(x)), with two convolutions."""

    def __init__(self, width: int, activation: nn.Module) -> None:
        super().__init__()
        self.first, self.second = ConvNorm(width, width), ConvNorm(width, width)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """(b, width, z, y, x) → the same shape."""
        out: Tensor = self.activation(x + self.second(self.activation(self.first(x))))
        return out


class ResidualBlock(nn.Module):
    """The paper's block: one convolution, then a residual pair added to its output."""

    def __init__(self, entry: ConvNorm, width: int, activation: nn.Module) -> None:
        super().__init__()
        self.entry = entry
        self.residual = Residual(width, activation)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """(b, inputs, z, y, x) → (b, width, z, y, x)."""
        out: Tensor = self.residual(self.activation(self.entry(x)))
        return out


def _coordinates(like: Tensor) -> Tensor:
    """Three channels that run from −1 to 1 along z, y, x over the tensor's own extent."""
    axes = [torch.linspace(-1, 1, n, device=like.device, dtype=like.dtype) for n in like.shape[2:]]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return grid.expand(like.shape[0], -1, -1, -1, -1)


class _Halving(torch.autograd.Function):
    """Means of 2×2×2 voxels in the precision and the layout of what comes in."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x[:, :, ::2] + x[:, :, 1::2]
        x = x[:, :, :, ::2] + x[:, :, :, 1::2]
        return (x[..., ::2] + x[..., 1::2]).mul_(0.125)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        eighth = 0.125 * gradients[0].movedim(1, -1)  # channels last, so that rows are copied whole
        for axis in (1, 2, 3):
            eighth = eighth.repeat_interleave(2, dim=axis)
        return eighth.movedim(-1, 1)


def _halved(x: Tensor) -> Tensor:
    """(b, c, z, y, x) → half as many voxels along each axis.

    On a processor PyTorch's pooling knows neither bfloat16 nor channels last and would convert there and back.
    """
    if x.device.type != "cpu" or torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
        return F.avg_pool3d(x, 2)  # OpenVINO's knows both
    halved: Tensor = _Halving.apply(x)  # type: ignore[no-untyped-call]
    return halved


def _with_background(logits: Tensor) -> Tensor:
    """A single logit becomes the pair (0, logit), whose softmax is the sigmoid."""
    return torch.cat([torch.zeros_like(logits), logits], dim=1) if logits.shape[1] == 1 else logits


class PaperNet(nn.Module):
    """3D-ResUNet as published (Nature Communications 15:2090): 2.43 M parameters, 146.5 kMAC per voxel.

    Its coordinate channels span whatever it is given, so it only means something on tiles of the size it
    was trained on; `tile_size` says so to whoever plans the tiles.
    """

    stride: Final = 1
    levels: Final = 3

    def __init__(self, classes: int, *, tile_size: int = 72, widths: Sequence[int] = (24, 48, 72, 108)) -> None:
        super().__init__()
        self.classes = classes
        self.tile_size: int | None = tile_size
        activation = nn.ELU()
        edges = [tile_size >> level for level in range(len(widths))]
        self.encoder = nn.ModuleList(
            ResidualBlock(CoordinateConvNorm(inputs, width, edge), width, activation)
            for inputs, width, edge in zip((1, *(w + 1 for w in widths[:-1])), widths, edges, strict=True)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(deep, width, 3, stride=2, padding=1, output_padding=1)
            for deep, width in zip(widths[1:], widths[:-1], strict=True)
        )
        self.decoder = nn.ModuleList(
            ResidualBlock(CoordinateConvNorm(width, width, edge), width, activation)
            for width, edge in zip(widths[:-1], edges[:-1], strict=True)
        )
        self.head = nn.Conv3d(widths[0], classes + 1 if classes > 1 else 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(b, 1, z, y, x), sizes divisible by 8 → logits (b, 1 + classes, z, y, x)."""
        skips: list[Tensor] = []
        x = image
        for level, block in enumerate(self.encoder):
            if level:
                image = _halved(image)
                x = torch.cat([_halved(x), image], dim=1)
            x = block(x)
            skips.append(x)
        for level in reversed(range(len(self.decoder))):
            x = self.up[level](x) + skips[level]
            x = self.decoder[level](x)
        return _with_background(self.head(x))


class FastNet(nn.Module):
    """Residual U-Net that works and answers at half the resolution: an eighth of the arithmetic.

    The stem folds 2×2×2 voxels into channels, so output voxel j sits at input position 2j + ½. The image,
    average-pooled, is appended at the deeper levels (image pyramid). No coordinates: any tile size serves.
    """

    stride: Final = 2
    levels: Final = 3

    def __init__(self, classes: int, *, widths: Sequence[int] = (32, 64, 96)) -> None:
        super().__init__()
        self.classes = classes
        self.tile_size: int | None = None
        activation = nn.ReLU(inplace=True)
        self.encoder = nn.ModuleList(
            ResidualBlock(ConvNorm(inputs, width), width, activation)
            for inputs, width in zip((8, *(w + 1 for w in widths[:-1])), widths, strict=True)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(deep, width, 2, stride=2) for deep, width in zip(widths[1:], widths[:-1], strict=True)
        )
        self.decoder = nn.ModuleList(Residual(width, activation) for width in widths[:-1])
        self.head = nn.Conv3d(widths[0], classes + 1 if classes > 1 else 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(b, 1, z, y, x), sizes divisible by 8 → logits (b, 1 + classes, z/2, y/2, x/2)."""
        b, _, nz, ny, nx = image.shape
        folded = image.reshape(b, nz // 2, 2, ny // 2, 2, nx // 2, 2).permute(0, 2, 4, 6, 1, 3, 5)
        x = self.encoder[0](folded.reshape(b, 8, nz // 2, ny // 2, nx // 2))
        image = _halved(image)
        skips = [x]
        for block in self.encoder[1:]:
            image = _halved(image)
            x = block(torch.cat([_halved(x), image], dim=1))
            skips.append(x)
        for level in reversed(range(len(self.decoder))):
            x = self.decoder[level](self.up[level](x) + skips[level])
        return _with_background(self.head(x))


def by_class(logits: Tensor) -> Tensor:
    """(b, 1 + classes, z, y, x) → (1 + classes, voxels), float32, the voxels of a class side by side in memory, where
    convolutions leave the classes of a voxel so."""
    return logits.movedim(1, 0).to(torch.float32, memory_format=torch.contiguous_format).contiguous().flatten(1)


Network = PaperNet | FastNet
NETWORKS: Final[dict[str, type[PaperNet] | type[FastNet]]] = {"fast": FastNet, "paper": PaperNet}


def on_device(network: Network, device: torch.device) -> Network:
    """The network on a device, its weights laid out channels last, which convolutions run faster on."""
    return network.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload,no-any-return]


def fold_normalisation(network: Network) -> Network:
    """The same function with every batch normalisation folded into its convolution, in evaluation mode."""
    network.eval()
    for module in network.modules():
        if isinstance(module, ConvNorm):
            module.fold()
    return network
