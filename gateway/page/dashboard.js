// The dashboard: the highest words of a job, live.

import { get, jobPath, lifeOf, post } from './api.js';
import { Bars, Ring } from './charts.js';
import { LiveTop } from './live.js';
import { Words } from './words.js';
import { brief, byId, duration, element, number, setText } from './text.js';

const kRoseMs = 4000; // a word is marked so long after it rose
const kTotalsMs = 5000; // at the earliest
const kSeenWithinMs = 15_000;
const kSeenForMs = 1500; // without another word of the text
const kAgainMs = 6000; // so long it is told that all is well again

export class Dashboard {
  #cluster;
  #job = '';
  #live = null;
  #paused = false;
  #held = 0; // updates that came meanwhile
  #dirty = false;
  #stream = { name: 'connecting', detail: '', life: '' }; // what it said last, and of which life of the job
  #looked = false; // at the cluster
  #lost = false; // the connection, since it was there
  #calm = 0; // the timer that forgets it
  #ranks = new Map(); // word -> place, some time ago
  #ranksAt = 0;
  #rose = new Map(); // word -> until when it is marked
  #sent = []; // { at, missing: words that were not seen yet, seenAt: when one of them was }
  #records = []; // { at, records }, of the last seconds
  #keys = null; // how many words there are, by the job's own count
  #totals = null; // of the whole table, as of some checkpoint
  #totalsAt = 0; // when they were asked for; Infinity: there are none of this job

  constructor(cluster) {
    this.#cluster = cluster;
    this.bars = new Bars(byId('bars'));
    this.ring = new Ring(byId('pie'), byId('legend'));
    this.words = new Words();
    byId('shown').addEventListener('change', () => this.#mark());
    byId('refresh').addEventListener('change', () => this.restart());
    byId('pause').addEventListener('click', () => this.#pause(!this.#paused));
    byId('send').addEventListener('submit', (event) => this.#send(event));
    byId('text').addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) byId('send').requestSubmit();
    });
    setInterval(() => this.#tick(), 500);
  }

  choose(job) {
    this.#job = job;
    this.#records = [];
    this.#keys = null;
    this.#totals = null;
    this.#totalsAt = 0;
    this.words.choose(job);
    this.restart();
  }

  rest() {
    this.#live?.close();
  }

  restart() {
    this.#live?.close();
    this.#live = null;
    this.#ranks.clear();
    this.#rose.clear();
    this.#hear('connecting');
    if (this.#job === '' || document.hidden) return this.#mark();
    this.#live = new LiveTop(this.#job, Number(byId('refresh').value), {
      changed: (entries) => this.#changed(entries),
      state: (name, detail) => this.#hear(name, detail),
    });
    this.#mark();
  }

  // --- what is told of the job ---

  news() {
    const job = this.#described();
    this.#looked = true;
    if (job?.state === 'running' && !this.#cluster.problem) {
      // What was refused to its former life, or before it was there, may be had now.
      if (this.#stream.name === 'refused' && this.#stream.life !== lifeOf(job)) this.restart();
      else this.#live?.again();
    }
    this.#showState();
    if (job) this.#showJob(job);
    this.#showHealth(job);
    if (job) this.#showLatency().catch(() => {});
  }

  #described() {
    return this.#cluster.jobs.find((each) => each.name === this.#job);
  }

  #showJob(job) {
    const now = performance.now();
    this.#records.push({ at: now, records: job.records });
    while (now - this.#records[0].at > 4000) this.#records.shift();
    const [first] = this.#records;
    const seconds = (now - first.at) / 1000;
    setText(byId('rate'), seconds > 0.5 ? brief(Math.max(0, (job.records - first.records) / seconds)) : '–');
    setText(byId('name-total'), job.type.includes('word') ? 'Words counted' : 'Values counted');
    setText(byId('total'), number(job.emitted));
  }

