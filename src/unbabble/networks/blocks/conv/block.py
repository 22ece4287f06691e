"""What a convolution block computes."""

from torch import Tensor, nn


class ConvBlock(nn.Module):
    """Layer norm over the channels, two convolutions over (row, column) with a PReLU between them, residual.

    Grid (batch, rows, columns, channels) -> the same shape.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.first, self.second = (nn.Conv2d(channels, channels, kernel, padding="same") for _ in range(2))
        self.activation = nn.PReLU(channels)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, grid: Tensor) -> Tensor:
        maps = self.norm(grid).permute(0, 3, 1, 2)  # (batch, channels, rows, columns)
        changed: Tensor = self.second(self.activation(self.first(maps)))
        return grid + changed.permute(0, 2, 3, 1)
