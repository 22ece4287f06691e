"""All channels of a recording as one."""

from collections.abc import Iterable, Iterator

import numpy as np

from unbabble.audio.recording import Samples
from unbabble.errors import AudioError

LEAST_POWER_RATIO = 0.5  # of the sum of all channels to what it would have if they were uncorrelated


class Downmix:
    """Averages channels, block by block, or takes one of them.

    Microphones and cables may be wired the wrong way round, and what two such channels share would vanish from their
    average. Where it does, the channels that cancel the others are inverted, from the block on in which it is seen.

    Parameters
    ----------
    channel
        The one to take (0 is the first); None for the average of all.
    """

    def __init__(self, channel: int | None = None) -> None:
        self._channel = channel
        self._covariance = np.zeros((0, 0))
        self._signs = np.zeros(0, np.float32)

    @property
    def inverted(self) -> tuple[int, ...]:
        """The channels (0 is the first) that are inverted before the average."""
        return tuple(int(index) for index in np.flatnonzero(self._signs < 0))

    def push(self, block: Samples) -> Samples:
        """Mix the next samples.

        Parameters
        ----------
        block
            (channels, samples), of as many channels as all others.

        Returns
        -------
        Samples
            (1, samples).

        Raises
        ------
        AudioError
            Where there is no such channel.
        """
        if self._channel is not None:
            if not 0 <= self._channel < len(block):
                expected = f"expected 1 to {len(block)}; choose one of them, or mix"
                raise AudioError(f"no channel {self._channel + 1}; {expected}")
            return block[self._channel : self._channel + 1]
        if len(block) == 1 or block.shape[1] == 0:
            return block[:1]
        self._watch(block)
        mixed: Samples = (block * self._signs[:, np.newaxis]).mean(axis=0, keepdims=True)
        return mixed

    def _watch(self, block: Samples) -> None:
        """Choose the channels' signs anew where their sum, so far, is far below them."""
        if not self._signs.size:
            self._covariance, self._signs = np.zeros((len(block), len(block))), np.ones(len(block), np.float32)
        centered = block - block.mean(axis=1, keepdims=True)
        self._covariance += centered @ centered.T
        power = self._signs @ self._covariance @ self._signs
        if power < LEAST_POWER_RATIO * np.trace(self._covariance):
            leading = np.linalg.eigh(self._covariance)[1][:, -1]
            self._signs = np.where(leading * leading[np.argmax(np.abs(leading) > 0.01)] < 0, -1, 1).astype(np.float32)


def to_mono(blocks: Iterable[Samples], channel: int | None = None) -> Iterator[Samples]:
    """Mix blocks as ``Downmix`` does: (channels, samples) -> (1, samples). Raises AudioError."""
    downmix = Downmix(channel)
    return (downmix.push(block) for block in blocks)