  async #showLatency() {
    const path = jobPath(this.#job);
    const [described, told] = await Promise.all([get(path), get(`${path}/batches?n=20`), this.#askTotals(path)]);
    // Executors count the keys of all tables.
    this.#keys = described.tables?.length > 1 ? null : described.executors.reduce((sum, executor) => sum + executor.keys, 0);
    const took = told.batches.filter((batch) => batch.newest_ms > 0 && batch.published_us > 0)
      .map((batch) => batch.time_ms - batch.newest_ms + batch.published_us / 1000).sort((a, b) => a - b);
    setText(byId('engine-latency'), took.length ? duration(Math.max(0, took[Math.floor(took.length / 2)])) : '–');
    setText(byId('unique'), number(this.#unique()));
  }

  // Only where there are words that are not known here.
  async #askTotals(path) {
    const now = performance.now();
    if (!this.#live?.words.size || this.#live.whole || now - this.#totalsAt < kTotalsMs) return;
    this.#totalsAt = now;
    try {
      this.#totals = await get(`${path}/totals?table=${encodeURIComponent(this.#live.table)}`);
    } catch (problem) {
      if (problem.status >= 400 && problem.status < 500) this.#totalsAt = Infinity;
    }
  }

  #unique() {
    return this.#live?.whole ? this.#live.words.size : (this.#totals?.keys ?? this.#keys ?? this.#live?.words.size ?? 0);
  }

  // Of the counts of all words. What a checkpoint has may be older than what is shown.
  #sum(sorted) {
    const known = sorted.reduce((all, entry) => all + entry.count, 0);
    const job = this.#described();
    if (this.#live?.whole) return known;
    // `emitted` counts what the job made of its records; only of these types is it the sum of the counts.
    const emitted = ['word_count', 'network_word_count'].includes(job?.type) ? job.emitted : 0;
    return Math.max(known, emitted, this.#totals?.sum ?? 0);
  }

  #showHealth(job) {
    const { health, problem, workers } = this.#cluster;
    const parts = [{ name: 'gateway', well: health !== null, said: health ? `version ${health.version}` : 'it does not answer' }];
    for (const part of health?.parts ?? []) {
      parts.push({ name: part.name, well: part.status === 'ok', said: part.problem ?? 'takes records' });
    }
    if (health) parts.push({ name: 'master', well: !problem, said: problem ? problem.message : 'answers' });
    if (health && !problem) {
      const ready = workers.filter((worker) => worker.state === 'ready').length;
      const trouble = workers.find((worker) => worker.problem)?.problem;
      parts.push({ name: 'workers', well: ready > 0 && !trouble, said: trouble ?? `${ready} of ${workers.length} ready` });
    }
    if (job && !problem) {
      parts.push({ name: `job ${job.name}`, well: job.state === 'running' && !job.problem, said: job.problem || job.state });
    }
    this.#showNotice(health);
    const list = byId('health');
    const told = JSON.stringify(parts);
    if (list.dataset.told === told) return;
    list.dataset.told = told;
    list.replaceChildren(...parts.map((part) => element('li', { class: part.well ? 'well' : 'ill' },
      element('span', { class: 'dot', 'aria-hidden': 'true' }), element('b', {}, part.name), ' ',
      element('span', { class: 'unseen' }, part.well ? 'well: ' : 'in trouble: '), element('span', { class: 'detail' }, part.said))));
  }

  #showNotice(health) {
    const logs = (health?.parts ?? []).filter((part) => part.name.startsWith('log ')).map((part) => part.name.slice(4));
    if (logs.length === 1) setText(byId('where'), `the log “${logs[0]}”`);
  }

  // --- state ---

  #hear(name, detail = '') {
    this.#stream = { name, detail, life: this.#live?.life ?? '' };
    this.#showState();
  }

  // Of the cluster, then of the job, then of the stream, each of which may be well again without a word of the others.
  #state() {
    const { problem } = this.#cluster;
    if (!this.#looked) return { name: 'connecting', detail: '' };
    if (problem?.status === 401) return { name: 'refused', detail: 'this gateway asks for an API key' };
    if (problem) return { name: 'lost', detail: problem.message };
    if (this.#job === '') return { name: 'none', detail: '' };
    const job = this.#described();
    if (job && job.state !== 'running') return { name: 'stopped', detail: `the job is ${job.state}` };
    return this.#stream;
  }

  #showState() {
    const { name, detail } = this.#state();
    if (name === 'lost' || name === 'waiting') this.#lost = true;
    const live = byId('refresh').value === '0' ? 'Live' : 'Refreshed as chosen';
    const said = {
      connecting: 'Connecting …',
      open: `${live}: ${this.#job}`,
      lost: `Connection lost: ${detail}. Trying again …`,
      waiting: `Nothing new for now: ${detail}`,
      refused: `Nothing to show: ${detail}`,
      stopped: `Nothing new: ${detail}`,
      none: 'No job runs. Submit one: millrace submit word_count --name words --source log://text --sink none:',
    }[name];
    const again = name === 'open' && this.#lost ? 'Connected again. ' : '';
    setText(byId('status'), this.#paused ? `Paused. ${said}` : again + said);
    byId('status').dataset.state = this.#paused ? 'paused' : name;
    if (name !== 'open') {
      clearTimeout(this.#calm);
      this.#calm = 0;
    } else if (this.#lost) {
      this.#calm ||= setTimeout(() => {
        this.#lost = false;
        this.#calm = 0;
        this.#showState();
      }, kAgainMs);
    }
  }

  #pause(paused) {
    this.#paused = paused;
    byId('pause').setAttribute('aria-pressed', String(paused));
    this.#held = 0;
    setText(byId('held'), '');
    this.#showState();
    if (!paused) this.#mark();
  }

