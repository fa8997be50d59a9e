"""DOC's second half: what each label looks like, kept up to date by accepted pixels only.

Pixels are projected to unit vectors z. A label's prototype c_k is the running mean of its accepted
pixels' z. What is minimised is symmetric:

    L = CE over k of (z . c_k / tau)                    each accepted pixel to its prototype
      + CE over rows and over columns of (m_k . c_j / tau)      batch means m_k to prototypes c_j

so that pixels are drawn to their own label and pushed off the others, and no label can lie where
another is. The published loss attracts each vector to itself, so its gradient vanishes.

Reference:
    Zhou, Wang, Konukoglu and Van Gool, "Rethinking semantic segmentation: a prototype view",
    CVPR 2022 (pixel to prototype); Radford et al., "CLIP", ICML 2021 (both ways of a product).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


class Prototypes(nn.Module):
    """Running prototypes of the labels and their contrastive loss.

    Args:
        num_channels: Of the features that are projected.
        num_labels: K.
        width: Of a prototype.
        decay: Of the running mean.
        temperature: tau.
    """

    vectors: Tensor
    is_known: Tensor

    def __init__(
        self,
        num_channels: int,
        num_labels: int,
        *,
        width: int = 32,
        decay: float = 0.98,
        temperature: float = 0.2,
    ) -> None:
        super().__init__()
        self.decay, self.temperature = decay, temperature
        self.project = nn.Conv2d(num_channels, width, 1)
        self.gather: Callable[[Tensor], Tensor] = lambda x: x
        self.register_buffer("vectors", torch.zeros(num_labels, width))
        self.register_buffer("is_known", torch.zeros(num_labels, dtype=torch.bool))

    def forward(self, features: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Return the loss, and take the pixels into the prototypes.

        Args:
            features: `N C h w`.
            labels: `N h w` integers.
            weights: `N h w` in [0, 1]; 0 where a pixel was not accepted.
        """
        z = functional.normalize(self.project(features).float(), dim=1)
        one_hot = functional.one_hot(labels, len(self.vectors)).movedim(-1, 1) * weights[:, None]
        sums = torch.einsum("nkhw,nchw->kc", one_hot, z)
        mass = one_hot.sum((0, 2, 3))
        self._update(sums.detach(), mass)
        usable = self.is_known
        logits = torch.einsum("nchw,kc->nkhw", z, self.vectors.clone()) / self.temperature
        logits = logits.masked_fill(~usable[:, None, None], -1e4)
        away = functional.cross_entropy(logits, labels, reduction="none")
        by_pixel = (away * weights).sum() / weights.sum().clamp(min=1)
        there = usable & (mass > 0)
        if there.sum() < 2:
            return by_pixel
        means = functional.normalize(sums[there], dim=1)
        both = means @ self.vectors[there].clone().T / self.temperature
        order = torch.arange(len(both), device=both.device)
        rows, columns = (functional.cross_entropy(each, order) for each in (both, both.T))
        return by_pixel + 0.5 * (rows + columns)

    @torch.no_grad()
    def _update(self, sums: Tensor, mass: Tensor) -> None:
        """Take the batch's sums of vectors, `K D`, and of weights, `K`, in."""
        shared = self.gather(torch.cat([sums, mass[:, None]], 1)[None]).sum(0)
        sums, mass = shared[:, :-1], shared[:, -1]
        here = mass > 0
        means = functional.normalize(sums, dim=1)
        keep = torch.where(self.is_known, self.decay, 0.0)[:, None]
        new = functional.normalize(keep * self.vectors + (1 - keep) * means, dim=1)
        self.vectors.copy_(torch.where(here[:, None], new, self.vectors))
        self.is_known.logical_or_(here)
