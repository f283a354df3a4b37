// Rows of a table whose items come anew each second: what stays is touched only where it differs, so that the focus and
// what was selected stay, too.

import { element, setText } from './text.js';

export class Rows {
  #rows = new Map();

  // `keyOf`: (item, index), of which an item has the same row again. `columns`: { text: (item) => string } or
  // { node: (cell, item, fresh) => fills the cell }, and class; one that is `head` is the row's name, else the first one.
  // `mark`: (row, item), which may be left out.
  constructor(body, keyOf, columns, mark = null) {
    this.body = body;
    this.keyOf = keyOf;
    this.columns = columns;
    this.head = Math.max(0, columns.findIndex((column) => column.head));
    this.mark = mark;
  }

  show(items) {
    const gone = new Set(this.#rows.keys());
    const order = items.map((item, place) => {
      const key = String(this.keyOf(item, place));
      gone.delete(key);
      const fresh = !this.#rows.has(key);
      if (fresh) this.#rows.set(key, this.#add());
      const row = this.#rows.get(key);
      this.columns.forEach(({ text, node }, index) => {
        const cell = row.cells[index];
        if (text) setText(cell, String(text(item)));
        else node(cell, item, fresh);
      });
      this.mark?.(row, item);
      return row;
    });
    for (const key of gone) {
      this.#rows.get(key).remove();
      this.#rows.delete(key);
    }
    if (order.some((row, index) => this.body.rows[index] !== row)) this.body.append(...order);
  }

  #add() {
    const row = element('tr', {}, ...this.columns.map((column, index) =>
      element(index === this.head ? 'th' : 'td', { class: column.class, scope: index === this.head ? 'row' : null })));
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
