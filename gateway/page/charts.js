// Bars and a ring of the highest words. Both are pictures to readers of the screen: the table has the same numbers.

import { brief, element, number, setText, share, svg, wordElement } from './text.js';

const kRow = 34; // px, as .bars .bar in style.css

export class Bars {
  #rows = new Map(); // word -> { row, fill, count, rise }

  constructor(root) {
    this.root = root;
  }

  // `entries`: the highest first; `rose`: those of them that did.
  show(entries, rose) {
    const most = entries[0]?.count ?? 1;
    this.root.style.height = `${entries.length * kRow}px`;
    const gone = new Set(this.#rows.keys());
    entries.forEach((entry, place) => {
      gone.delete(entry.word);
      const bar = this.#rows.get(entry.word) ?? this.#add(entry.word, place);
      bar.row.style.transform = `translateY(${place * kRow}px)`;
      bar.fill.style.transform = `scaleX(${Math.max(0.004, entry.count / (most || 1))})`;
      bar.row.classList.toggle('rose', rose.has(entry.word));
      setText(bar.count, number(entry.count));
      setText(bar.rise, rose.has(entry.word) ? '▲' : '');
    });
    for (const word of gone) {
      this.#rows.get(word).row.remove();
      this.#rows.delete(word);
    }
    const told = entries.slice(0, 5).map((entry) => `${entry.word.slice(0, 40)} ${number(entry.count)}`);
    this.root.setAttribute('aria-label', `Bar chart of the ${entries.length} highest words: ${told.join(', ')}`);
  }

  #add(word, place) {
    const fill = element('span', { class: 'fill' });
    const count = element('span', { class: 'count' });
    const rise = element('span', { class: 'rise' });
    const row = element('div', { class: 'bar' }, element('span', { class: 'label' }, wordElement(word)),
      element('span', { class: 'track' }, fill), count, rise);
    row.style.transform = `translateY(${place * kRow}px)`;
    this.root.append(row);
    const bar = { row, fill, count, rise };
    this.#rows.set(word, bar);
    return bar;
  }
}

const kParts = 7; // and the rest

export class Ring {
  #parts = [];

  constructor(root, legend) {
    this.root = root;
    this.legend = legend;
    root.append(svg('circle', { class: 'hole', cx: 21, cy: 21, r: 15.9155 }));
    for (let part = 0; part <= kParts; ++part) {
      const arc = svg('circle', { class: `part part-${part}`, cx: 21, cy: 21, r: 15.9155, pathLength: 100 });
      const name = element('span', { class: 'name' });
      const value = element('span', { class: 'value' });
      const row = element('li', { class: `part-${part}` }, element('i', { 'aria-hidden': 'true' }), name, value);
      root.append(arc);
      legend.append(row);
      this.#parts.push({ arc, row, name, value, word: null });
    }
    this.middle = svg('text', { class: 'middle', x: 21, y: 21 });
    root.append(this.middle);
  }

  // `total`: of all words.
  show(entries, total) {
    const shown = entries.slice(0, kParts);
    const rest = Math.max(0, total - shown.reduce((sum, entry) => sum + entry.count, 0));
    const all = shown.reduce((sum, entry) => sum + entry.count, rest) || 1;
    let begin = 0;
    this.#parts.forEach((part, index) => {
      const entry = index < kParts ? shown[index] : { word: null, count: rest };
      const size = entry ? (100 * entry.count) / all : 0;
      part.arc.style.strokeDasharray = `${Math.max(0, size - 0.4)} ${100 - Math.max(0, size - 0.4)}`;
      part.arc.style.strokeDashoffset = String(25 - begin);
      begin += size;
      part.row.hidden = size === 0;
      const word = entry?.word ?? null;
      if (part.word !== word || !part.name.hasChildNodes()) {
        part.word = word;
        part.name.replaceChildren(word === null ? 'all others' : wordElement(word));
      }
      setText(part.value, share((entry?.count ?? 0) / all));
    });
    setText(this.middle, total > 0 ? brief(total) : '');
    const told = shown.slice(0, 5).map((entry) => `${entry.word.slice(0, 40)} ${share(entry.count / all)}`);
    this.root.setAttribute('aria-label', `Pie chart: ${told.join(', ')}, all others ${share(rest / all)}`);
  }
}
