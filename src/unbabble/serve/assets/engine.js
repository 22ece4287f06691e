// Plays all lanes from one stream of pieces, each of which has a channel for every lane: they cannot come apart, and a
// recording of hours needs no more memory than a short one.

import { gainsOf, makeMixer } from "/assets/mixer.js";

const PIECE_S = 4, AHEAD_S = 6, LEAD_S = 0.04, LOOK_MS = 200, KEPT = 8, FADE_S = 0.012;
const FULL_SCALE = 32767;

/** Interleaved 16-bit samples as a buffer with a channel for each lane. */
export function toBuffer(context, samples, count, sampleRate) {
  const length = samples.length / count, buffer = context.createBuffer(count, length, sampleRate);
  for (let lane = 0; lane < count; lane++) {
    const channel = buffer.getChannelData(lane);
    for (let index = 0, at = lane; index < length; index++, at += count) channel[index] = samples[at] / FULL_SCALE;
  }
  return buffer;
}

export class Engine extends EventTarget {
  #url; #rate; #length; #count; #context; #mixer; #position = 0; #origin = null; #scheduled = 0; #run = 0;
  #sources = new Set(); #pieces = new Map(); #gains;

  constructor(url, sampleRate, length, count) {
    super();
    [this.#url, this.#rate, this.#length, this.#count] = [url, sampleRate, length, count];
    this.duration = length / sampleRate;
    this.playing = false;
  }

  /** Where it is, in seconds. The clock stands still while a piece is waited for. */
  get time() {
    if (this.#origin === null) return this.#position;
    const reached = this.#context.currentTime - this.#origin;
    return Math.max(this.#position, Math.min(reached, this.#scheduled));
  }

  /** The gains as they are at this moment. */
  get gains() {
    return this.#mixer?.gains.map((gain) => gain.value) ?? this.#gains;
  }

  setLanes(lanes) {
    this.#gains = gainsOf(lanes);
    this.#mixer?.gains.forEach((gain, lane) => gain.setTargetAtTime(this.#gains[lane], this.#context.currentTime, FADE_S));
  }

  async play() {
    if (this.playing) return;
    this.playing = true;
    this.#open();
    if (this.time >= this.duration) this.#position = 0;
    this.dispatchEvent(new Event("change"));
    await this.#context.resume();
    if (this.playing) this.#stream(++this.#run);
  }

  pause() {
    this.#position = this.time;
    this.playing = false;
    this.#silence();
    this.#context?.suspend();
    this.dispatchEvent(new Event("change"));
  }

  seek(seconds) {
    this.#silence();
    this.#position = Math.min(Math.max(0, seconds), this.duration);
    if (this.playing) this.#stream(++this.#run);
    this.dispatchEvent(new Event("change"));
  }

  close() {
    this.#silence();
    this.#context?.close();
  }

  #open() {
    if (this.#context) return;
    try {
      this.#context = new AudioContext({ sampleRate: this.#rate }); // pieces then join without resampling
    } catch {
      this.#context = new AudioContext();
    }
    this.#mixer = makeMixer(this.#context, this.#count);
    this.#mixer.gains.forEach((gain, lane) => { gain.value = this.#gains[lane]; });
  }

  #silence() {
    this.#run++;
    this.#origin = null;
    for (const source of this.#sources) source.stop();
    this.#sources.clear();
  }

  /** Fetch and schedule pieces, until the end or until another run begins. */
  async #stream(run) {
    const frames = PIECE_S * this.#rate, first = Math.floor((this.#position * this.#rate) / frames);
    for (let index = first; index * frames < this.#length; index++) {
      let buffer;
      try {
        buffer = await this.#piece(index);
      } catch (error) {
        if (run === this.#run) this.pause();
        this.dispatchEvent(new CustomEvent("failed", { detail: error.message }));
        return;
      }
      if (run !== this.#run) return;
      this.#schedule(buffer, index * PIECE_S);
      while (run === this.#run && this.#scheduled - this.time > AHEAD_S) await wait(LOOK_MS);
      if (run !== this.#run) return;
      this.#piece(index + 1).catch(() => {}); // told when it is its turn
    }
    while (run === this.#run && this.time < this.duration) await wait(LOOK_MS / 4);
    if (run === this.#run) this.pause();
  }

  #schedule(buffer, start) {
    const now = this.#context.currentTime, from = Math.max(start, this.#position);
    this.#origin ??= now + LEAD_S - from;
    if (this.#origin + from < now) this.#origin = now + LEAD_S - from; // it came late: nothing is left out
    const source = this.#context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.#mixer.input);
    source.start(this.#origin + from, from - start);
    source.onended = () => this.#sources.delete(source);
    this.#sources.add(source);
    this.#scheduled = Math.min(start + PIECE_S, this.duration);
  }

  /** A piece, from those kept or from the server, which is asked for its bytes alone. */
  #piece(index) {
    const frames = PIECE_S * this.#rate, width = 2 * this.#count;
    const stop = Math.min((index + 1) * frames, this.#length);
    if (index * frames >= stop) return Promise.resolve(null);
    if (!this.#pieces.has(index)) {
      const range = `bytes=${index * frames * width}-${stop * width - 1}`;
      const loaded = fetch(this.#url, { headers: { Range: range } }).then(async (answer) => {
        if (!answer.ok) throw new Error("This part could not be loaded; is the server running?");
        return toBuffer(this.#context, new Int16Array(await answer.arrayBuffer()), this.#count, this.#rate);
      });
      loaded.catch(() => this.#pieces.delete(index));
      this.#pieces.set(index, loaded);
      if (this.#pieces.size > KEPT) this.#pieces.delete(this.#pieces.keys().next().value);
    }
    return this.#pieces.get(index);
  }
}

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
