"""Multiply-accumulates of a network, counted from its description.

Counted are convolutions, linear layers and LSTMs. Norms, activations, biases and the product with the masks
are not: together they are less than a hundredth.
"""

from unbabble.base.config import parse_settings
from unbabble.errors import RecipeError
from unbabble.inference.model_folder import CARD, ModelFolder
from unbabble.networks.band_split import BandSplitConfig
from unbabble.networks.frontend import FrontEndConfig
from unbabble.networks.network import DualPathConfig, MixedDesign, NetworkConfig
from unbabble.networks.tasnet import TasNetConfig


def macs_of_model(model: ModelFolder) -> float | None:
    """A second of audio, for as many sources as it was trained for; None where its card does not say enough."""
    try:
        network = parse_settings(NetworkConfig, model.card.get("network"), str(model.path / CARD))
    except RecipeError:
        return None
    return macs_per_second(network, model.n_sources)


def macs_per_second(config: NetworkConfig, n_sources: int) -> float:
    """A second of audio, of a recording so long that its edges do not count."""
    frames = config.sample_rate / config.front_end.hop
    return macs(config, n_sources, frames, frames * cells_of_frame(config.front_end))


def macs(config: NetworkConfig, n_sources: int, frames: float, cells: float) -> float:
    """Of so many frames of E(y), which the front end makes into so many cells of a grid (rows x columns)."""
    encoding, decoding = front_end_macs(config.front_end, config.block.channels)
    mixture, source = design_macs(config)
    return frames * (encoding + n_sources * decoding) + cells * (mixture + n_sources * source)


def cells_of_frame(config: FrontEndConfig) -> float:
    """Cells of the grid for each frame: the chunks it is in, or its bands."""
    return config.chunk / config.chunk_hop if isinstance(config, TasNetConfig) else config.bands


def front_end_macs(config: FrontEndConfig, channels: int) -> tuple[int, int]:
    """A frame: to encode the mixture, and to decode one source."""
    return tasnet_macs(config, channels) if isinstance(config, TasNetConfig) else band_split_macs(config, channels)


def tasnet_macs(config: TasNetConfig, channels: int) -> tuple[int, int]:
    """A frame: the filterbank, and a linear layer into or out of the blocks."""
    filterbank = config.filters * config.window
    shown = config.filters + (config.filters // 2 if config.magnitudes else 0)
    return filterbank + shown * channels, channels * config.filters + filterbank


def band_split_macs(config: BandSplitConfig, channels: int) -> tuple[int, int]:
    """A frame: the STFT, and a linear layer a band, as wide as the widest; 3 numbers of a bin go in, 2 come out."""
    stft = 2 * config.bins * config.window
    filled_up = config.bands * max(config.widths)
    return stft + 3 * filled_up * channels, channels * 2 * filled_up + stft


def design_macs(config: NetworkConfig) -> tuple[int, int]:
    """A cell: once for the mixture, and once more for each source."""
    design, channels, block = config.design, config.block.channels, block_macs(config.block)
    head = channels * channels
    if not isinstance(design, MixedDesign):
        return design.encoder_blocks * block, 3 * channels * channels + design.decoder_blocks * block
    join = 2 * channels * channels if design.siso_blocks else 0
    return design.simo_blocks * block, head + join + design.siso_blocks * block


def block_macs(config: DualPathConfig) -> int:
    """A cell: two paths, each an LSTM in two directions with four gates, and a linear layer back."""
    lstm = 2 * 4 * config.hidden * (config.channels + config.hidden)
    return 2 * (lstm + 2 * config.hidden * config.channels)
