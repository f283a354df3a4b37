// Rows of a table whose items come anew each second: what stays is touched only where it differs, so that the focus and
// what was selected stay, too.

import { element, setText } from './text.js';

export class Rows {
  #rows = new Map();

  // `columns`: { text: (item) => string } or { node: (cell, item, fresh) => fills the cell }, and class; the first one
  // is the row's name.
  constructor(body, keyOf, columns) {
    this.body = body;
    this.keyOf = keyOf;
    this.columns = columns;
  }

  show(items) {
    const gone = new Set(this.#rows.keys());
    for (const item of items) {
      const key = String(this.keyOf(item));
      gone.delete(key);
      const fresh = !this.#rows.has(key);
      if (fresh) this.#rows.set(key, this.#add());
      const row = this.#rows.get(key);
      this.columns.forEach(({ text, node }, index) => {
        const cell = row.cells[index];
        if (text) setText(cell, String(text(item)));
        else node(cell, item, fresh);
      });
    }
    for (const key of gone) {
      this.#rows.get(key).remove();
      this.#rows.delete(key);
    }
    const order = items.map((item) => this.#rows.get(String(this.keyOf(item))));
    if (order.some((row, index) => this.body.rows[index] !== row)) this.body.append(...order);
  }

  #add() {
    const row = element('tr', {}, ...this.columns.map((column, index) =>
      element(index === 0 ? 'th' : 'td', { class: column.class, scope: index === 0 ? 'row' : null })));
    this.body.append(row);
    return row;
  }
}

// A table with a head, in `root`: columns as above, each with a name. Told when there is nothing.
export class Table {
  constructor(root, label, empty, keyOf, columns) {
    this.empty = element('p', { class: 'empty' }, empty);
    const body = element('tbody');
    this.frame = element('div', { class: 'scroll', role: 'region', 'aria-label': label, tabindex: '0' },
      element('table', {}, element('thead', {}, element('tr', {}, ...columns.map(({ name, class: kind }) =>
        element('th', { scope: 'col', class: kind }, name)))), body));
    this.rows = new Rows(body, keyOf, columns);
    root.append(this.frame, this.empty);
    this.show([]);
  }

  show(items) {
    this.frame.hidden = items.length === 0;
    this.empty.hidden = items.length > 0;
    this.rows.show(items);
  }
}
