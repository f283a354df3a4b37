// The gateway's API: requests with the key, problems as errors, and a reader of server-sent events. EventSource sends no
// Authorization, so the stream is read by fetch().

const kKeyName = 'millrace.key';
const kSilentMs = 40_000; // the gateway says something every 15 s
const kMostMs = 15_000; // for an answer to begin

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status; // 0: no answer at all
  }
}

// What a problem says of asking again: 'lost' (no answer) and 'waiting' (not now) may pass, 'refused' does not.
export function stateOf(problem) {
  const status = problem instanceof Problem ? problem.status : 0;
  if (status >= 400 && status < 500 && status !== 429) return 'refused';
  return status ? 'waiting' : 'lost';
}

export const key = {
  get: () => sessionStorage.getItem(kKeyName) ?? '',
  set: (text) => (text ? sessionStorage.setItem(kKeyName, text) : sessionStorage.removeItem(kKeyName)),
};

export function headers(more = {}) {
  return key.get() ? { ...more, Authorization: `Bearer ${key.get()}` } : more;
}

// Until the answer begins; what `signal` ends is ended later, too.
export async function send(method, path, { body, signal, mostMs = kMostMs, headers: more = {} } = {}) {
  let answer;
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), mostMs);
  try {
    const ended = signal ? AbortSignal.any([signal, late.signal]) : late.signal;
    answer = await fetch(path, { method, body, signal: ended, headers: headers(more), cache: 'no-store' });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, 'the gateway does not answer');
  } finally {
    clearTimeout(timer);
  }
  if (answer.ok) return answer;
  throw new Problem(answer.status, await detailOf(answer));
}

async function detailOf(answer) {
  const text = await answer.text().catch(() => '');
  try {
    return JSON.parse(text).detail ?? `status ${answer.status}`;
  } catch {
    return text.slice(0, 300) || `status ${answer.status}`;
  }
}

export async function get(path, options) {
  return (await send('GET', path, options)).json();
}

export async function post(path, value, options = {}) {
  const sent = value === undefined ? {} : { body: JSON.stringify(value), headers: { 'Content-Type': 'application/json' } };
  return (await send('POST', path, { ...sent, ...options })).json();
}

// Another one where a job was killed and submitted again, upgraded, or taken over by another master.
export const lifeOf = (job) => (job ? `${job.as_of.job_id} ${job.as_of.incarnation}` : '');

export const jobPath = (name) => `/api/v1/jobs/${encodeURIComponent(name)}`;

// /health, which says what is wrong with status 503.
export async function health() {
  let answer;
  try {
    answer = await fetch('/health', { cache: 'no-store', signal: AbortSignal.timeout(kMostMs) });
  } catch {
    throw new Problem(0, 'the gateway does not answer');
  }
  return answer.json();
}

// Events of a text/event-stream, cut where an empty line ends them.
export class EventParser {
  #rest = '';
  #event = {};

  // The whole events in `text`, which goes on where the last one ended.
  *take(text) {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop();
    for (const line of lines) {
      if (line === '') {
        if (this.#event.data !== undefined) yield this.#event;
        this.#event = {};
        continue;
      }
      const colon = line.indexOf(':');
      if (colon === 0) continue;
      this.#event[line.slice(0, colon)] = line.slice(colon + 1).replace(/^ /, '');
    }
  }
}

// Reads a stream for ever, from where it was when the connection breaks. `on`: event(name, data), state(name, detail)
// with 'open', or as stateOf() has them.
export class Stream {
  #over = new AbortController();
  #one = null; // of the connection
  #anew = false;
  #lastId = '';

  constructor(path, on) {
    this.path = path;
    this.on = on;
    this.#run();
  }

  close() {
    this.#over.abort();
  }

  // Connects anew, which has the gateway ask the master: 'open' then says that it answers.
  again() {
    this.#anew = this.#one !== null;
    this.#one?.abort();
  }

  async #run() {
    for (let pause = 500; !this.#over.signal.aborted; pause = Math.min(pause * 2, 4000)) {
      const opened = performance.now();
      this.#anew = false;
      try {
        await this.#read();
        if (!this.#over.signal.aborted) this.on.state('lost', 'the connection ended');
      } catch (problem) {
        if (this.#over.signal.aborted) return;
        if (this.#anew) continue;
        const state = stateOf(problem);
        this.on.state(state, problem.message || 'the connection broke');
        if (state === 'refused') return;
      }
      if (performance.now() - opened > 5000) pause = 250;
      await new Promise((done) => setTimeout(done, pause));
    }
  }

  async #read() {
    const one = new AbortController();
    this.#one = one;
    const end = () => one.abort();
    this.#over.signal.addEventListener('abort', end);
    let silent = setTimeout(end, kSilentMs);
    try {
      const more = this.#lastId ? { 'Last-Event-ID': this.#lastId } : {};
      const answer = await send('GET', this.path, { signal: one.signal, headers: more });
      this.on.state('open');
      const parser = new EventParser();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        clearTimeout(silent);
        silent = setTimeout(end, kSilentMs);
        for (const event of parser.take(value)) {
          if (event.id) this.#lastId = event.id;
          this.on.event(event.event, JSON.parse(event.data));
        }
      }
    } finally {
      clearTimeout(silent);
      this.#over.signal.removeEventListener('abort', end);
      this.#one = null;
      one.abort();
    }
  }
}