  // --- what changes ---

  #changed(entries) {
    const now = performance.now();
    for (const sent of this.#sent) {
      const before = sent.missing.size;
      for (const { word } of entries) sent.missing.delete(word.toLowerCase());
      if (sent.missing.size < before) sent.seenAt = now;
    }
    this.#tellSeen(now);
    if (this.#paused && entries.length > 0) setText(byId('held'), `${number(++this.#held)} waiting`);
    this.#mark();
  }

  // Draws with the next frame, once, however much changes until then.
  #mark() {
    if (this.#dirty === 'asked') return;
    this.#dirty = 'asked';
    requestAnimationFrame(() => {
      this.#dirty = false;
      if (!this.#paused) this.#draw();
    });
  }

  #draw() {
    const sorted = this.#live?.sorted() ?? [];
    const now = performance.now();
    this.#markRises(sorted, now);
    const shown = sorted.slice(0, Number(byId('shown').value)).filter((entry) => entry.count > 0);
    const total = this.#sum(sorted);
    this.bars.show(shown, this.#rose);
    this.ring.show(sorted, total);
    this.words.show(sorted, total, this.#rose, this.#live);
    byId('bars-empty').hidden = shown.length > 0;
    setText(byId('unique'), number(this.#unique()));
    this.#showAge();
  }

  #markRises(sorted, now) {
    for (const [word, until] of this.#rose) if (until < now) this.#rose.delete(word);
    if (this.#ranks.size > 0) {
      sorted.slice(0, 200).forEach((entry, place) => {
        if (place < (this.#ranks.get(entry.word) ?? Infinity)) this.#rose.set(entry.word, now + kRoseMs);
      });
    }
    if (sorted.length > 0) this.#ranks = new Map(sorted.map((entry, place) => [entry.word, place]));
    this.#ranksAt = now;
  }

  #showAge() {
    const age = this.#live ? performance.now() - this.#live.changedAt : NaN;
    setText(byId('updated'), this.#live?.changedAt ? (age < 1500 ? 'just now' : `${duration(age)} ago`) : '–');
  }

  #tick() {
    this.#showAge();
    const now = performance.now();
    if ([...this.#rose.values()].some((until) => until < now) || this.#live?.words.size > 0 && now - this.#ranksAt > 1000) this.#mark();
    this.#tellSeen(now);
  }

  // A text is seen when the last of its words is: others may send those that are common. Some may not be counted at all.
  #tellSeen(now) {
    this.#sent = this.#sent.filter(({ at, missing, seenAt }) => {
      if (missing.size === 0 || (seenAt && now - seenAt > kSeenForMs)) {
        setText(byId('seen-latency'), duration(seenAt - at));
        setText(byId('sent'), `Counted ${duration(seenAt - at)} after it was sent`);
        return false;
      }
      if (seenAt || now - at < kSeenWithinMs) return true;
      setText(byId('sent'), 'It is stored, but none of its words has been seen here: another job may read that log.');
      return false;
    });
  }

  // --- sending ---

  async #send(event) {
    event.preventDefault();
    const text = byId('text').value;
    const words = text.split(/[ \t\n\v\f\r]+/).filter((word) => word !== '');
    if (words.length === 0) return setText(byId('sent'), 'There is no text yet.');
    const at = performance.now();
    const sent = { at, missing: new Set(words.map((word) => word.toLowerCase())), seenAt: 0 };
    this.#sent.push(sent);
    byId('send').setAttribute('aria-busy', 'true');
    try {
      const stored = await post('/submit_text', { text });
      if (byId('text').value === text) byId('text').value = '';
      if (this.#sent.includes(sent)) setText(byId('sent'), `Stored in log “${stored.log}”, partition ${stored.partition}, offset ${stored.offset}`);
    } catch (problem) {
      this.#sent = this.#sent.filter((each) => each !== sent);
      const lost = problem.status === 0 || problem.status === 500 || problem.status === 504;
      setText(byId('sent'), lost ? `It may be stored or not: ${problem.message}` : `Not sent: ${problem.message}`);
    } finally {
      byId('send').removeAttribute('aria-busy');
    }
  }
}
