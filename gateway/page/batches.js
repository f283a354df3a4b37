// Where the time of batches goes: how many records came, how long they waited and took, and the steps of one of them.

import { Table } from './rows.js';
import { brief, byId, duration, element, number, setText, svg } from './text.js';

const kBatches = 90; // that the timeline shows
const kWide = 900;
const kHigh = 64;
const ms = (us) => us / 1000;
const held = (batch, name) => batch.steps.find((step) => step.name === name)?.held_us ?? 0;

const kLines = [
  { name: 'Records per second', of: (batch) => batch.rate, said: brief },
  { name: 'Waiting for a lane', of: (batch) => ms(held(batch, 'wait')), said: duration },
  { name: 'From cut to applied', of: (batch) => ms(batch.applied_us), said: duration },
];

const kSteps = {
  fetch: 'a lane had nothing to map: the log',
  wait: 'no lane had begun: they were busy',
  map: 'the job\'s functions on the records',
  shuffle: 'results on their way between workers',
  commit: 'the batch record becomes durable',
  reduce: 'results are put into the state',
  report: 'the master hears of it',
  checkpoint: 'changed state goes to the store',
  publish: 'results go to the sink',
};

export class Batches {
  #batches = [];
  #chosen = 0; // 0: the newest

  constructor() {
    this.lines = kLines.map((line) => this.#addLine(line));
    byId('batch').addEventListener('change', (event) => this.#choose(Number(event.target.value)));
    this.steps = new Table(byId('waterfall'), 'Steps of the batch', 'No batch yet', (step) => step.name, [
      { name: 'Step', text: (step) => step.name },
      { name: 'Time since its cut', node: (cell, step, fresh) => this.#showStep(cell, step, fresh), class: 'steps' },
      { name: 'Took', text: (step) => duration(ms(step.end_us - step.begin_us)), class: 'number' },
      { name: 'Held it up', text: (step) => duration(ms(step.held_us)), class: 'number' },
      { name: 'Slowest', text: (step) => (step.slowest ? `${step.slowest}, ${duration(ms(step.lane_most_us))}` : '') },
    ]);
  }

  choose() {
    this.#chosen = 0;
    this.show([]);
  }

  // As the API's /batches has them, oldest first.
  show(batches) {
    this.#batches = batches.map((batch, index) => {
      const before = batches[index - 1];
      const seconds = before ? (batch.time_ms - before.time_ms) / 1000 : 0;
      return { ...batch, rate: seconds > 0 ? batch.records / seconds : 0 };
    }).slice(1).slice(-kBatches);
    this.#showList();
    for (const line of this.lines) this.#showLine(line);
    this.#showChosen();
  }

  #choose(batch) {
    this.#chosen = batch;
    byId('batch').value = batch ? String(batch) : '';
    for (const line of this.lines) this.#showLine(line);
    this.#showChosen();
  }

  #showList() {
    const list = byId('batch');
    if (document.activeElement === list) return; // it may be open
    const wanted = this.#batches.map((each) => each.batch).reverse();
    if (this.#chosen && !wanted.includes(this.#chosen)) wanted.push(this.#chosen);
    list.replaceChildren(element('option', { value: '' }, 'newest'),
      ...wanted.map((batch) => element('option', { value: batch }, number(batch))));
    list.value = this.#chosen ? String(this.#chosen) : '';
  }

  // --- timeline ---

  #addLine(line) {
    const most = element('span', { class: 'most' });
    const picture = svg('svg', { viewBox: `0 0 ${kWide} ${kHigh}`, preserveAspectRatio: 'none', role: 'img' });
    picture.addEventListener('click', (event) => {
      const rect = picture.querySelector(`rect[data-batch="${event.target.dataset?.batch}"]`);
      if (rect) this.#choose(Number(rect.dataset.batch));
    });
    byId('timeline').append(element('figure', {}, element('figcaption', {}, element('b', {}, line.name), ' ', most), picture));
    return { ...line, picture, most, bars: [] };
  }

  #showLine(line) {
    const values = this.#batches.map(line.of);
    const most = Math.max(...values, 0);
    const wide = kWide / kBatches;
    while (line.bars.length < values.length) {
      line.bars.push(svg('rect', { width: wide - 2, rx: 1.5 }));
      line.picture.append(line.bars.at(-1));
    }
    while (line.bars.length > values.length) line.bars.pop().remove();
    values.forEach((value, index) => {
      const high = most > 0 ? Math.max(1, (kHigh * value) / most) : 1;
      const bar = line.bars[index];
      const { batch } = this.#batches[index];
      bar.setAttribute('x', String((kBatches - values.length + index) * wide));
      bar.setAttribute('y', String(kHigh - high));
      bar.setAttribute('height', String(high));
      bar.dataset.batch = String(batch);
      bar.classList.toggle('chosen', batch === this.#chosen);
    });
    const newest = values.at(-1);
    const told = newest === undefined ? 'no batches' : `newest ${line.said(newest)}, most ${line.said(most)}`;
    setText(line.most, told);
    line.picture.setAttribute('aria-label', `${line.name} of the last ${values.length} batches: ${told}`);
  }

  // --- the steps of one ---

  #showChosen() {
    const whole = this.#batches.filter((batch) => batch.published_us > 0);
    const batch = this.#chosen ? this.#batches.find((each) => each.batch === this.#chosen) : whole.at(-1) ?? this.#batches.at(-1);
    if (!batch) {
      if (!this.#chosen) this.steps.show([]);
      return;
    }
    setText(byId('waterfall-title'), `Batch ${number(batch.batch)}: where the time of its ${number(batch.records)} records went`);
    this.begin = Math.min(0, ...batch.steps.map((step) => step.begin_us));
    this.end = Math.max(1, ...batch.steps.map((step) => step.end_us));
    const order = Object.keys(kSteps);
    this.steps.show([...batch.steps].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name)));
  }

  #showStep(cell, step, fresh) {
    if (fresh) cell.append(element('div', { class: 'lane' }, element('i', { class: `step-${step.name}` })));
    const whole = this.end - this.begin;
    const bar = cell.querySelector('i');
    bar.style.marginLeft = `${(100 * (step.begin_us - this.begin)) / whole}%`;
    bar.style.width = `${Math.max(0.4, (100 * (step.end_us - step.begin_us)) / whole)}%`;
    cell.title = `${kSteps[step.name] ?? ''} (${duration(ms(step.begin_us))} to ${duration(ms(step.end_us))})`;
  }
}
