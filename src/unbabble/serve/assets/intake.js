// What is dropped, chosen or recorded is sent.

import { send } from "/assets/api.js";
import { bytes, clock, percent, roughly } from "/assets/words.js";

const AT_ONCE = 3;
const element = (id) => document.getElementById(id);

/** Uploads that are not recordings of the server yet, or were refused: {key, name, sent, error}. */
export class Intake {
  #limits; #changed; #waiting = []; #active = 0; #count = 0;

  constructor(limits, changed) {
    [this.#limits, this.#changed] = [limits, changed];
    this.uploads = [];
    element("limits").textContent =
      `Audio or video, up to ${bytes(limits.max_mb * 1e6)} and ${limits.max_hours} h`;
  }

  /** Take what is chosen or dropped from now on, and what was chosen while the page was loaded. */
  listen() {
    const files = element("files");
    files.onchange = () => {
      this.add([...files.files]);
      files.value = "";
    };
    if (files.files.length) files.onchange();
    this.#listenForDrops();
    addEventListener("beforeunload", (event) => {
      if (this.uploads.some((upload) => !upload.error)) event.preventDefault();
    });
  }

  /** Send files, a few at a time. */
  add(files) {
    for (const file of files) {
      const upload = { key: `upload-${++this.#count}`, name: file.name, file, sent: null, error: null };
      this.uploads.unshift(upload);
      if (file.size > this.#limits.max_mb * 1e6) {
        upload.error = `${bytes(file.size)}, more than the ${bytes(this.#limits.max_mb * 1e6)} that an upload may have`;
      } else this.#waiting.push(upload);
    }
    this.#next();
  }

  forget(upload) {
    this.uploads.splice(this.uploads.indexOf(upload), 1);
    this.#changed();
  }

  #next() {
    while (this.#active < AT_ONCE && this.#waiting.length) this.#send(this.#waiting.shift());
    this.#changed();
  }

  async #send(upload) {
    this.#active++;
    upload.began = Date.now();
    try {
      const choices = Object.fromEntries(new FormData(element("intake")));
      [choices.format, choices.bits] = choices.format.split("/");
      if (!choices.bits) delete choices.bits;
      const recording = await send(upload.file, choices, (part) => {
        upload.sent = part;
        upload.full = part === null;
        this.#changed();
      });
      this.uploads.splice(this.uploads.indexOf(upload), 1);
      this.#changed(recording);
    } catch (error) {
      upload.error = error.message;
    }
    this.#active--;
    this.#next();
  }

  #listenForDrops() {
    const drop = element("drop");
    let inside = 0;
    const over = (change) => drop.classList.toggle("over", (inside += change) > 0);
    addEventListener("dragenter", () => over(1));
    addEventListener("dragleave", () => over(-1));
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => {
      event.preventDefault();
      over(-inside);
      this.add([...event.dataTransfer.files]);
    });
  }
}

export function uploadState(upload) {
  if (upload.error) return upload.error;
  if (upload.full) return "The server's queue is full; trying again";
  if (upload.sent === null) return "Waiting";
  const left = ((Date.now() - upload.began) * (1 - upload.sent)) / upload.sent / 1000;
  return `Sending ${percent(upload.sent)}${upload.sent && left > 1 ? `, ${roughly(left)} left` : ""}`;
}

/** The button that records from the microphone until it is pressed again. */
export function makeRecorder(intake, say) {
  const button = element("record"), label = button.querySelector("span"), meter = element("meter");
  let stop = null;
  if (!navigator.mediaDevices?.getUserMedia) {
    button.disabled = true;
    button.title = "Browsers give pages a microphone only over https, or on localhost";
    return;
  }
  button.onclick = async () => {
    if (stop) return stop();
    try {
      stop = await record(meter.firstElementChild, (seconds) => { label.textContent = `Stop ${clock(seconds, 0)}`; });
    } catch (error) {
      return say(`No microphone: ${error.message}`);
    }
    document.body.classList.add("recording");
    meter.hidden = false;
    say("Recording");
    const ended = stop.ended;
    const file = await ended;
    stop = null;
    document.body.classList.remove("recording");
    meter.hidden = true;
    label.textContent = "Record";
    if (file.size) intake.add([file]);
  };
}

/** Begin to record; gives what stops it, whose `ended` is the file. */
async function record(bar, told) {
  const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false }; // they take voices away
  const stream = await navigator.mediaDevices.getUserMedia({ audio });
  const context = new AudioContext(), analyser = context.createAnalyser(), samples = new Float32Array(1024);
  context.createMediaStreamSource(stream).connect(analyser);
  const recorder = new MediaRecorder(stream, { audioBitsPerSecond: 128000 }), parts = [], began = Date.now();
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const loudest = samples.reduce((most, one) => Math.max(most, Math.abs(one)), 1e-4);
    bar.style.transform = `scaleX(${Math.max(0, 1 + Math.log10(loudest) / 3)})`;
    told((Date.now() - began) / 1000);
  }, 100);
  recorder.ondataavailable = (event) => parts.push(event.data);
  const stop = () => recorder.stop();
  stop.ended = new Promise((resolve) => {
    recorder.onstop = () => {
      clearInterval(timer);
      context.close();
      for (const track of stream.getTracks()) track.stop();
      const kind = recorder.mimeType.includes("mp4") ? "m4a" : recorder.mimeType.includes("ogg") ? "ogg" : "webm";
      const when = new Date(began - new Date().getTimezoneOffset() * 60000).toISOString().slice(0, 19).replace("T", " ").replaceAll(":", ".");
      resolve(new File(parts, `Recording ${when}.${kind}`, { type: recorder.mimeType }));
    };
  });
  recorder.start(1000);
  return stop;
}
