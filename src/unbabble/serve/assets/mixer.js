// How loud each lane is.

/** The gain of each lane; where any is solo, the others are silent. */
export function gainsOf(lanes) {
  const anySolo = lanes.some((lane) => lane.solo);
  return lanes.map((lane) => (lane.muted || (anySolo && !lane.solo) ? 0 : (lane.level / 100) ** 2));
}

/** One input with a channel for each lane, each through a gain of its own, to one place. */
export function makeMixer(context, count, destination = context.destination) {
  const input = context.createChannelSplitter(count);
  const gains = Array.from({ length: count }, (_, lane) => {
    const gain = context.createGain();
    input.connect(gain, lane).connect(destination);
    return gain.gain;
  });
  return { input, gains };
}
