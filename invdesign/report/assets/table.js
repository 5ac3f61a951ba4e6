// Rows: sorting, filtering, opening a candidate's page; what other scripts share.
const clean = value => typeof value === 'string' ? value.replace(/[<>&]/g, '') : value;  // charts read markup in their labels
const DATA = JSON.parse(document.getElementById('data').textContent, (_, value) => clean(value));
const byKey = new Map(DATA.candidates.map(c => [c.key, c]));
const table = document.getElementById('candidates');
const bodies = table ? [...table.tBodies] : [];
const rowOf = key => bodies.find(b => b.dataset.key === key);
const watchers = { open: [], filter: [], light: [] };
const hiddenKeys = new Set();
const narrow = () => window.innerWidth < 700;
const colour = name => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();

function library(id) {
  if (library[id]) return;
  const script = document.createElement('script');
  script.textContent = document.getElementById(id).textContent;
  document.head.append(script);
  library[id] = true;
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function cellValue(body, column) {
  const text = body.rows[0].cells[column].dataset.value ?? '';
  return text === '' ? null : isNaN(text) ? text : Number(text);
}

function sortBy(head, column) {
  const was = head.getAttribute('aria-sort');
  const number = head.classList.contains('number') || head.classList.contains('score');
  const up = was === 'none' ? !number : was === 'descending';
  head.parentElement.querySelectorAll('th').forEach(h => h.setAttribute('aria-sort', 'none'));
  head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  bodies.sort((a, b) => {
    const x = cellValue(a, column), y = cellValue(b, column);
    if (x === y) return 0;
    if (x === null) return 1;
    if (y === null) return -1;
    return (x < y) === up ? -1 : 1;
  });
  table.append(...bodies);
}

function isOpen(key) {
  return !rowOf(key).rows[1].hidden;
}

function unfold(body) {
  const text = body.querySelector('script.folded');
  if (!text) return;
  text.insertAdjacentHTML('beforebegin', text.textContent);
  text.remove();
}

function toggle(key, open = !isOpen(key)) {
  const body = rowOf(key);
  if (open) unfold(body);
  body.rows[1].hidden = !open;
  body.classList.toggle('opened', open);
  body.querySelector('.open').setAttribute('aria-expanded', String(open));
  if (open) watchers.open.forEach(tell => tell(key));
}

function show(key) {
  const body = rowOf(key);
  if (body.hidden) clearFilters();
  toggle(key, true);
  body.scrollIntoView({ block: 'start', behavior: 'smooth' });
  body.querySelector('.open').focus({ preventScroll: true });
  history.replaceState(null, '', '#' + key);
}

function light(key, on) {
  const body = key && rowOf(key);
  if (body) body.classList.toggle('lit', on);
  watchers.light.forEach(tell => tell(on ? key : null));
}

const bounds = new Map();

function passes(body) {
  const candidate = byKey.get(body.dataset.key);
  const words = document.getElementById('find')?.value.trim().split(/\s+/).filter(Boolean) ?? [];
  const elements = (candidate?.formula.match(/[A-Z][a-z]?/g)) ?? [];
  const found = words.every(w => /^[A-Z][a-z]?$/.test(w) ? elements.includes(w) || body.dataset.words.includes(w.toLowerCase() + ' ')
    : body.dataset.words.includes(w.toLowerCase()));
  if (!found) return false;
  if (!candidate) return document.getElementById('known')?.checked ?? true;
  const want = name => document.querySelector(`[data-filter="${name}"]`)?.checked;
  if (want('target') && body.dataset.target === '0') return false;
  if (want('front') && body.dataset.front === '0') return false;
  if (want('near') && body.dataset.far === '1') return false;
  const family = document.getElementById('family')?.value;
  if (family && body.dataset.family !== family) return false;
  return [...bounds].every(([column, [low, high]]) => {
    const value = cellValue(body, column);
    return (low === null && high === null) || (value !== null && (low === null || value >= low) && (high === null || value <= high));
  });
}

function filter() {
  let shown = 0;
  hiddenKeys.clear();
  for (const body of bodies) {
    body.hidden = !passes(body);
    if (!body.dataset.key) continue;
    if (body.hidden) hiddenKeys.add(body.dataset.key); else shown += 1;
  }
  document.getElementById('count').textContent = `${shown} of ${DATA.candidates.length} shown`;
  document.getElementById('clear').hidden = !hiddenKeys.size;
  watchers.filter.forEach(tell => tell());
}

function clearFilters() {
  document.querySelectorAll('.toolbar input').forEach(input => {
    if (input.type === 'checkbox') input.checked = input.id === 'known';
    else input.value = '';
  });
  const family = document.getElementById('family');
  if (family) family.value = '';
  bounds.clear();
  filter();
}

function boundInputs() {
  const box = document.getElementById('bounds');
  table.tHead.querySelectorAll('th').forEach((head, column) => {
    if (!head.classList.contains('number')) return;
    const button = head.querySelector('button');
    const name = button.textContent.trim();
    const inputs = ['at least', 'at most'].map((words, side) => {
      const input = element('input', { type: 'number', step: 'any', 'aria-label': `${name} ${words}`, placeholder: side ? 'max' : 'min' });
      input.addEventListener('input', () => {
        const pair = bounds.get(column) ?? [null, null];
        pair[side] = input.value === '' ? null : Number(input.value);
        bounds.set(column, pair);
        filter();
      });
      return input;
    });
    const label = element('span', { class: 'bound-name', title: button.title });
    label.innerHTML = button.innerHTML;
    box.append(element('div', {}, label, inputs[0], '–', inputs[1]));
  });
}

function wireTable() {
  table.tHead.querySelectorAll('th').forEach((head, column) => {
    head.querySelector('button').addEventListener('click', () => sortBy(head, column));
  });
  for (const body of bodies) {
    const key = body.dataset.key;
    if (!key) continue;
    body.rows[0].addEventListener('click', event => {
      if (!event.target.closest('a')) toggle(key);
    });
    body.addEventListener('mouseenter', () => light(key, true));
    body.addEventListener('mouseleave', () => light(key, false));
  }
  document.querySelectorAll('.toolbar input:not([type=number]), #family').forEach(input => input.addEventListener('input', filter));
  document.getElementById('clear').addEventListener('click', clearFilters);
  document.getElementById('all-open').addEventListener('click', () => DATA.candidates.forEach(c => { if (!hiddenKeys.has(c.key)) toggle(c.key, true); }));
  document.getElementById('all-closed').addEventListener('click', () => DATA.candidates.forEach(c => toggle(c.key, false)));
  boundInputs();
  filter();
}
