"""Mixture number i: drawn, then rendered."""

from unbabble.corpora.corpus import Corpus
from unbabble.corpora.decoded import DecodedAudio
from unbabble.mixing.bank import Rooms
from unbabble.mixing.draw import Draw
from unbabble.mixing.recipe import Mixtures
from unbabble.mixing.render import Mixture, Renderer


class Mixer:
    """Mixtures of speech, noise and rooms by number: see Draw for what defines them, Renderer for how they sound."""

    def __init__(
        self,
        speech: Corpus,
        noise: Corpus | None,
        mixtures: Mixtures,
        audio: DecodedAudio,
        seed: int = 0,
        rooms: Rooms | None = None,
    ) -> None:
        rooms = rooms or Rooms(audio.sample_rate)
        self.draw = Draw(speech, noise, mixtures, audio, rooms, seed)
        self.render = Renderer(speech, noise, audio, rooms)

    def __call__(self, index: int) -> Mixture:
        """Mixture number ``index``, the same for the same seed. Raises CorpusError, AudioError."""
        return self.render(self.draw(index))
