"""Augmentation of whole batches in torch, on the device that trains.

It has the shape of what the daemon will see: the Haar detector's own jitter of
scale and place, turned heads, exposure, sensor noise, blur, low resolution,
gray levels as under infra-red, things in front of the face.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from .model import normalise


def uniform(n: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(n, generator=generator) * (high - low) + low


def some(n: int, probability: float, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(n, generator=generator) < probability


def augment(tiles: torch.Tensor, size: int, generator: torch.Generator,
            strength: float = 1.0) -> torch.Tensor:
    """u8 [n, 48, 48] to normalised float [n, 1, size, size].

    All random numbers come from `generator` (on the CPU), so that a run can be
    repeated and resumed whatever the device."""
    n, device = len(tiles), tiles.device
    luma = tiles.unsqueeze(1).float()
    luma = _lower_resolution(luma, generator)
    luma = _warp(luma, size, strength, generator)
    luma = _light(luma / 255, strength, generator)
    luma = _blur_or_sharpen(luma, generator)
    sigma = (some(n, 0.3, generator) * uniform(n, 0.0, 0.06 * strength, generator))
    if size > 48:   # sensor noise, of the picture's own grain
        noise = F.interpolate(torch.randn(n, 1, 48, 48, generator=generator), size=size)
    else:
        noise = torch.randn(n, 1, size, size, generator=generator)
    luma = luma + noise.to(device) * sigma.view(n, 1, 1, 1).to(device)
    luma = (luma.clamp(0, 1) * 255).round()
    return _erase(normalise(luma), 0.25 * strength, generator)


def _lower_resolution(luma: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One batch in eight through a smaller picture."""
    if torch.rand((), generator=generator) > 0.125:
        return luma
    small = int(torch.randint(22, 44, (), generator=generator))
    reduced = F.interpolate(luma, size=small, mode="bilinear", antialias=True)
    return F.interpolate(reduced, size=luma.shape[-1], mode="bilinear")


def _warp(luma: torch.Tensor, size: int, strength: float,
          generator: torch.Generator) -> torch.Tensor:
    """Mirror, turn, scale 0.8..1.25, stretch, shear, shift by up to a tenth."""
    n = len(luma)
    angle = torch.randn(n, generator=generator).clamp(-2.5, 2.5) * math.radians(8) * strength
    scale = torch.exp(uniform(n, math.log(0.8), math.log(1.25), generator) * strength)
    stretch = torch.exp(torch.randn(n, generator=generator).clamp(-2, 2) * 0.04 * strength)
    shear = torch.randn(n, generator=generator).clamp(-2, 2) * 0.05 * strength
    mirror = torch.where(some(n, 0.5, generator), -1.0, 1.0)
    # grid_sample's coordinates run from -1 to 1: a tenth of the side is 0.2.
    shift = (torch.rand(n, 2, generator=generator) * 2 - 1) * 0.2 * strength
    cos, sin = torch.cos(angle), torch.sin(angle)
    theta = torch.stack([
        torch.stack([mirror * scale * stretch * cos, scale * (shear - sin), shift[:, 0]], dim=1),
        torch.stack([mirror * scale * sin, scale / stretch * cos, shift[:, 1]], dim=1),
    ], dim=1).to(luma.device)
    grid = F.affine_grid(theta, [n, 1, size, size], align_corners=False)
    kinds = torch.rand(2, generator=generator)
    return F.grid_sample(luma, grid, align_corners=False,
                         mode="bicubic" if kinds[0] < 0.25 else "bilinear",
                         padding_mode="reflection" if kinds[1] < 0.3 else "border")


def _light(luma: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    """Gamma, contrast about the mean, brightness; values in 0..1."""
    n, device = len(luma), luma.device

    def column(values: torch.Tensor) -> torch.Tensor:
        return values.view(n, 1, 1, 1).to(device)

    gamma = torch.exp(torch.randn(n, generator=generator).clamp(-2.5, 2.5) * 0.25 * strength)
    contrast = torch.exp(torch.randn(n, generator=generator).clamp(-2.5, 2.5) * 0.25 * strength)
    brightness = torch.randn(n, generator=generator).clamp(-2.5, 2.5) * 0.10 * strength
    luma = luma.clamp(1e-3, 1).pow(column(gamma))
    mean = luma.mean(dim=(2, 3), keepdim=True)
    return (luma - mean) * column(contrast) + mean + column(brightness)


def _blur_or_sharpen(luma: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mixes each picture with its blurred self: positive amounts blur, negative
    ones sharpen (camera crops are sharper than enlarged 48x48 tiles)."""
    n = len(luma)
    blurred = F.avg_pool2d(F.pad(luma, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    amount = some(n, 0.35, generator) * uniform(n, -0.8, 1.0, generator)
    return torch.lerp(luma, blurred, amount.view(n, 1, 1, 1).to(luma.device))


def _erase(batch: torch.Tensor, probability: float, generator: torch.Generator) -> torch.Tensor:
    """A rectangle of one gray level over part of some pictures."""
    n, size = len(batch), batch.shape[-1]
    chosen = some(n, probability, generator)
    height, width = (uniform(n, 0.1, 0.45, generator) * size for _ in range(2))
    top, left = (uniform(n, 0.0, 1.0, generator) for _ in range(2))
    level = uniform(n, -1.0, 1.0, generator)
    line = torch.arange(size)
    rows = (line >= (top * (size - height)).view(n, 1)) & (line < (top * (size - height) + height).view(n, 1))
    cols = (line >= (left * (size - width)).view(n, 1)) & (line < (left * (size - width) + width).view(n, 1))
    mask = (rows.view(n, 1, size, 1) & cols.view(n, 1, 1, size) & chosen.view(n, 1, 1, 1))
    return torch.where(mask.to(batch.device), level.view(n, 1, 1, 1).to(batch.device), batch)


def mixup(batch: torch.Tensor, target: torch.Tensor, alpha: float,
          generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs of one batch mixed, the same proportion for the whole batch."""
    if alpha <= 0:
        return batch, target
    # Beta(alpha, alpha) for alpha < 1 by Jöhnk's method, from our generator.
    while True:
        u, v = torch.rand(2, generator=generator).pow(1 / alpha).tolist()
        if 0 < u + v <= 1:
            break
    keep = max(u, v) / (u + v)
    other = torch.randperm(len(batch), generator=generator).to(batch.device)
    return (batch * keep + batch[other] * (1 - keep),
            target * keep + target[other] * (1 - keep))
