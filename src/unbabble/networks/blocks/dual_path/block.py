"""What a dual-path RNN block computes."""

from torch import Tensor, nn

from unbabble.networks.layers import GlobalNorm


class RecurrentPath(nn.Module):
    """Bidirectional LSTM along the second axis, projection to the channels, without the residual.

    (sequences, steps, channels) -> the same shape.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.rnn = nn.LSTM(channels, hidden, batch_first=True, bidirectional=True)
        self.projection = nn.Linear(2 * hidden, channels)

    def forward(self, sequences: Tensor) -> Tensor:
        projected: Tensor = self.projection(self.rnn(sequences)[0])
        return projected


class DualPathBlock(nn.Module):
    """Intra pass along columns, inter pass along rows, each with global layer norm and residual.

    Grid (batch, rows, columns, channels) -> the same shape. After arXiv 1910.06379, section 2.1.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.intra = RecurrentPath(channels, hidden)
        self.intra_norm = GlobalNorm(channels)
        self.inter = RecurrentPath(channels, hidden)
        self.inter_norm = GlobalNorm(channels)

    def forward(self, grid: Tensor) -> Tensor:
        grid = grid + self.intra_norm(along_columns(self.intra, grid))
        across = along_columns(self.inter, grid.transpose(1, 2)).transpose(1, 2)
        merged: Tensor = grid + self.inter_norm(across)
        return merged


def along_columns(path: nn.Module, grid: Tensor) -> Tensor:
    """Apply ``path`` to every row of the grid as one sequence of columns."""
    batch, rows, columns, channels = grid.shape
    passed: Tensor = path(grid.reshape(batch * rows, columns, channels))
    return passed.reshape(batch, rows, columns, channels)
