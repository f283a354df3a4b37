// The API as /openapi.json describes it, with a form to try each of its operations.

import { headers, key } from './api.js';
import { showTheme } from './theme.js';
import { byId, duration, element, setText } from './text.js';

const kMostShown = 20_000; // signs of an answer
const kMostRead = 200_000;
const kReadMs = 5000; // of an answer without an end

const resolved = (document, part) => (part.$ref ? part.$ref.slice(2).split('/').reduce((place, name) => place[name], document) : part);

function parameterField(operation, parameter) {
  const id = `${operation.operationId}-${parameter.name}`;
  const { schema } = parameter;
  const input = schema.type === 'boolean'
    ? element('select', { id }, element('option', { value: '' }, ''), element('option', {}, 'true'), element('option', {}, 'false'))
    : element('input', { id, type: 'text', inputmode: schema.type === 'integer' ? 'numeric' : null, required: parameter.required,
      placeholder: schema.default ?? null, value: parameter.example ?? null, autocomplete: 'off', spellcheck: 'false' });
  const row = element('div', { class: 'field' }, element('label', { for: id }, element('code', {}, parameter.name), parameter.required ? ' (needed)' : ''),
    input, element('span', { class: 'said' }, parameter.description ?? ''));
  return { parameter, input, row };
}

function bodyField(operation) {
  const kinds = Object.entries(operation.requestBody.content);
  const id = `${operation.operationId}-body`;
  const text = (example) => (typeof example === 'string' ? example : JSON.stringify(example, null, 1));
  const kind = element('select', { id: `${id}-kind`, 'aria-label': 'Content-Type' }, ...kinds.map(([name]) => element('option', {}, name)));
  const input = element('textarea', { id, rows: '5', spellcheck: 'false' });
  input.value = text(kinds[0][1].example);
  kind.addEventListener('change', () => {
    input.value = text(kinds[kind.selectedIndex][1].example);
  });
  return { kind, input, row: element('div', { class: 'field' }, element('label', { for: id }, 'Body'), kind, input) };
}

// The request that a form asks for.
function requestOf(method, path, fields, body) {
  let target = path;
  const query = new URLSearchParams();
  const more = {};
  for (const { parameter, input } of fields) {
    const value = input.value;
    if (parameter.in === 'path') target = target.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (value === '') continue;
    else if (parameter.in === 'query') query.set(parameter.name, value);
    else more[parameter.name] = value;
  }
  if (body) more['Content-Type'] = body.kind.value;
  const asked = query.size > 0 ? `${target}?${query}` : target;
  return { target: asked, options: { method: method.toUpperCase(), headers: headers(more), body: body?.input.value, cache: 'no-store' } };
}

// What comes, but of what never ends only what comes for a while.
async function readSome(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const timer = setTimeout(() => reader.cancel(), kReadMs);
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    text += value;
    if (text.length > kMostRead) await reader.cancel();
  }
  clearTimeout(timer);
  return text;
}

function pretty(type, text) {
  let shown = text;
  if (type.includes('json')) {
    try {
      shown = JSON.stringify(JSON.parse(text), null, 2);
    } catch { /* it was cut, or is none */ }
  }
  return shown.length > kMostShown ? `${shown.slice(0, kMostShown)}\n… and ${shown.length - kMostShown} signs more` : shown;
}

function form(method, path, operation, description) {
  const fields = (operation.parameters ?? []).map((part) => parameterField(operation, resolved(description, part)));
  const body = operation.requestBody ? bodyField(operation) : null;
  const status = element('p', { class: 'said', role: 'status' });
  const shown = element('pre', { tabindex: '0', role: 'region', 'aria-label': `Answer of ${operation.operationId}`, hidden: true });
  const made = element('form', {}, ...fields.map((field) => field.row), body?.row,
    element('div', { class: 'row' }, element('button', { type: 'submit', class: 'main' }, 'Try it')), status, shown);
  made.addEventListener('submit', async (event) => {
    event.preventDefault();
    const { target, options } = requestOf(method, path, fields, body);
    setText(status, `${options.method} ${target} …`);
    const begin = performance.now();
    try {
      const answer = await fetch(target, options);
      const text = await readSome(answer);
      shown.textContent = pretty(answer.headers.get('Content-Type') ?? '', text);
      shown.hidden = false;
      setText(status, `${options.method} ${target}: ${answer.status} after ${duration(performance.now() - begin)}`);
    } catch (problem) {
      setText(status, `${options.method} ${target}: ${problem.message}`);
    }
  });
  return made;
}

function operationElement(method, path, operation, description) {
  const answers = Object.entries(operation.responses).map(([status, response]) =>
    element('li', {}, element('code', {}, status), ' ', resolved(description, response).description));
  const details = element('details', { class: 'card operation' },
    element('summary', {}, element('b', { class: `method ${method}` }, method.toUpperCase()), ' ', element('code', {}, path), ' ',
      element('span', { class: 'said' }, operation.summary)),
    element('p', {}, operation.description ?? ''), element('ul', { class: 'answers', 'aria-label': 'Answers' }, ...answers));
  details.addEventListener('toggle', () => details.append(form(method, path, operation, description)), { once: true });
  return details;
}

async function show() {
  const description = await (await fetch('/openapi.json')).json();
  setText(byId('title'), `${description.info.title} ${description.info.version}`);
  setText(byId('about'), description.info.description);
  const all = Object.entries(description.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })));
  for (const tag of description.tags) {
    byId('operations').append(element('h2', {}, tag.name), element('p', { class: 'said' }, tag.description),
      ...all.filter(({ operation }) => operation.tags.includes(tag.name))
        .map(({ method, path, operation }) => operationElement(method, path, operation, description)));
  }
}

showTheme();
byId('key').value = key.get();
byId('key').addEventListener('change', (event) => key.set(event.target.value.trim()));
show().catch((problem) => setText(byId('about'), `The description cannot be read: ${problem.message}`));
