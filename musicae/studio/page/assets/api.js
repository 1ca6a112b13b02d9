// The API: every answer that is no success becomes an Error with the sentence that the studio gave.

const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? sessionStorage.getItem("token") ?? "";
sessionStorage.setItem("token", token); // for when the page is loaded again

export class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

const RETRIES = 20, RETRY_MS = 500;

/** Asks; while the studio is busy it is asked again. */
async function ask(path, options = {}) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await askOnce(path, options);
    } catch (error) {
      if (error.status !== 429 || attempt >= RETRIES) throw error;
      await pause(RETRY_MS);
    }
  }
}

async function askOnce(path, options) {
  const headers = { ...options.headers, ...(token && { "X-Musicae-Token": token }) };
  let answer;
  try {
    answer = await fetch(`/api${path}`, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The studio does not answer. If it was ended, start it again with: musicae studio");
  }
  if (answer.ok) return answer;
  let sentence = `The studio answered ${answer.status}.`;
  try {
    sentence = (await answer.json()).error ?? sentence;
  } catch { /* no JSON: the status has to do */ }
  throw new Refused(answer.status, sentence);
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export const json = async (path, options) => (await ask(path, options)).json();

const post = (path, body, options) =>
  json(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), ...options });

/** An operation. */
export async function compute(name, body, { signal, onProgress } = {}) {
  const job = crypto.randomUUID?.() ?? String(Math.random()).slice(2);
  let watching = Boolean(onProgress);
  (async () => {
    while (watching) {
      await pause(300);
      if (!watching) return;
      try {
        const { progress } = await json(`/jobs/${job}`);
        if (watching && progress !== null) onProgress(progress);
      } catch { /* the answer itself will say it */ }
    }
  })();
  const values = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  try {
    return await post(`/${name}?job=${job}`, values, { signal });
  } finally {
    watching = false;
  }
}

export const upload = (file) => json(`/media?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file });
export const describe = (id) => json(`/media/${id}`);
export const starters = () => json("/starters");
export const status = () => json("/status");

export async function file(id, ending) {
  return (await ask(`/media/${id}/file?ending=${ending}`)).blob();
}

export const training = {
  state: () => json("/training"),
  add: (file) => json(`/training/files?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file }),
  forget: () => json("/training/files", { method: "DELETE" }),
  inspect: () => json("/training/inspection"),
  start: (body) => post("/training/start", body),
  stop: () => post("/training/stop", {}),
  resume: () => post("/training/continue", {}),
  use: () => post("/training/use", {}),
  preview: async (number) => (await ask(`/training/previews/${number}`)).blob(),
};
