// The player of one recording: lanes, transport, zoom, names.

import { ask, change } from "/assets/api.js";
import { colour, columnsOf, drawAxis, drawSpectrogram, drawWave } from "/assets/drawing.js";
import { Engine } from "/assets/engine.js";
import { clock, many, roughly } from "/assets/words.js";

const COLOURS = 10, CROWDED = 6, SHORTEST_S = 1, SPECTRUM_ROWS = 96, STEP_S = 5;
const $ = (root, selector) => root.querySelector(selector);

export class Player {
  #recording; #root; #engine; #lanes; #view; #loudest = 0; #frame = 0; #loading = null; #size; #say;

  constructor(recording, root, say) {
    [this.#recording, this.#root, this.#say] = [recording, root, say];
    this.#view = { start: 0, end: recording.duration_s };
    this.#lanes = [
      { id: "mixture", name: "Mixture", colour: null, muted: recording.tracks.length > 0, url: null },
      ...recording.tracks.map((track, index) => ({
        id: track.id, name: track.name, colour: `talker-${(index % COLOURS) + 1}`, muted: false, url: track.url, track,
      })),
    ].map((lane) => ({ ...lane, solo: false, level: 100, spectrum: false }));
    const url = `/api/recordings/${recording.id}/lanes.pcm`;
    this.#engine = new Engine(url, recording.sample_rate, recording.n_samples, this.#lanes.length);
    this.#fill();
    this.#listen();
    this.#mix();
    this.#size = new ResizeObserver(() => this.redraw());
    this.#size.observe($(root, ".lanes"));
  }

  get engine() { return this.#engine; }

  get lanes() { return this.#lanes; }

  close() {
    this.#engine.close();
    this.#size.disconnect();
    this.#loading?.abort();
    cancelAnimationFrame(this.#frame);
  }

  #fill() {
    const recording = this.#recording, root = this.#root, base = `/api/recordings/${recording.id}`;
    $(root, "h1").textContent = recording.name;
    const kept = roughly(recording.expires - Date.now() / 1000);
    $(root, ".facts").textContent = [
      recording.tracks.length ? many(recording.tracks.length, "talker") : "Nobody was heard", clock(recording.duration_s),
      `${recording.sample_rate / 1000} kHz`, `kept for ${kept}`,
    ].join(" · ");
    for (const notice of recording.notices) {
      const item = document.createElement("li");
      item.textContent = notice.startsWith(`${recording.name}: `) ? notice.slice(recording.name.length + 2) : notice;
      $(root, ".notices").append(item);
    }
    $(root, ".zip").href = `${base}/all.zip`;
    $(root, ".rttm").href = `${base}/activity.rttm`;
    $(root, ".labels").href = `${base}/activity.txt`;
    $(root, ".whole").textContent = `/ ${clock(recording.duration_s)}`;
    $(root, ".axis").setAttribute("aria-valuemax", recording.duration_s.toFixed(1));
    $(root, ".lanes").classList.toggle("dense", this.#lanes.length > CROWDED);
    $(root, ".lanes").append(...this.#lanes.map((lane) => this.#makeLane(lane)));
  }

  #makeLane(lane) {
    const item = document.getElementById("lane").content.firstElementChild.cloneNode(true);
    lane.item = item;
    lane.canvas = $(item, ".wave");
    item.classList.add(lane.colour ?? "mixture");
    const name = $(item, ".name");
    name.value = lane.name;
    name.disabled = !lane.track;
    if (lane.track) {
      const share = lane.track.talks_s / this.#recording.duration_s;
      $(item, ".share").textContent = `${Math.round(100 * share)} %`;
      $(item, ".share").title = `Talks for ${clock(lane.track.talks_s)}`;
      $(item, ".save").href = lane.url;
      name.onchange = () => this.#rename(lane, name);
      name.onkeydown = (event) => { if (event.key === "Enter") name.blur(); };
    } else {
      $(item, ".save").remove();
    }
    $(item, ".mute").onclick = () => { lane.muted = !lane.muted; this.#mix(); };
    $(item, ".solo").onclick = () => this.#solo(lane);
    $(item, ".level").oninput = (event) => { lane.level = Number(event.target.value); this.#mix(); };
    $(item, ".spectrum").onclick = () => this.#toggleSpectrum(lane);
    lane.canvas.onpointerdown = (event) => this.#scrub(event, lane.canvas);
    lane.canvas.onwheel = (event) => this.#wheel(event);
    this.#label(lane);
    return item;
  }

  #label(lane) {
    const { item, name } = lane, title = (selector, text) => {
      const part = $(item, selector);
      part?.setAttribute("aria-label", text);
      if (part && selector !== ".wave") part.title = text;
    };
    title(".name", lane.track ? `Name of ${name}` : name);
    title(".mute", `Mute ${name}`);
    title(".solo", `Solo ${name}`);
    title(".level", `Level of ${name}`);
    title(".spectrum", `Spectrogram of ${name}`);
    title(".save", `Download ${name}`);
    const talks = lane.track ? `, who talks ${$(item, ".share").textContent} of the time` : "";
    title(".wave", `Waveform of ${name}${talks}`);
  }

  async #rename(lane, input) {
    try {
      const changed = await change(`/api/recordings/${this.#recording.id}`, "PATCH", { names: { [lane.id]: input.value } });
      lane.name = changed.tracks.find((track) => track.id === lane.id).name;
      this.#say(`Named ${lane.name}`);
    } catch (error) {
      this.#say(error.message);
    }
    input.value = lane.name;
    this.#label(lane);
  }

  #solo(lane) {
    lane.solo = !lane.solo;
    if (lane.solo) lane.muted = false;
    this.#mix();
  }

  /** Lanes as they are chosen: heard, and shown. */
  #mix() {
    this.#engine.setLanes(this.#lanes);
    const anySolo = this.#lanes.some((lane) => lane.solo);
    for (const lane of this.#lanes) {
      $(lane.item, ".mute").setAttribute("aria-pressed", lane.muted);
      $(lane.item, ".solo").setAttribute("aria-pressed", lane.solo);
      $(lane.item, ".level").setAttribute("aria-valuetext", `${lane.level} %`);
      lane.item.classList.toggle("silent", lane.muted || (anySolo && !lane.solo));
    }
  }

  #toggleSpectrum(lane) {
    lane.spectrum = !lane.spectrum;
    $(lane.item, ".spectrum").setAttribute("aria-pressed", lane.spectrum);
    lane.item.classList.toggle("tall", lane.spectrum);
    this.redraw();
  }

