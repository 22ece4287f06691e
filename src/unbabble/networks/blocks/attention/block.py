"""What an attention block computes."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOWEST = 10_000.0  # rows, over 2 pi, in which the slowest rotation turns once


class AttentionBlock(nn.Module):
    """Self-attention along the rows of each column, then a gated feed-forward layer, each after a norm and residual.

    Positions are told by rotation (arXiv 2104.09864), the feed-forward layer is gated by SiLU (arXiv 2002.05202).
    Grid (batch, rows, columns, channels) -> the same shape.
    """

    def __init__(self, channels: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.forward_norm = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.queries_keys_values = nn.Linear(channels, 3 * channels)
        self.projection = nn.Linear(channels, channels)
        self.expand, self.contract = nn.Linear(channels, 2 * hidden), nn.Linear(hidden, channels)

    def forward(self, grid: Tensor) -> Tensor:
        grid = grid + self._attend(self.attention_norm(grid).transpose(1, 2)).transpose(1, 2)
        gate, value = self.expand(self.forward_norm(grid)).chunk(2, dim=-1)
        changed: Tensor = self.contract(F.silu(gate) * value)
        return grid + changed

    def _attend(self, columns: Tensor) -> Tensor:
        """(batch, columns, rows, channels) -> the same shape."""
        parts = self.queries_keys_values(columns).reshape(*columns.shape[:3], 3, self.heads, -1)
        queries, keys, values = parts.transpose(2, 4).unbind(3)  # (batch, columns, heads, rows, channels of a head)
        attended = F.scaled_dot_product_attention(rotated(queries), rotated(keys), values)
        projected: Tensor = self.projection(attended.transpose(2, 3).flatten(3))
        return projected


def rotated(features: Tensor) -> Tensor:
    """Features (..., rows, channels), each pair of whose channels is turned by an angle that grows with the row."""
    rows, channels = features.shape[-2:]
    rates = SLOWEST ** (-torch.arange(channels // 2, device=features.device) / (channels // 2))
    angles = torch.arange(rows, device=features.device).unsqueeze(1) * rates
    one, other = features.chunk(2, dim=-1)
    cosine, sine = angles.cos().to(features.dtype), angles.sin().to(features.dtype)
    return torch.cat([one * cosine - other * sine, one * sine + other * cosine], dim=-1)
