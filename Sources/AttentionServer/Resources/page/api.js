// What the server is asked. A newer question of the same kind ends the older one, whose connection is closed.

export class Failure extends Error {
  constructor({ what, where, try: advice }, status) {
    super(what);
    Object.assign(this, { what, place: where, advice, status });
  }
}

/** The server is gone: nothing answers. */
export class Gone extends Error {}

const running = new Map();

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal?.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); });
  });
}

async function send(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (options?.signal?.aborted) throw error;
    throw new Gone("The server does not answer.");
  }
  if (response.ok) return response;
  let failure = { what: `The server answered with status ${response.status}.`, where: "server", try: "Reload the page." };
  try { failure = (await response.json()).error ?? failure; } catch { /* No JSON: what stands above says enough. */ }
  const error = new Failure(failure, response.status);
  error.retryAfter = Number(response.headers.get("Retry-After") ?? 0);
  throw error;
}

/**
 * Posts a question. `kind` names what a newer question replaces. A full queue is waited for.
 * @returns {Promise<Response>} whose status is 200.
 */
export async function ask(path, question, kind = path) {
  running.get(kind)?.abort(new DOMException("A newer question was asked.", "AbortError"));
  const controller = new AbortController();
  running.set(kind, controller);
  const options = {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(question),
    signal: controller.signal,
  };
  try {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await send(path, options);
      } catch (error) {
        if (!(error instanceof Failure) || error.status !== 503 || attempt >= 20) throw error;
        await pause(error.retryAfter || 1, controller.signal);
      }
    }
  } finally {
    if (running.get(kind) === controller) running.delete(kind);
  }
}

/** Ends the questions of a kind. */
export function forget(kind) {
  running.get(kind)?.abort(new DOMException("No longer wanted.", "AbortError"));
}

export const models = async () => (await (await send("/api/models")).json()).names;

/** Waits until the server answers again. */
export async function untilBack() {
  for (;;) {
    await pause(1);
    try { await send("/api/models"); return; } catch (error) { if (!(error instanceof Gone)) return; }
  }
}
