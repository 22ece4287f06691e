// Waveforms, spectrograms and the axis, on canvases that are as sharp as the screen.

const BAR = 3, GAP = 1; // of a waveform, in pixels of the page
const probe = document.createElement("span");
probe.hidden = true;

/** The colour that a variable of the stylesheet stands for now. */
export function colour(name) {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

/** How many bars fit. */
export const columnsOf = (canvas) => Math.max(1, Math.floor(canvas.clientWidth / BAR));

function clean(canvas) {
  const scale = devicePixelRatio, { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  return { pen, width, height };
}

/** Bars from the least to the largest sample of each column; `coloursAt(column)` gives one colour or several. */
export function drawWave(canvas, peaks, loudest, coloursAt) {
  const { pen, height } = clean(canvas);
  const middle = height / 2, scale = (middle - 8) / loudest;
  for (let column = 0; column < peaks.length / 2; column++) {
    const top = middle - Math.max(0.75, peaks[2 * column + 1] * scale);
    const bottom = middle + Math.max(0.75, -peaks[2 * column] * scale);
    const colours = coloursAt(column);
    colours.forEach((one, index) => {
      pen.fillStyle = one;
      pen.fillRect(column * BAR, top + ((bottom - top) * index) / colours.length, BAR - GAP, (bottom - top) / colours.length);
    });
  }
}

/** A byte for each column of each row, the lowest pitch first, from the surface's colour to the talker's and on. */
export function drawSpectrogram(canvas, bytes, columns, rows, talker) {
  const { pen, width, height } = clean(canvas);
  const [low, middle, high] = [colour("surface"), talker, colour("ink")].map(parts);
  const image = new ImageData(columns, rows);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const share = bytes[row * columns + column] / 255, at = 4 * ((rows - 1 - row) * columns + column);
      const [from, to, part] = share < 0.6 ? [low, middle, share / 0.6] : [middle, high, (share - 0.6) / 0.8];
      for (let index = 0; index < 3; index++) image.data[at + index] = from[index] + (to[index] - from[index]) * part;
      image.data[at + 3] = 255;
    }
  }
  const whole = new OffscreenCanvas(columns, rows);
  whole.getContext("2d").putImageData(image, 0, 0);
  pen.drawImage(whole, 0, 0, width, height);
}

const parts = (text) => text.match(/[\d.]+/g).slice(0, 3).map(Number);

/** Ticks at round times. */
export function drawAxis(canvas, view, format) {
  const { pen, width, height } = clean(canvas);
  const wanted = ((view.end - view.start) * 84) / width;
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200].find((one) => one >= wanted) ?? 14400;
  pen.font = `11.5px ${getComputedStyle(document.body).fontFamily}`;
  pen.textBaseline = "middle";
  for (let tick = Math.ceil(view.start / step - 1e-6); tick * step <= view.end; tick++) {
    const at = ((tick * step - view.start) / (view.end - view.start)) * width;
    pen.fillStyle = colour("faint");
    pen.fillRect(at, height - 6, 1, 6);
    pen.fillStyle = colour("soft");
    const text = format(tick * step, step < 1 ? 1 : 0), room = pen.measureText(text).width;
    if (at + room + 5 < width) pen.fillText(text, at + 5, height / 2 - 1);
  }
}
