// Talks with the server. What it refuses is an Error with its one line as the message.

export async function ask(path, options = {}) {
  const answer = await fetch(path, options).catch(() => {
    throw new Error("The server does not answer; is it running?");
  });
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error ?? `${answer.status} ${answer.statusText}`);
  return answer;
}

export const get = async (path, signal) => (await ask(path, { signal })).json();

export async function change(path, method, body) {
  const headers = { "Content-Type": "application/json" };
  const answer = await ask(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  return answer.status === 204 ? null : answer.json();
}

const RETRY_MS = 1000; // a queue that is full

/** Send a file; `told` hears which part of it is sent, or null while the server has no room. Gives the recording. */
export async function send(file, choices, told) {
  for (;;) {
    const { status, answer } = await sendOnce(file, choices, told);
    if (status === 201) return answer;
    if (status !== 503) throw new Error(answer?.error ?? "The upload was cut off; send it again");
    told(null);
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

function sendOnce(file, choices, told) {
  const form = new FormData(), request = new XMLHttpRequest(); // fetch does not tell how much is sent
  for (const [name, value] of Object.entries(choices)) form.append(name, value);
  form.append("file", file, file.name);
  request.open("POST", "/api/recordings");
  request.responseType = "json";
  request.upload.onprogress = (event) => told(event.loaded / event.total);
  return new Promise((resolve) => {
    request.onloadend = () => resolve({ status: request.status, answer: request.response });
    request.send(form);
  });
}
