"""Augmentation of whole batches in torch, on the device that trains.

It imitates what the daemon will see: the Haar detector's jitter of scale and
place, turned heads, exposure, sensor noise, blur, low resolution, gray levels
as under infra-red, things in front of the face.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from .model import normalise


class Draws:
    """Random numbers of one batch: the same whether the run was resumed or not.

    Numbers that decide how a whole batch is computed are drawn on the host, so that
    the host never waits for a GPU. All others are drawn on the device."""

    def __init__(self, seed: int, step: int, worker: int, device: torch.device):
        sequence = np.random.SeedSequence([seed, step, worker])
        self.host = np.random.default_rng(sequence)
        self.seed = int(sequence.generate_state(1)[0])
        self.generator = torch.Generator(device).manual_seed(self.seed)
        self.device = device

    def rand(self, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=self.generator, device=self.device)

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.generator, device=self.device)

    def uniform(self, n: int, low: float, high: float) -> torch.Tensor:
        return self.rand(n) * (high - low) + low

    def some(self, n: int, probability: float) -> torch.Tensor:
        return self.rand(n) < probability

    def beta(self, n: int, alpha: float) -> torch.Tensor:
        """Beta(alpha, alpha), from two gamma variables."""
        alphas = torch.full((2, n), alpha, device=self.device)
        one, other = torch._standard_gamma(alphas, generator=self.generator).clamp_min(1e-12)
        return one / (one + other)


def augment(tiles: torch.Tensor, size: int, draws: Draws, strength: float = 1.0) -> torch.Tensor:
    """u8 [n, 48, 48] to normalised float [n, 1, size, size]."""
    n = len(tiles)
    luma = tiles.unsqueeze(1).float()
    luma = _lower_resolution(luma, draws)
    luma = _warp(luma, size, strength, draws)
    luma = _light(luma / 255, strength, draws)
    luma = _blur_or_sharpen(luma, draws)
    sigma = draws.some(n, 0.3) * draws.uniform(n, 0.0, 0.06 * strength)
    grain = min(size, 48)   # sensor noise, as coarse as the original picture
    noise = draws.normal(n, 1, grain, grain)
    if size > grain:
        noise = F.interpolate(noise, size=size)
    luma = luma + noise * sigma.view(n, 1, 1, 1)
    luma = (luma.clamp(0, 1) * 255).round()
    return _erase(normalise(luma), 0.25 * strength, draws)


def _lower_resolution(luma: torch.Tensor, draws: Draws) -> torch.Tensor:
    """Shrinks one picture in eight and enlarges it again."""
    small = int(draws.host.integers(22, 44))
    count = len(luma) // 8 or int(draws.host.random() < len(luma) / 8)
    if not count:
        return luma
    reduced = F.interpolate(luma[:count], size=small, mode="bilinear", antialias=True)
    reduced = F.interpolate(reduced, size=luma.shape[-1], mode="bilinear")
    return torch.cat([reduced, luma[count:]])


def _warp(luma: torch.Tensor, size: int, strength: float, draws: Draws) -> torch.Tensor:
    """Mirror, turn, scale 0.8..1.25, stretch, shear, shift by up to a tenth."""
    n = len(luma)
    angle = draws.normal(n).clamp(-2.5, 2.5) * math.radians(8) * strength
    scale = torch.exp(draws.uniform(n, math.log(0.8), math.log(1.25)) * strength)
    stretch = torch.exp(draws.normal(n).clamp(-2, 2) * 0.04 * strength)
    shear = draws.normal(n).clamp(-2, 2) * 0.05 * strength
    mirror = torch.where(draws.some(n, 0.5), -1.0, 1.0)
    # grid_sample's coordinates run from -1 to 1: a tenth of the side is 0.2.
    shift = (draws.rand(n, 2) * 2 - 1) * 0.2 * strength
    cos, sin = torch.cos(angle), torch.sin(angle)
    theta = torch.stack([
        torch.stack([mirror * scale * stretch * cos, scale * (shear - sin), shift[:, 0]], dim=1),
        torch.stack([mirror * scale * sin, scale / stretch * cos, shift[:, 1]], dim=1),
    ], dim=1)
    grid = F.affine_grid(theta, [n, 1, size, size], align_corners=False)
    kinds = draws.host.random(2)
    return F.grid_sample(luma, grid, align_corners=False,
                         mode="bicubic" if kinds[0] < 0.25 else "bilinear",
                         padding_mode="reflection" if kinds[1] < 0.3 else "border")


def _light(luma: torch.Tensor, strength: float, draws: Draws) -> torch.Tensor:
    """Gamma, contrast about the mean, brightness; values in 0..1."""
    n = len(luma)

    def column(values: torch.Tensor) -> torch.Tensor:
        return values.view(n, 1, 1, 1)

    gamma = torch.exp(draws.normal(n).clamp(-2.5, 2.5) * 0.25 * strength)
    contrast = torch.exp(draws.normal(n).clamp(-2.5, 2.5) * 0.25 * strength)
    brightness = draws.normal(n).clamp(-2.5, 2.5) * 0.10 * strength
    luma = luma.clamp(1e-3, 1).pow(column(gamma))
    mean = luma.mean(dim=(2, 3), keepdim=True)
    return (luma - mean) * column(contrast) + mean + column(brightness)


def _blur_or_sharpen(luma: torch.Tensor, draws: Draws) -> torch.Tensor:
    """Mixes each picture with its blurred self: positive amounts blur, negative
    ones sharpen (camera crops are sharper than enlarged 48x48 tiles)."""
    n = len(luma)
    blurred = F.avg_pool2d(F.pad(luma, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    amount = draws.some(n, 0.35) * draws.uniform(n, -0.8, 1.0)
    return torch.lerp(luma, blurred, amount.view(n, 1, 1, 1))


def _erase(batch: torch.Tensor, probability: float, draws: Draws) -> torch.Tensor:
    """A rectangle of one gray level over part of some pictures."""
    n, size = len(batch), batch.shape[-1]
    chosen = draws.some(n, probability)
    height, width = (draws.uniform(n, 0.1, 0.45) * size for _ in range(2))
    top, left = (draws.uniform(n, 0.0, 1.0) for _ in range(2))
    level = draws.uniform(n, -1.0, 1.0)
    line = torch.arange(size, device=batch.device)
    rows = (line >= (top * (size - height)).view(n, 1)) & (line < (top * (size - height) + height).view(n, 1))
    cols = (line >= (left * (size - width)).view(n, 1)) & (line < (left * (size - width) + width).view(n, 1))
    mask = rows.view(n, 1, size, 1) & cols.view(n, 1, 1, size) & chosen.view(n, 1, 1, 1)
    return torch.where(mask, level.view(n, 1, 1, 1), batch)


def mixup(batch: torch.Tensor, target: torch.Tensor, alpha: float, part: float,
          draws: Draws) -> tuple[torch.Tensor, torch.Tensor]:
    """Mixes `part` of the pictures with another one each, in random proportions."""
    if alpha <= 0 or part <= 0:
        return batch, target
    n = len(batch)
    keep = draws.beta(n, alpha)
    keep = torch.where(draws.some(n, part), torch.maximum(keep, 1 - keep), 1.0)
    other = torch.randperm(n, generator=draws.generator, device=draws.device)
    wide = keep.view(n, 1, 1, 1)
    return (batch * wide + batch[other] * (1 - wide),
            target * keep.view(n, 1) + target[other] * (1 - keep.view(n, 1)))
