// Numbers, times and words as people read them, and elements.

const whole = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat('en', { style: 'percent', maximumFractionDigits: 1 });

export const number = (value) => whole.format(value);
export const brief = (value) => (Math.abs(value) < 10_000 ? whole.format(Math.round(value * 10) / 10) : short.format(value));
export const share = (part) => percent.format(Number.isFinite(part) ? part : 0);

export function duration(ms) {
  if (ms === null || !Number.isFinite(ms)) return '–';
  if (Math.abs(ms) < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`;
  return `${Math.round(ms / 3_600_000)} h`;
}

export function bytes(value) {
  for (const unit of ['B', 'kB', 'MB', 'GB']) {
    if (value < 1000) return `${value < 10 && unit !== 'B' ? value.toFixed(1) : Math.round(value)} ${unit}`;
    value /= 1000;
  }
  return `${value.toFixed(1)} TB`;
}

// A word of nothing that can be seen is shown by its code points.
export function visible(word) {
  if (/[^\p{Cc}\p{Cf}\p{Zs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]/u.test(word)) return word;
  const points = [...word].slice(0, 6).map((sign) => `U+${sign.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}`);
  return `${points.join(' ')}${[...word].length > 6 ? ' …' : ''}`;
}

// element('td', { class: 'count', title: '...' }, 'text', child, ...). What is null is left out. Text is never markup.
export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// A word as it is to be shown: its own direction, cut where it is too long.
export function wordElement(word) {
  const shown = visible(word);
  return element('bdi', { class: shown === word ? 'word' : 'word points', title: shown.length > 24 ? shown.slice(0, 400) : null }, shown);
}

// Only what is different is touched, so that readers of the screen and selections are left alone.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export const byId = (id) => document.getElementById(id);
