// The highest words of a job as they change: its rank, or the thousand highest of it, to begin with, then what the stream
// tells. Of a job with several tables it is the first one with a rank.

import { Stream, get, jobPath, lifeOf, stateOf } from './api.js';

export const kMost = 1000; // the API's bound of a rank
const kKept = 4000; // words that are remembered
const kReadAgainMs = 2000; // at the earliest, where words fell

// "3 17" of a table whose values are several numbers counts 3.
export function numberOf(count) {
  return typeof count === 'number' ? count : Number.parseFloat(count) || 0;
}

export class LiveTop {
  words = new Map(); // word -> { word, count, text, before, since }
  batch = 0;
  whole = false; // there are no other words
  table = ''; // not known yet, or there is none with a rank
  life = ''; // of the job, as lifeOf() has it
  changedAt = 0; // of performance.now()
  #most = kMost; // words that the rank may have
  #floor = 0; // words that are not in `words` have no more
  #waiting = null; // changes that came while the rank is read
  #wanted = 0; // the batch that it is to be read as of
  #stream = null;
  #timer = 0;
  #readAt = 0;
  #read = false; // what is shown, so that the stream's changes go on from it
  #quiet = false; // since the stream said that nothing comes for now
  #over = new AbortController();

  // `on`: changed(words that did, by the batch), state(name, detail) as Stream's, also 'waiting'.
  constructor(job, everyMs, on) {
    this.job = job;
    this.on = on;
    this.#begin(everyMs);
  }

  async #begin(everyMs) {
    if (!(await this.#insist(() => this.#describe()))) return;
    if (everyMs > 0) return this.#poll(everyMs);
    this.#stream = new Stream(`${jobPath(this.job)}/stream?table=${encodeURIComponent(this.table)}`, {
      event: (name, data) => this.#event(name, data),
      state: (name, detail) => (name !== 'open' || this.#read) && this.on.state(name, detail),
    });
  }

  close() {
    this.#over.abort();
    this.#stream?.close();
    clearTimeout(this.#timer);
  }

  // When what a stream was waiting for may be there: of a job in which nothing changes it says nothing more by itself.
  again() {
    if (!this.#quiet) return;
    this.#quiet = false;
    this.#stream.again();
  }

  // The n highest, ties in the order of the words.
  top(n) {
    return this.sorted().slice(0, n);
  }

  sorted() {
    return [...this.words.values()].sort((a, b) => b.count - a.count || (a.word < b.word ? -1 : 1));
  }

  async #poll(everyMs) {
    try {
      await this.#readRank(0);
      this.on.state('open');
    } catch (problem) {
      if (this.#over.signal.aborted) return;
      this.on.state(stateOf(problem), problem.message);
    }
    if (!this.#over.signal.aborted) this.#timer = setTimeout(() => this.#poll(everyMs), everyMs);
  }

  #event(name, data) {
    this.#quiet = name === 'waiting';
    if (this.#quiet) return this.on.state('waiting', data.detail);
    if (name === 'reset') return this.#readAnew(data.batch);
    if (name !== 'changes') return;
    if (this.#waiting) return this.#waiting.push(data);
    this.on.state('open');
    this.#apply(data);
  }

  // Reads the rank as of `batch` or later, until it is there; what changes meanwhile is added to it.
  async #readAnew(batch) {
    this.#wanted = batch;
    if (this.#waiting) {
      this.#waiting = []; // they are from before this reset
      return;
    }
    this.#waiting = [];
    for (let read = -1; read !== this.#wanted; ) {
      if (!(await this.#insist(() => this.#readRank((read = this.#wanted))))) return;
    }
    this.#read = true;
    this.on.state('open');
    const waiting = this.#waiting;
    this.#waiting = null;
    for (const data of waiting) this.#apply(data);
  }

  // Asks until there is an answer. False: there will be none.
  async #insist(ask) {
    for (let pause = 100; ; pause = Math.min(2 * pause, 2000)) {
      try {
        await ask();
        return true;
      } catch (problem) {
        if (this.#over.signal.aborted) return false;
        const state = stateOf(problem);
        this.on.state(state, problem.message);
        if (state === 'refused') {
          this.close();
          return false;
        }
        await new Promise((done) => setTimeout(done, pause));
      }
    }
  }

  async #describe() {
    const job = await get(jobPath(this.job), { signal: this.#over.signal });
    const ranked = job.tables?.find((each) => each.rank !== '' && (this.table === '' || each.name === this.table));
    this.life = lifeOf(job);
    this.table = ranked?.name ?? this.table;
    this.#most = Math.min(kMost, ranked?.rank_size ?? kMost);
  }

  async #readRank(atLeast) {
    const path = `${jobPath(this.job)}/top?n=${kMost}&table=${encodeURIComponent(this.table)}${atLeast ? `&at_least=${atLeast}` : ''}`;
    const rank = await get(path, { signal: this.#over.signal });
    if (lifeOf(rank) !== this.life) await this.#describe(); // the new code's rank may be of another length
    this.#readAt = performance.now();
    const former = this.words;
    const first = this.changedAt === 0;
    this.words = new Map();
    const changed = [];
    for (const { word, count } of rank.values) {
      const known = former.get(word);
      const entry = this.#entry(word, count, known, false);
      this.words.set(word, entry);
      if (known ? known.count !== entry.count : !first) changed.push(entry);
    }
    this.whole = rank.values.length < this.#most;
    this.#floor = this.whole ? 0 : numberOf(rank.values.at(-1).count);
    this.batch = rank.batch;
    this.changedAt = this.#readAt;
    this.on.changed(changed);
  }

  #entry(word, text, known, fresh) {
    const count = numberOf(text);
    const now = performance.now();
    if (!known) return { word, count, text, before: fresh && this.whole ? 0 : count, since: now };
    // What it was some seconds ago, so that its rise is seen.
    if (now - known.since > 5000) return { word, count, text, before: known.count, since: now };
    return { ...known, count, text };
  }

  // The rank may have been read as of a later batch than the stream has come to.
  #apply(data) {
    if (data.batch <= this.batch) return;
    const changed = [];
    let fell = false;
    for (const { word, count } of data.changes) {
      const known = this.words.get(word);
      if (count === null) {
        fell ||= known !== undefined;
        this.words.delete(word);
        continue;
      }
      const entry = this.#entry(word, count, known, true);
      fell ||= known !== undefined && entry.count < known.count && entry.count < this.#floor;
      // Below the floor there may be others that have more.
      if (this.whole || known || entry.count >= this.#floor) this.words.set(word, entry);
      changed.push(entry);
    }
    this.batch = data.batch;
    this.changedAt = performance.now();
    if (this.words.size > kKept) this.#forget();
    if (fell && !this.whole) this.#readSoon();
    this.on.changed(changed);
  }

  #forget() {
    const kept = this.top(kMost);
    this.#floor = Math.max(this.#floor, kept.at(-1).count);
    this.whole = false;
    this.words = new Map(kept.map((entry) => [entry.word, entry]));
  }

  // A word that is not known may be higher than one that fell.
  #readSoon() {
    if (this.#timer || !this.#stream) return;
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      if (!this.#over.signal.aborted && !this.#waiting) this.#readAnew(this.batch);
    }, Math.max(0, this.#readAt + kReadAgainMs - performance.now()));
  }
}
