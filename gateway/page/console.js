// The console for operators: jobs and what may be done to them, workers, and how one job is in detail.

import { get, jobPath, post } from './api.js';
import { Batches } from './batches.js';
import { Rows, Table } from './rows.js';
import { brief, byId, bytes, duration, element, number, setText, share } from './text.js';

const kBatches = 91;
const age = (timeMs) => (timeMs ? `${duration(Math.max(0, Date.now() - timeMs))} ago` : '–');

export class Console {
  #cluster;
  #look;
  #job = '';
  #shown = false;
  #asking = false;
  #rates = new Map(); // job -> { at, records, rate }
  #described = new Map(); // job -> its description
  #acting = new Set(); // jobs that are being stopped or resumed
  #letters = -1; // how many there were when they were read

  // `look`: has the cluster looked at anew.
  constructor(cluster, look) {
    this.#cluster = cluster;
    this.#look = look;
    this.batches = new Batches();
    this.jobs = new Rows(document.querySelector('#jobs tbody'), (job) => job.name, [
      { text: (job) => job.name },
      { node: (cell, job) => this.#showState(cell, job) },
      { text: (job) => number(job.records), class: 'number' },
      { text: (job) => brief(this.#rates.get(job.name)?.rate ?? 0), class: 'number' },
      { text: (job) => number(job.lag_records), class: 'number' },
      { text: (job) => number(job.batch), class: 'number' },
      { text: (job) => number(job.dead_letters), class: 'number' },
      { node: (cell, job, fresh) => this.#showActions(cell, job, fresh) },
    ]);
    const of = (worker, field) => this.#executors(worker.name).reduce((sum, executor) => sum + executor[field], 0);
    this.workers = new Rows(document.querySelector('#workers tbody'), (worker) => worker.process, [
      { text: (worker) => worker.name },
      { node: (cell, worker) => this.#showState(cell, worker) },
      { text: (worker) => worker.lanes, class: 'number' },
      { text: (worker) => worker.jobs.join(', ') || '–' },
      { text: (worker) => number(of(worker, 'state_partitions')), class: 'number' },
      { text: (worker) => number(of(worker, 'log_partitions')), class: 'number' },
      { text: (worker) => number(of(worker, 'keys')), class: 'number' },
      { text: (worker) => bytes(of(worker, 'memory_bytes')), class: 'number' },
    ]);
    this.lag = new Table(byId('lag'), 'Partitions of the source', 'Not known yet', (part) => `${part.topic} ${part.partition}`, [
      { name: 'Partition', text: (part) => `${part.topic} ${part.partition}` },
      { name: 'Applied up to', text: (part) => number(part.applied_offset), class: 'number' },
      { name: 'Ends at', text: (part) => number(part.end_offset), class: 'number' },
      { name: 'Behind', text: (part) => number(part.lag), class: 'number' },
    ]);
    this.checkpoints = new Table(byId('checkpoints'), 'Table of checkpoints', 'No checkpoint yet', (one) => one.batch, [
      { name: 'Batch', text: (one) => number(one.batch), class: 'number' },
      { name: 'Age', text: (one) => age(one.time_ms), class: 'number' },
      { name: 'Size', text: (one) => bytes(one.size_bytes), class: 'number' },
      { name: 'Files', text: (one) => number(one.files), class: 'number' },
      { name: 'Version', text: (one) => one.version, class: 'number' },
    ]);
    this.letters = new Table(byId('letters'), 'Table of dead letters', 'None', (one) => `${one.topic} ${one.partition} ${one.offset}`, [
      { name: 'Where', text: (one) => `${one.topic} ${one.partition}, offset ${number(one.offset)}` },
      { name: 'Why', text: (one) => one.reason },
      { name: 'Age', text: (one) => age(one.timestamp_ms), class: 'number' },
    ]);
  }

  show(shown) {
    this.#shown = shown;
    if (shown) this.news();
  }

  choose(job) {
    this.#job = job;
    this.#letters = -1;
    this.batches.choose();
    for (const table of [this.lag, this.checkpoints, this.letters]) table.show([]);
    for (const name of document.querySelectorAll('.job-name')) setText(name, job || 'no job');
    this.news();
  }

  news() {
    for (const job of this.#cluster.jobs) this.#measure(job);
    if (!this.#shown) return;
    this.jobs.show(this.#cluster.jobs);
    this.workers.show(this.#cluster.workers);
    this.#showAccess();
    this.#showProblems();
    this.#ask();
  }

  // --- all jobs ---

  #measure({ name, records }) {
    const at = performance.now();
    const before = this.#rates.get(name) ?? { at, records, rate: 0 };
    if (at - before.at < 900 && before.at !== at) return;
    const rate = at > before.at ? Math.max(0, (1000 * (records - before.records)) / (at - before.at)) : 0;
    this.#rates.set(name, { at, records, rate: before.rate === 0 ? rate : (before.rate + rate) / 2 });
  }

  #executors(worker) {
    return [...this.#described.values()].flatMap((job) => job.executors.filter((executor) => executor.worker === worker));
  }

  #showState(cell, { state, problem }) {
    const well = (state === 'running' || state === 'ready') && !problem;
    const said = problem && state !== 'failed' ? `${state}, in trouble` : state;
    if (cell.dataset.told === said) return;
    cell.dataset.told = said;
    cell.replaceChildren(element('span', { class: `state ${well ? 'well' : state === 'failed' || problem ? 'ill' : 'rest'}` }, said));
  }

  #showAccess() {
    const { role, key } = this.#cluster.access;
    setText(byId('access'), role === 'operate' ? (key ? `The key “${key}” may stop and resume` : '')
      : role === null ? 'This gateway asks for an API key' : `The key “${key}” may ${role}, not stop or resume`);
  }

  #showActions(cell, job, fresh) {
    if (fresh) {
      cell.append(element('button', { type: 'button', onclick: () => this.#act(job.name) }));
    }
    const button = cell.firstChild;
    const running = job.state === 'running';
    button.dataset.action = running ? 'stop' : 'resume';
    setText(button, this.#acting.has(job.name) ? 'Wait …' : running ? 'Stop' : 'Resume');
    button.setAttribute('aria-label', `${running ? 'Stop' : 'Resume'} ${job.name}`);
    button.disabled = this.#cluster.access.role !== 'operate' || this.#acting.has(job.name) || job.state === 'stopping';
  }

  async #act(name) {
    const action = this.#cluster.jobs.find((job) => job.name === name)?.state === 'running' ? 'stop' : 'resume';
    this.#acting.add(name);
    this.news();
    try {
      const job = await post(`${jobPath(name)}/${action}`, undefined, { mostMs: 120_000 });
      setText(byId('done'), `${name} is ${job.state}`);
    } catch (problem) {
      setText(byId('done'), `${name}: ${problem.message}`);
    } finally {
      this.#acting.delete(name);
      this.#look();
    }
  }

  #showProblems() {
    const told = [];
    if (this.#cluster.problem) told.push(['Master', this.#cluster.problem.message]);
    for (const job of this.#cluster.jobs) if (job.problem) told.push([`Job ${job.name}`, job.problem]);
    for (const worker of this.#cluster.workers) if (worker.problem) told.push([`Worker ${worker.name}`, worker.problem]);
    const root = byId('problems');
    if (root.dataset.told === JSON.stringify(told)) return;
    root.dataset.told = JSON.stringify(told);
    root.hidden = told.length === 0;
    root.replaceChildren(...told.map(([who, what]) => element('p', { class: 'problem' }, element('b', {}, who), ' ', what)));
  }

  // --- one job ---

  async #ask() {
    if (this.#asking || this.#job === '') return;
    this.#asking = true;
    const name = this.#job;
    try {
      const path = jobPath(name);
      const others = this.#cluster.jobs.filter((job) => job.state === 'running' && job.name !== name).slice(0, 20);
      const [job, batches, lag, checkpoints, ...more] = await Promise.allSettled([
        get(path), get(`${path}/batches?n=${kBatches}`), get(`${path}/lag`), get(`${path}/checkpoints`),
        ...others.map((other) => get(jobPath(other.name)))]);
      if (name !== this.#job) return;
      this.#described = new Map([job, ...more].filter((each) => each.status === 'fulfilled').map(({ value }) => [value.name, value]));
      if (job.status === 'fulfilled') this.#showJob(job.value);
      if (batches.status === 'fulfilled') this.#showBatches(batches.value.batches);
      if (lag.status === 'fulfilled') this.lag.show(lag.value.partitions);
      if (checkpoints.status === 'fulfilled') this.checkpoints.show(checkpoints.value.checkpoints.reverse());
      if (job.status === 'fulfilled') await this.#showLetters(path, job.value.dead_letters);
    } catch {
      // The dashboard's status tells what is wrong with the connection.
    } finally {
      this.#asking = false;
    }
  }

  #showBatches(batches) {
    this.batches.show(batches);
    const lanes = this.#cluster.workers.reduce((sum, worker) => sum + (worker.jobs.includes(this.#job) ? worker.lanes : 0), 0);
    const took = batches.length > 1 ? 1000 * (batches.at(-1).time_ms - batches[0].time_ms) : 0;
    const busy = batches.slice(1).flatMap((batch) => batch.steps)
      .reduce((sum, step) => sum + (['map', 'reduce', 'checkpoint'].includes(step.name) ? step.busy_us ?? 0 : 0), 0);
    setText(byId('load'), lanes * took > 0 ? share(busy / (lanes * took)) : '–');
  }

  async #showLetters(path, count) {
    if (count === this.#letters) return;
    const { letters, total } = count === 0 ? { letters: [], total: 0 } : await get(`${path}/dead-letters?limit=100`);
    this.#letters = count;
    this.letters.show(letters);
    setText(byId('letters-title'), total > letters.length ? `Dead letters: ${number(total)}, the first ${letters.length}` : 'Dead letters');
  }

  #showJob(job) {
    this.#showRecovery(job);
    const told = JSON.stringify([job.source, job.receiver, job.sink, job.outputs, job.tables, job.settings, job.type, job.version, job.executors.length]);
    const root = byId('plan');
    if (root.dataset.told === told) return;
    root.dataset.told = told;
    const box = (kind, title, ...lines) => element('li', { class: kind }, element('b', {}, title),
      ...lines.filter(Boolean).map((line) => element('span', {}, line)));
    const settings = Object.entries(job.settings).map(([name, value]) => `${name}=${value}`).join(', ');
    const tables = (job.tables ?? []).map((table) => `table ${table.name}${table.rank ? `, rank ${table.rank} of ${number(table.rank_size)}` : ''}`);
    root.replaceChildren(
      element('ol', { class: 'flow' },
        job.receiver ? box('outside', 'Receiver', job.receiver) : null,
        box('outside', 'Source', job.source),
        box('job', `${job.type}, version ${job.version}`, settings, `${number(job.executors.length)} executors, ${number(job.state_partitions)} state partitions`, ...tables),
        box('outside', 'Sink', job.sink === 'none://' ? 'none: asked by the API only' : job.sink),
        ...Object.entries(job.outputs ?? {}).map(([name, uri]) => box('outside', `Output ${name}`, uri))),
      element('p', { class: 'notice' }, 'What is inside of the job, stage by stage, is told by: ', element('code', {}, `millrace explain ${job.type}`)));
  }

  #showRecovery(job) {
    const root = byId('recovery');
    const missing = job.recovering_partitions;
    const there = job.state_partitions - missing;
    const said = missing === 0 ? `All ${number(there)} state partitions are there` : `Recovering: ${number(there)} of ${number(job.state_partitions)} state partitions are there`;
    if (!root.hasChildNodes()) {
      root.append(element('p', { class: 'said', id: 'recovery-said' }), element('progress', { 'aria-labelledby': 'recovery-said' }));
    }
    setText(root.firstChild, `${said}. Newest checkpoint: batch ${number(job.checkpoint_batch)}, ${number(Math.max(0, job.batch - job.checkpoint_batch))} batches ago`);
    root.lastChild.max = job.state_partitions;
    root.lastChild.value = there;
  }
}
