"""Augmentation of training crops, modelled on the output of detectors and cameras."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import kornia.augmentation as K  # noqa: N812  (the library's own convention)
import numpy as np
import torch
from kornia.geometry.transform import warp_affine
from torch import nn
from torch.nn import functional

from maskedge_train.data.crops import CONTEXT
from maskedge_train.shared.face_crop import INPUT_SIZE


@dataclass(frozen=True)
class Jitter:
    """Random differences of a detector's box from the labelled box, in units of the box's side.

    The defaults of shift and zoom are the mean and spread measured between the cascades of
    `maskedge.vision.detectors` and the labelled boxes of webcam and press pictures. These cascades
    place a box slightly too high and make it slightly too large.

    Attributes:
        right: Standard deviation of the sideways shift.
        down: Mean and standard deviation of the downward shift.
        zoom: Mean and standard deviation of the logarithm of the detector's side.
        aspect: Standard deviation of the logarithm of the aspect ratio.
        rotation: Standard deviation of the rotation in degrees, clipped at three of them.
        labelled: Share of crops cut around the labelled box itself, with rotation and mirroring
            only.
    """

    right: float = 0.07
    down: tuple[float, float] = (-0.08, 0.08)
    zoom: tuple[float, float] = (0.05, 0.15)
    aspect: float = 0.04
    rotation: float = 7.0
    labelled: float = 0.3


class Reframe(nn.Module):
    """Cuts crops from patches with the errors of a detector's boxes, rotated and mirrored."""

    def __init__(self, jitter: Jitter) -> None:
        super().__init__()
        self.jitter = jitter

    def forward(self, patches: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cut crops and move the face boxes with them.

        A single warp applies all changes, so each pixel is resampled once.

        Args:
            patches: float32 `[N, 3, R, R]`.
            places: float32 `[N, 4]`, face boxes in units of the exact crop's side.

        Returns:
            Crops, float32 `[N, 3, 64, 64]`, and the face boxes in them, in units of the crop's
            side.
        """
        j, count, side = self.jitter, len(patches), patches.shape[-1]
        loose = (torch.rand(count) >= j.labelled).float()
        zoom = torch.exp(loose * (j.zoom[0] + j.zoom[1] * torch.randn(count))).clamp(0.6, 1.5)
        right, down = loose * j.right * torch.randn(count), loose * (j.down[0] + j.down[1] * torch.randn(count))
        aspect = torch.exp(loose * j.aspect * torch.randn(count))
        rotation = (j.rotation * torch.randn(count)).clamp(-3 * j.rotation, 3 * j.rotation) * math.pi / 180
        flip = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
        # Map pixels of the patch to pixels of the crop: rotate and scale about the centre.
        scale = INPUT_SIZE * CONTEXT / side / zoom
        cos, sin = torch.cos(rotation) * scale, torch.sin(rotation) * scale
        matrix = torch.stack(
            [torch.stack([flip * aspect * cos, -flip * aspect * sin], 1), torch.stack([sin / aspect, cos / aspect], 1)], 1
        )
        # The shift is in units of the crop's side, which equals the detector's box.
        centre = torch.full((count, 2, 1), (side - 1) / 2)
        offset = torch.stack([right, down], 1).unsqueeze(2) * side / CONTEXT
        move = (INPUT_SIZE - 1) / 2 - matrix @ (centre + offset)
        full = torch.cat([matrix, move], 2).to(patches)
        crops = warp_affine(patches, full, (INPUT_SIZE, INPUT_SIZE), padding_mode="border", align_corners=True)
        corners = ((places - 0.5) * side / CONTEXT).to(full) + (side - 1) / 2
        middle = (full[:, :, :2] @ ((corners[:, :2] + corners[:, 2:]) / 2)[:, :, None] + full[:, :, 2:])[:, :, 0]
        # A slightly rotated face keeps its width and height.
        half = full[:, :, :2].norm(dim=1) * (corners[:, 2:] - corners[:, :2]) / 2
        return crops, (torch.cat([middle - half, middle + half], dim=1) + 0.5) / INPUT_SIZE


class RandomlyApply(nn.Module):
    """Applies `change` to a random share `p` of a batch, and computes only that share."""

    def __init__(self, p: float, change: nn.Module) -> None:
        super().__init__()
        self.p, self.change = p, change

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Change float32 `[N, 3, S, S]`; the shape stays."""
        chosen = torch.nonzero(torch.rand(len(crops)) < self.p)[:, 0].to(crops.device)
        return crops.index_copy(0, chosen, self.change(crops[chosen])) if len(chosen) else crops


class LowResolution(nn.Module):
    """Shrinks crops to `smallest` pixels or more and enlarges them again, like distant faces.

    One size is drawn per batch.
    """

    def __init__(self, smallest: int) -> None:
        super().__init__()
        self.smallest = smallest

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Change float32 `[N, 3, S, S]`; the shape stays."""
        size = int(torch.randint(self.smallest, crops.shape[-1], (1,)))
        small = functional.interpolate(crops, (size, size), mode="area")
        return functional.interpolate(small, crops.shape[-2:], mode="bilinear", align_corners=False)


class Night(nn.Module):
    """Darkens crops to 10-50 % with sensor noise; automatic gain brightens half of them again."""

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Change float32 `[N, 3, S, S]`; the shape stays."""
        level = (0.1 + 0.4 * torch.rand(len(crops), 1, 1, 1)).to(crops)
        dark = (crops * level + 0.02 * torch.randn_like(crops)).clamp(0, 1)
        lift = (torch.rand(len(crops), 1, 1, 1) < 0.5).to(crops.device)
        return torch.where(lift, (dark * 0.6 / level).clamp(0, 1), dark)


class Compression(nn.Module):
    """JPEG compression with a quality between `min_quality` and `max_quality`.

    OpenCV takes a hundredth of the time of a differentiable implementation.
    """

    def __init__(self, min_quality: int, max_quality: int) -> None:
        super().__init__()
        self.min_quality, self.max_quality = min_quality, max_quality

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Change float32 `[N, 3, S, S]`; the shape stays."""
        qualities = torch.randint(self.min_quality, self.max_quality + 1, (len(crops),)).tolist()
        pictures = (crops * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        files = [
            cv2.imencode(".jpg", one, [cv2.IMWRITE_JPEG_QUALITY, own])[1] for one, own in zip(pictures, qualities, strict=True)
        ]
        decoded = np.stack([np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR)) for file in files])
        return torch.from_numpy(decoded).permute(0, 3, 1, 2).to(crops) / 255


class WhiteBalance(nn.Module):
    """Shifts the colour temperature along Planck's law. The library takes RGB, crops are BGR."""

    def __init__(self) -> None:
        super().__init__()
        self.jitter = K.RandomPlanckianJitter(p=1.0)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Change float32 `[N, 3, S, S]`; the shape stays."""
        return self.jitter(crops.flip(1)).flip(1)  # type: ignore[no-any-return]


class Augmentation(nn.Module):
    """Geometry of pixels and face boxes, followed by changes of the pixels alone.

    Args:
        reframe: Cuts the crops.
        changes: Modules that change the crops.
    """

    def __init__(self, reframe: Reframe, *changes: nn.Module) -> None:
        super().__init__()
        self.reframe, self.changes = reframe, nn.Sequential(*changes)

    def forward(self, patches: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Augment a batch.

        Args:
            patches: float32 `[N, 3, R, R]` in 0..1, BGR.
            places: float32 `[N, 4]`, the face boxes in the exact crops (`crops.Crops.places`).

        Returns:
            Crops, float32 `[N, 3, 64, 64]` in 0..1, and the face boxes in them.
        """
        crops, moved = self.reframe(patches, places)
        return self.changes(crops), moved


def training_augmentation(kind: str) -> Augmentation:
    """Build the augmentation of training batches.

    `camera` matches the device: detector boxes, brightness, white balance, focus, motion, noise,
    compression, distance and night. `light` is the usual first recipe: small rotations and shifts,
    mirroring, some brightness.

    Args:
        kind: `camera` or `light`.
    """
    if kind == "light":
        gentle = Jitter(right=0.03, down=(0.0, 0.03), zoom=(0.0, 0.06), aspect=0.02, rotation=5.0, labelled=0.0)
        return Augmentation(Reframe(gentle), K.RandomBrightness((0.8, 1.2), p=0.5))
    return Augmentation(
        Reframe(Jitter()),
        RandomlyApply(0.15, LowResolution(smallest=14)),
        RandomlyApply(0.4, K.RandomGamma((0.6, 1.7), (0.8, 1.15), p=1.0)),
        K.RandomContrast((0.65, 1.35), p=0.4),
        K.RandomBrightness((0.7, 1.3), p=0.4),
        RandomlyApply(0.35, WhiteBalance()),
        K.RandomGrayscale(p=0.04),
        RandomlyApply(0.15, K.RandomGaussianBlur((5, 5), (0.3, 1.6), p=1.0)),
        RandomlyApply(0.08, K.RandomMotionBlur(5, 90.0, 0.5, p=1.0)),
        RandomlyApply(0.1, Compression(15, 80)),
        RandomlyApply(0.2, K.RandomGaussianNoise(std=0.03, p=1.0)),
        RandomlyApply(0.08, Night()),
    )
