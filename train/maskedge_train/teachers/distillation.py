"""Targets of a training from trained networks: knowledge distillation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class Teachers:
    """Trained networks whose probabilities are the targets of another network, the student.

    The method is that of Hinton, Vinyals and Dean ("Distilling the knowledge in a neural network",
    2015): the student learns all probabilities of the teachers, not only the label. As in Beyer et
    al. ("Knowledge distillation: a good teacher is patient and consistent", 2022), the teachers see
    the crops that the student sees, augmented and blended alike.

    This is no `nn.Module`: the student's checkpoints and optimiser must not contain the teachers.

    Args:
        nets: Networks of `nets.NETS` with the same labels.
    """

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        self.nets = [net.eval().requires_grad_(False).to(memory_format=torch.channels_last) for net in nets]  # type: ignore[call-overload]

    def to(self, device: torch.device) -> None:
        """Move the networks to a device."""
        for net in self.nets:
            net.to(device)

    @torch.no_grad()
    def predict(self, crops: torch.Tensor) -> torch.Tensor:
        """Return the mean of the networks' probabilities, before calibration.

        Args:
            crops: float32 `[N, 3, 64, 64]` in -1..1, BGR.

        Returns:
            float32 `[N, classes]`.
        """
        return torch.stack([net(crops).float().softmax(dim=1) for net in self.nets]).mean(dim=0)


def blend_pairs(crops: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Blend each crop and its target with another of the batch, in a proportion drawn from 0..1 for each crop.

    Between the faces of the data lie many blends, on which the student can learn the function of the
    teachers (Beyer et al., 2022).

    Args:
        crops: float32 `[N, 3, H, W]`.
        targets: Probabilities, float32 `[N, classes]`.

    Returns:
        Blended crops and targets, of the same shapes.
    """
    share = torch.rand(len(crops), 1, device=crops.device)
    other = torch.randperm(len(crops), device=crops.device)
    return torch.lerp(crops[other], crops, share[:, :, None, None]), torch.lerp(targets[other], targets, share)