  #listen() {
    const root = this.#root, engine = this.#engine, axis = $(root, ".axis");
    $(root, ".play").onclick = () => this.toggle();
    $(root, ".in").onclick = () => this.#zoom(0.5);
    $(root, ".out").onclick = () => this.#zoom(2);
    $(root, ".fit").onclick = () => this.#show(0, this.#recording.duration_s);
    $(root, ".pan").oninput = (event) => {
      const start = Number(event.target.value);
      this.#show(start, start + this.#view.end - this.#view.start);
    };
    axis.onpointerdown = (event) => this.#scrub(event, axis);
    axis.onwheel = (event) => this.#wheel(event);
    engine.addEventListener("failed", (event) => this.#say(event.detail));
    engine.addEventListener("change", () => {
      const button = $(root, ".play"), symbol = engine.playing ? "pause" : "play";
      button.setAttribute("aria-label", engine.playing ? "Pause" : "Play");
      $(button, "use").setAttribute("href", `#${symbol}`);
      cancelAnimationFrame(this.#frame);
      this.#tick();
    });
  }

  /** Keys of the whole page; gives whether it was one. */
  key(event) {
    const steps = { ArrowLeft: -STEP_S, ArrowRight: STEP_S }, { key } = event, number = Number(key);
    if (key === " ") this.toggle();
    else if (key in steps) this.#engine.seek(this.#engine.time + (event.shiftKey ? 0.2 : 1) * steps[key]);
    else if (key === "Home") this.#engine.seek(0);
    else if (key === "End") this.#engine.seek(this.#recording.duration_s);
    else if (key === "+" || key === "=") this.#zoom(0.5);
    else if (key === "-") this.#zoom(2);
    else if (number >= 1 && number < this.#lanes.length) this.#solo(this.#lanes[number]);
    else if (key === "0") this.#solo(this.#lanes[0]);
    else return false;
    return true;
  }

  toggle() {
    if (this.#engine.playing) this.#engine.pause();
    else this.#engine.play();
  }

  #scrub(event, element) {
    if (event.button !== 0) return;
    const { left, width } = element.getBoundingClientRect(), { start, end } = this.#view;
    const seek = ({ clientX }) => this.#engine.seek(start + ((clientX - left) / width) * (end - start));
    element.setPointerCapture(event.pointerId);
    element.onpointermove = seek;
    element.onpointerup = element.onpointercancel = () => { element.onpointermove = null; };
    seek(event);
  }

  #wheel(event) {
    const { left, width } = event.currentTarget.getBoundingClientRect(), { start, end } = this.#view;
    const across = event.shiftKey ? event.deltaY : event.deltaX;
    if (event.ctrlKey || event.metaKey) {
      this.#zoom(1.002 ** event.deltaY, start + ((event.clientX - left) / width) * (end - start));
    } else if (Math.abs(across) > Math.abs(event.shiftKey ? 0 : event.deltaY)) {
      const shift = (across / width) * (end - start);
      this.#show(start + shift, end + shift);
    } else return;
    event.preventDefault();
  }

  #zoom(factor, around = this.#engine.time) {
    const { start, end } = this.#view, whole = this.#recording.duration_s;
    const middle = around < start || around > end ? (start + end) / 2 : around;
    const length = Math.min(whole, Math.max(Math.min(SHORTEST_S, whole), (end - start) * factor));
    const first = middle - (length * (middle - start)) / (end - start);
    this.#show(first, first + length);
  }

