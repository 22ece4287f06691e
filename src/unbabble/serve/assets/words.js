// Numbers as people read them.

/** Seconds as 0:03.2, or 1:02:03.2. */
export function clock(seconds, digits = 1) {
  const unit = 10 ** digits, ticks = Math.floor(Math.max(0, seconds) * unit + 1e-6);
  const whole = Math.floor(ticks / unit), hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  const rest = `${whole % 60}`.padStart(2, "0") + (digits ? `.${`${ticks % unit}`.padStart(digits, "0")}` : "");
  return hours ? `${hours}:${`${minutes}`.padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** A time that is yet to come, roughly. */
export function roughly(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

export const percent = (share) => `${Math.floor(100 * share)} %`;

export const many = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

export function bytes(count) {
  return count >= 1e9 ? `${+(count / 1e9).toPrecision(3)} GB` : `${+(count / 1e6).toPrecision(3)} MB`;
}

/** What goes on with a recording, or is wrong with it. */
export function stateOf(recording) {
  if (recording.state === "failed") return recording.error;
  if (recording.state === "queued") {
    return recording.position ? `Waiting, ${recording.position} before it` : "Waiting";
  }
  if (recording.state === "running") {
    const left = recording.seconds_left === null ? "" : `, ${roughly(recording.seconds_left)} left`;
    return `Separating ${percent(recording.progress)}${left}`;
  }
  return `${many(recording.tracks.length, "talker")} · ${clock(recording.duration_s, 0)}`;
}
