// The table: every word that is known, found, sorted and exported.

import { get, jobPath, send } from './api.js';
import { kMost, numberOf } from './live.js';
import { Rows } from './rows.js';
import { byId, element, number, setText, share, wordElement } from './text.js';

const kStep = 100; // rows
const kOrders = {
  count: (a, b) => b.count - a.count || a.place - b.place,
  word: (a, b) => a.word.localeCompare(b.word) || a.place - b.place,
  rise: (a, b) => b.count - b.before - (a.count - a.before) || a.place - b.place,
};

// A field as RFC 4180 has it. What a spreadsheet would run as a formula has an apostrophe before it.
function field(text) {
  const safe = /^[=+\-@\t\r]/.test(text) && !/^-\d+$/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const risen = (rise) => (rise === 0 ? '' : `${rise > 0 ? '+' : '−'}${number(Math.abs(rise))}`);

function save(blob, name) {
  const link = element('a', { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export class Words {
  #job = '';
  #order = 'count';
  #backwards = false;
  #shown = kStep;
  // A row is of a place, not of a word: words change places all the time, and moving rows costs more than their texts.
  #rows = new Rows(document.querySelector('#words tbody'), (_, place) => place, [
    { class: 'number', text: (entry) => (entry.place === Infinity ? '' : number(entry.place + 1)) },
    { class: 'of-word', head: true, node: (cell, entry) => this.#showWord(cell, entry.word) },
    { class: 'number', text: (entry) => (typeof entry.text === 'number' ? number(entry.text) : entry.text) },
    { class: 'number', text: (entry) => share(entry.count / this.#last.total) },
    { class: 'number', text: (entry) => risen(entry.count - entry.before) },
  ], (row, entry) => row.classList.toggle('rose', this.#last.rose.has(entry.word)));
  #words = new WeakMap(); // cell -> the word in it
  #last = { sorted: [], total: 0, rose: new Map(), whole: true, table: '' };
  #searched = null; // what the cluster found, by what a word begins with; null: it was not asked, or did not answer
  #reached = true; // the last of them
  #searches = 0;
  #canSearch = true; // until the gateway says that it cannot
  #timer = 0;

  constructor() {
    byId('search').addEventListener('input', () => this.#search());
    byId('export').addEventListener('click', () => this.#export());
    byId('more').addEventListener('click', () => {
      this.#shown += kStep;
      this.#draw();
    });
    for (const button of document.querySelectorAll('#words [data-sort]')) {
      button.addEventListener('click', () => this.#sort(button));
    }
  }

  choose(job) {
    this.#job = job;
    this.#last.table = '';
    this.#canSearch = true;
    this.#shown = kStep;
    this.#search();
  }

  // Of `live`: whether there are other words than `sorted`, and of which table they are.
  show(sorted, total, rose, live) {
    const former = this.#last.table;
    this.#last = { sorted, total, rose, whole: live?.whole ?? true, table: live?.table || former };
    if (this.#last.table === former) this.#draw();
    else this.#search();
  }

  #sort(button) {
    this.#backwards = this.#order === button.dataset.sort && !this.#backwards;
    this.#order = button.dataset.sort;
    for (const each of document.querySelectorAll('#words [data-sort]')) each.closest('th').removeAttribute('aria-sort');
    button.closest('th').setAttribute('aria-sort', (this.#order === 'word') === this.#backwards ? 'descending' : 'ascending');
    this.#draw();
  }

  #table() {
    return `table=${encodeURIComponent(this.#last.table)}`;
  }

  // --- search ---

  #search() {
    this.#searched = null;
    this.#shown = kStep;
    this.#draw();
    clearTimeout(this.#timer);
    const prefix = byId('search').value;
    const turn = ++this.#searches;
    setText(byId('found-said'), '');
    if (prefix === '' || this.#job === '') return;
    this.#timer = setTimeout(async () => {
      try {
        if (!this.#canSearch) return;
        const found = await get(`${jobPath(this.#job)}/search?prefix=${encodeURIComponent(prefix)}&limit=${kMost}&${this.#table()}`);
        if (turn !== this.#searches) return;
        this.#reached = found.next_page === '';
        this.#searched = found.counts.map(({ key, value }) => ({ word: key, text: value, count: numberOf(value) }));
      } catch (problem) {
        if (problem.status === 404 || problem.status === 501) this.#canSearch = false;
      } finally {
        if (turn === this.#searches) {
          this.#draw();
          setText(byId('found-said'), byId('found').textContent); // once, not with every update
        }
      }
    }, 200);
  }

  #found() {
    const wanted = byId('search').value.toLowerCase();
    const known = this.#last.sorted.map((entry, index) => ({ ...entry, place: index }))
      .filter((entry) => wanted === '' || entry.word.toLowerCase().includes(wanted));
    if (this.#searched) {
      const here = new Set(this.#last.sorted.map((entry) => entry.word));
      for (const entry of this.#searched) if (!here.has(entry.word)) known.push({ ...entry, before: entry.count, place: Infinity });
    }
    if (this.#order !== 'count' || this.#searched) known.sort(kOrders[this.#order]);
    return this.#backwards ? known.reverse() : known;
  }

  // --- rows ---

  #draw() {
    const found = this.#found();
    const shown = found.slice(0, this.#shown);
    this.#rows.show(shown);
    byId('more').hidden = found.length <= shown.length;
    const wanted = byId('search').value !== '';
    setText(byId('found'), found.length === 0 ? (wanted ? 'No word like that is known here' : 'No words yet')
      : `${number(shown.length)} of ${number(found.length)} ${wanted ? 'found' : 'words'}${this.#reach(wanted)}`);
  }

  #showWord(cell, word) {
    if (this.#words.get(cell) === word) return;
    this.#words.set(cell, word);
    cell.replaceChildren(wordElement(word));
  }

  // Where they were looked for.
  #reach(wanted) {
    if (this.#last.whole) return '';
    if (!wanted) return ', the highest';
    if (!this.#searched) return ' among the highest';
    const first = this.#reached ? '' : `the first ${number(kMost)} `;
    return `: with it among the highest, ${first}beginning with it among all`;
  }

  // --- export ---

  // What was found among words that are all known here; else the gateway's, of one batch, where it has them of the job.
  async #export() {
    const prefix = byId('search').value;
    setText(byId('exported'), 'Exporting …');
    const said = prefix !== '' && this.#last.whole ? this.#exportFound() : await this.#exportAll(prefix);
    setText(byId('exported'), said);
  }

  async #exportAll(prefix) {
    let all;
    try {
      all = await send('GET', `${jobPath(this.#job)}/export.csv?spreadsheet=true&prefix=${encodeURIComponent(prefix)}&${this.#table()}`);
    } catch (problem) {
      return problem.status === 400 ? this.#exportFound() : `Not exported: ${problem.message}`;
    }
    try {
      this.#save(await all.blob());
    } catch {
      return 'The export broke off, and nothing of it was saved. Try again.';
    }
    const batch = number(Number(all.headers.get('Millrace-Batch')));
    return prefix === '' ? `Exported all words, as of batch ${batch}` : `Exported all words that begin with “${prefix}”, as of batch ${batch}`;
  }

  #exportFound() {
    const found = this.#found();
    const lines = found.map((entry) => `${field(entry.word)},${field(String(entry.text))}\r\n`);
    this.#save(new Blob(['key,value\r\n', ...lines], { type: 'text/csv;charset=utf-8' }));
    if (this.#last.whole) return `Exported ${number(found.length)} words`;
    return byId('search').value === '' ? `Exported the highest ${number(found.length)} words, not all`
      : `Exported what was found among the highest words, not among all: ${number(found.length)}`;
  }

  #save(blob) {
    save(blob, `${this.#job || 'words'}.csv`);
  }
}