  #show(start, end) {
    const whole = this.#recording.duration_s, length = Math.min(whole, end - start);
    start = Math.min(Math.max(0, start), whole - length);
    this.#view = { start, end: start + length };
    const pan = $(this.#root, ".pan");
    pan.hidden = length > whole * 0.999;
    [pan.max, pan.value] = [whole - length, start];
    pan.setAttribute("aria-valuetext", `${clock(start)} to ${clock(start + length)}`);
    this.redraw();
  }

  /** Ask for what the view needs, and draw it. */
  async redraw() {
    this.#tick();
    drawAxis($(this.#root, ".axis canvas"), this.#view, clock);
    this.#loading?.abort();
    const { signal } = (this.#loading = new AbortController());
    const view = this.#view, columns = columnsOf(this.#lanes[0].canvas), base = `/api/recordings/${this.#recording.id}`;
    const span = `start_s=${view.start}&end_s=${view.end}`;
    try {
      const answer = await ask(`${base}/peaks?${span}&columns=${columns}`, { signal });
      const peaks = new Int16Array(await answer.arrayBuffer());
      if (!this.#loudest) this.#loudest = peaks.reduce((most, one) => Math.max(most, Math.abs(one)), 300);
      const talking = this.#talking(view, columns);
      this.#lanes.forEach((lane, index) => {
        if (!lane.spectrum) {
          const part = peaks.subarray(2 * columns * index, 2 * columns * (index + 1));
          drawWave(lane.canvas, part, this.#loudest, this.#colours(lane, index, talking));
        }
      });
      for (const lane of this.#lanes.filter((one) => one.spectrum)) {
        const fine = Math.max(1, lane.canvas.clientWidth);
        const found = await ask(`${base}/spectrogram/${lane.id}?${span}&columns=${fine}&rows=${SPECTRUM_ROWS}`, { signal });
        const loudness = new Uint8Array(await found.arrayBuffer());
        drawSpectrogram(lane.canvas, loudness, fine, SPECTRUM_ROWS, colour(lane.colour ?? "soft"));
      }
    } catch (error) {
      if (!signal.aborted) this.#say(error.message);
    }
  }

  /** For each column, the lanes that talk in it. */
  #talking(view, columns) {
    const found = Array.from({ length: columns }, () => []), scale = columns / (view.end - view.start);
    const lanes = new Map(this.#lanes.map((lane, index) => [lane.id, index]));
    for (const turn of this.#recording.activity) {
      const first = Math.max(0, Math.floor((turn.start_s - view.start) * scale));
      const last = Math.min(columns, Math.ceil((turn.end_s - view.start) * scale));
      const lane = lanes.get(turn.track);
      for (let column = first; column < last; column++) if (!found[column].includes(lane)) found[column].push(lane);
    }
    return found;
  }

  /** Grey where nobody talks; the mixture has the colours of all who do. */
  #colours(lane, index, talking) {
    const faint = [colour("faint")], own = lane.colour && [colour(lane.colour)];
    if (own) return (column) => (talking[column].includes(index) ? own : faint);
    const all = this.#lanes.map((one) => one.colour && colour(one.colour));
    return (column) => (talking[column].length ? talking[column].toSorted().map((one) => all[one]) : faint);
  }

  /** Clock and head, for every frame while it plays. */
  #tick() {
    const { time, playing, duration } = this.#engine, root = this.#root, { start, end } = this.#view;
    if (playing && (time > end || time < start)) this.#show(time, time + end - start);
    $(root, ".now").value = clock(time);
    const axis = $(root, ".axis"), head = $(root, ".head"), share = (time - start) / (end - start);
    head.hidden = share < 0 || share > 1;
    head.style.transform = `translateX(${share * axis.clientWidth}px)`;
    axis.setAttribute("aria-valuenow", time.toFixed(1));
    axis.setAttribute("aria-valuetext", `${clock(time)} of ${clock(duration)}`);
    if (playing) {
      cancelAnimationFrame(this.#frame);
      this.#frame = requestAnimationFrame(() => this.#tick());
    }
  }
}
