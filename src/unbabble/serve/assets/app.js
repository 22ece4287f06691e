// The page: the list of recordings, and the one that is open.

import { change, get } from "/assets/api.js";
import { Intake, makeRecorder, uploadState } from "/assets/intake.js";
import { Player } from "/assets/player.js";
import { stateOf } from "/assets/words.js";

const MOST_PEOPLE = 10;
const BUSY_MS = 700, QUIET_MS = 6000, SURE_MS = 3000;
const element = (id) => document.getElementById(id);
const copy = (id) => element(id).content.firstElementChild.cloneNode(true);
const say = (text) => { element("said").textContent = text; };

/** What is shown now; `player` is null where no recording that is done is open. */
export const current = { recordings: [], intake: null, player: null };
const rows = new Map();
let shown = null, timer = 0;

async function refresh() {
  clearTimeout(timer);
  try {
    current.recordings = await get("/api/recordings");
    document.body.classList.remove("away");
    render();
  } catch (error) {
    say(error.message);
  }
  const busy = current.recordings.some((one) => one.state === "queued" || one.state === "running");
  timer = setTimeout(refresh, busy ? BUSY_MS : QUIET_MS);
}

function render() {
  const uploads = current.intake.uploads.map((upload) => ({
    key: upload.key, name: upload.name, state: uploadState(upload), failed: upload.error !== null,
    progress: upload.error ? null : upload.sent ?? 0, remove: upload.error ? () => current.intake.forget(upload) : null,
  }));
  const recordings = current.recordings.map((recording) => ({
    key: recording.id, name: recording.name, state: stateOf(recording), failed: recording.state === "failed",
    progress: recording.state === "running" ? recording.progress : null, link: `#/${recording.id}`,
    remove: () => remove(recording), asks: true,
  }));
  const entries = [...uploads, ...recordings], keys = new Set(entries.map((entry) => entry.key));
  for (const [key, row] of rows) if (!keys.has(key)) { row.remove(); rows.delete(key); }
  entries.forEach((entry, index) => {
    if (!rows.has(entry.key)) rows.set(entry.key, copy("row"));
    const row = rows.get(entry.key), list = element("recordings");
    fillRow(row, entry);
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
  });
  open();
}

function fillRow(row, entry) {
  const link = row.querySelector("a"), progress = row.querySelector("progress"), button = row.querySelector("button");
  if (entry.link) link.href = entry.link;
  link.setAttribute("aria-current", entry.link === location.hash);
  row.classList.toggle("failed", entry.failed);
  row.querySelector(".row-name").textContent = link.title = entry.name;
  row.querySelector(".row-state").textContent = entry.state.replace(`${entry.name}: `, "");
  progress.hidden = entry.progress === null;
  progress.value = entry.progress ?? 0;
  progress.setAttribute("aria-label", `Progress of ${entry.name}`);
  button.hidden = !entry.remove;
  if (!button.classList.contains("sure")) button.setAttribute("aria-label", `Delete ${entry.name}`);
  button.onclick = () => (entry.asks && !button.classList.contains("sure") ? makeSure(button) : entry.remove());
}

/** Ask once more before something is deleted. */
function makeSure(button) {
  const symbol = [...button.childNodes], label = button.getAttribute("aria-label");
  button.classList.add("sure");
  button.replaceChildren("Delete");
  button.setAttribute("aria-label", `${label}, really`);
  setTimeout(() => {
    button.classList.remove("sure");
    button.replaceChildren(...symbol);
    button.setAttribute("aria-label", label);
  }, SURE_MS);
}

async function remove(recording) {
  try {
    await change(`/api/recordings/${recording.id}`, "DELETE");
    say(`Deleted ${recording.name}`);
  } catch (error) {
    say(error.message);
  }
  if (location.hash === `#/${recording.id}`) location.hash = "#/";
  refresh();
}

/** Show the recording that the address names: its player, how far it is, or what is wrong with it. */
async function open() {
  const id = location.hash.slice(2), recording = current.recordings.find((one) => one.id === id);
  document.body.classList.toggle("opened", Boolean(recording));
  element("empty").hidden = Boolean(recording);
  const key = recording && `${id} ${recording.state === "done"}`;
  if (key === shown) {
    if (recording && recording.state !== "done") fillWaiting(recording);
    return;
  }
  shown = key;
  current.player?.close();
  current.player = null;
  element("stage").querySelectorAll(".waiting, .player").forEach((old) => old.remove());
  document.title = recording ? `${recording.name} · unbabble` : "unbabble";
  if (!recording) return;
  const root = copy(recording.state === "done" ? "player" : "waiting");
  if (recording.state !== "done") {
    element("stage").append(root);
    return fillWaiting(recording);
  }
  try {
    const whole = await get(`/api/recordings/${id}`);
    if (key !== shown) return;
    element("stage").append(root);
    current.player = new Player(whole, root, say);
    say(`${recording.name}: ${stateOf(recording)}`);
  } catch (error) {
    say(error.message);
  }
}

function fillWaiting(recording) {
  const root = element("stage").querySelector(".waiting"), failed = recording.state === "failed";
  if (!root) return;
  root.classList.toggle("failed", failed);
  root.querySelector("h1").textContent = recording.name;
  root.querySelector(".state").textContent = stateOf(recording).replace(`${recording.name}: `, "");
  root.querySelector("progress").hidden = failed;
  root.querySelector("progress").value = recording.progress;
  root.querySelector("progress").setAttribute("aria-label", `Progress of ${recording.name}`);
}

function chooseTheme() {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)");
  const kept = localStorage.getItem("theme");
  if (kept) root.dataset.theme = kept;
  element("theme-switch").onclick = () => {
    const isDark = (root.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
    root.dataset.theme = isDark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
    current.player?.redraw();
  };
  dark.onchange = () => current.player?.redraw();
}

function fillChoices(server) {
  const [speakers, model] = ["speakers", "model"].map((name) => element("intake").elements[name]);
  for (let count = 1; count <= MOST_PEOPLE; count++) speakers.add(new Option(`Exactly ${count}`, count));
  for (const one of server.models) model.add(new Option(`${one.name} ${one.version}`, one.name));
  model.parentElement.hidden = server.models.length === 1;
}

function listenToKeys() {
  addEventListener("keydown", (event) => {
    const { target } = event, typed = target.matches("input:not([type=range]), select, textarea");
    const own = target.matches("button, summary, a") && event.key === " ";
    const slides = target.matches("input[type=range]") && /^(Arrow|Home|End)/.test(event.key);
    if (event.ctrlKey || event.metaKey || event.altKey || typed || own || slides) return;
    if (current.player?.key(event)) event.preventDefault();
  });
  addEventListener("click", (event) => { // so that the space bar plays after a click, too
    if (event.detail) event.target.closest?.("button")?.blur();
  });
}

chooseTheme();
listenToKeys();
addEventListener("hashchange", () => { render(); element("stage").focus({ preventScroll: true }); });
const server = await get("/api/models");
fillChoices(server);
current.intake = new Intake(server, (recording) => {
  if (!recording) return render();
  current.recordings.unshift(recording);
  if (location.hash.length < 3) location.hash = `#/${recording.id}`;
  refresh();
});
current.intake.listen();
makeRecorder(current.intake, say);
await refresh();
