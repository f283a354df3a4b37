// What both views share: which job, which view, the theme, the key, and what the cluster says of itself.

import { Problem, get, health, jobPath, key, lifeOf } from './api.js';
import { Console } from './console.js';
import { Dashboard } from './dashboard.js';
import { byId, element, setText } from './text.js';
import { nextTheme, showTheme, theme } from './theme.js';

const kEveryMs = 1000;

// What was told last. Views read it, and are told of news by news().
const cluster = { jobs: [], workers: [], access: { role: null, key: null }, health: null, problem: null };
const dashboard = new Dashboard(cluster);
const operators = new Console(cluster, () => look());
let job = '';
let jobChosen = false; // by whoever looks, not by default
const rankless = new Set(); // lives of jobs without a rank: nothing to show on the dashboard

// --- theme -----------------------------------------------------------------------------------------------------------

function tellTheme() {
  setText(byId('theme'), `Theme: ${theme()}`);
}

byId('theme').addEventListener('click', () => {
  nextTheme();
  tellTheme();
});
showTheme();
tellTheme();

// --- views -----------------------------------------------------------------------------------------------------------

function showView() {
  const console = location.hash.startsWith('#/console');
  byId('dashboard').hidden = console;
  byId('console').hidden = !console;
  for (const [link, shown] of [['to-dashboard', !console], ['to-console', console]]) {
    if (shown) byId(link).setAttribute('aria-current', 'page');
    else byId(link).removeAttribute('aria-current');
  }
  document.title = console ? 'Console · Millrace' : 'Millrace';
  operators.show(console);
}

window.addEventListener('hashchange', () => {
  showView();
  byId('main').focus({ preventScroll: true });
});

// --- the key ---------------------------------------------------------------------------------------------------------

const dialog = byId('key-dialog');
byId('key-open').addEventListener('click', () => {
  byId('key').value = key.get();
  dialog.showModal();
});
dialog.addEventListener('close', () => {
  if (dialog.returnValue !== 'use' && dialog.returnValue !== 'forget') return;
  key.set(dialog.returnValue === 'use' ? byId('key').value.trim() : '');
  byId('key').value = '';
  look();
  dashboard.restart();
});

// --- the cluster -----------------------------------------------------------------------------------------------------

// The first running job whose rank holds something, else the first with a rank, else the first.
async function usualJob() {
  let empty = '';
  for (const each of cluster.jobs.filter((one) => one.state === 'running' && !rankless.has(lifeOf(one)))) {
    const { name } = each;
    try {
      const rank = await get(`${jobPath(name)}/top?n=1`);
      if (rank.values.length > 0) return name;
      empty ||= name;
    } catch (problem) {
      if (problem instanceof Problem && problem.status === 400) rankless.add(lifeOf(each));
      else if (problem.status !== 404) empty ||= name; // not now
    }
  }
  return empty || cluster.jobs[0]?.name || '';
}

function choose(name) {
  if (job === name) return;
  job = name;
  dashboard.choose(name);
  operators.choose(name);
}

byId('job').addEventListener('change', (event) => {
  jobChosen = true;
  history.replaceState(null, '', `${location.hash.split('?')[0] || '#/'}?job=${encodeURIComponent(event.target.value)}`);
  choose(event.target.value);
});

async function showJobs() {
  const names = cluster.jobs.map((each) => each.name);
  const chosen = cluster.jobs.find((each) => each.name === job);
  if (!jobChosen && (!chosen || rankless.has(lifeOf(chosen)))) choose(await usualJob());
  if (!names.includes(job) && job !== '') names.push(job); // it may come back
  const list = byId('job');
  if ([...list.options].map((option) => option.value).join('\n') !== names.join('\n')) {
    list.replaceChildren(...names.map((name) => element('option', { value: name }, name)));
  }
  list.disabled = names.length === 0;
  list.value = job;
}

let looking = null;
let timer = 0;

// One look at a time; whoever asks meanwhile gets the one under way.
function look() {
  looking ??= lookOnce().finally(() => {
    looking = null;
    clearTimeout(timer);
    timer = setTimeout(look, document.hidden ? 10 * kEveryMs : kEveryMs);
  });
  return looking;
}

async function lookOnce() {
  const [jobs, workers, access, parts] = await Promise.allSettled([
    get('/api/v1/jobs'), get('/api/v1/workers'), get('/api/v1/access'), health()]);
  cluster.problem = jobs.status === 'rejected' ? jobs.reason : null;
  if (jobs.status === 'fulfilled') cluster.jobs = jobs.value.jobs;
  cluster.workers = workers.status === 'fulfilled' ? workers.value.workers : [];
  if (access.status === 'fulfilled') cluster.access = access.value;
  cluster.health = parts.status === 'fulfilled' ? parts.value : null;
  byId('key-open').classList.toggle('wanted', cluster.access.role === null);
  await showJobs();
  dashboard.news();
  operators.news();
}

document.addEventListener('visibilitychange', () => {
  // A stream is a connection, of which a browser has six to a host, for all of its tabs.
  if (document.hidden) {
    dashboard.rest();
  } else {
    look();
    dashboard.restart();
  }
});
// An address may name a job: #/console?job=words
const named = new URLSearchParams(location.hash.split('?')[1]).get('job');
jobChosen = named !== null;
if (jobChosen) choose(named);
showView();
look();
