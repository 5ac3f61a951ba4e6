// The form of a query: rows of properties with what known crystals have, the periodic table, estimate and start.
'use strict';
const form = document.getElementById('query');
const rows = document.getElementById('targets');
const kept = new Map();

function known(name) {
  if (!kept.has(name)) kept.set(name, fetch('/distribution/' + encodeURIComponent(name)).then(answer => answer.json()));
  return kept.get(name);
}

function position(about, value) {  // of a value on the axis, 0 to 1
  const at = x => about.log ? Math.log10(x) : x;
  return about.log && value <= 0 ? 0 : Math.min(1, Math.max(0, (at(value) - at(about.low)) / (at(about.high) - at(about.low))));
}

function valueAt(about, share) {
  const value = about.log ? about.low * (about.high / about.low) ** share : about.low + (about.high - about.low) * share;
  return String(Number(value.toPrecision(3)));
}

function shareBelow(about, value) {
  const above = about.quantiles.findIndex(q => q > value);
  return above < 0 ? 100 : Math.max(0, above - 1);
}

function wire(row) {
  const [property, operator, value, to] = ['property', 'operator', 'value', 'to'].map(n => row.querySelector(`[name=target_${n}]`));
  const slide = row.querySelector('.slide'), slider = slide.querySelector('input'), words = row.querySelector('.words'), outside = row.querySelector('.outside');
  let about = null;

  function draw() {
    const extreme = operator.value === 'highest' || operator.value === 'lowest';
    value.hidden = extreme;
    row.querySelector('.to').hidden = operator.value !== 'range';
    slide.hidden = extreme || !about?.path;
    if (!about) return;
    const number = Number(value.value), told = value.value.trim() !== '' && !Number.isNaN(number);
    let text = about.words;
    if (told && about.path && !extreme) {
      const at = position(about, number), below = shareBelow(about, number);
      slider.value = Math.round(1000 * at);
      outside.setAttribute('x', operator.value === 'max' ? 480 * at : 0);
      outside.setAttribute('width', operator.value === 'max' ? 480 * (1 - at) : 480 * at);
      outside.style.visibility = operator.value === 'min' || operator.value === 'max' ? 'visible' : 'hidden';
      if (operator.value === 'min') text += below >= 100 ? ' None of these reaches this value.' : ` About ${100 - below} % reach this value.`;
      if (operator.value === 'max') text += below <= 0 ? ' Hardly any is below this value.' : ` About ${below} % are below this value.`;
    } else outside.setAttribute('width', 0);
    words.textContent = text;
    slider.setAttribute('aria-valuetext', value.value || 'not set');
  }

  async function choose() {
    const option = property.selectedOptions[0], wanted = property.value;
    row.querySelector('.unit').textContent = option.dataset.unit;
    row.querySelector('legend').textContent = option.textContent;
    slider.setAttribute('aria-label', option.textContent + ', slider');
    words.textContent = option.dataset.about;
    about = null;
    draw();
    const found = await known(wanted);
    if (property.value !== wanted) return;
    about = found;
    row.querySelector('.known').setAttribute('d', found.path ?? '');
    draw();
  }

  property.addEventListener('change', choose);
  operator.addEventListener('change', draw);
  value.addEventListener('input', draw);
  slider.addEventListener('input', () => { if (about) { value.value = valueAt(about, slider.value / 1000); draw(); } });
  row.querySelector('.remove').addEventListener('click', () => { row.remove(); document.getElementById('add').focus(); });
  choose();
}

function add(property) {
  const row = document.getElementById('target').content.firstElementChild.cloneNode(true);
  rows.append(row);
  if (property) row.querySelector('[name=target_property]').value = property;
  wire(row);
  return row;
}

document.getElementById('add').addEventListener('click', () => {
  const used = new Set([...rows.querySelectorAll('[name=target_property]')].map(s => s.value));
  const next = [...document.getElementById('target').content.querySelectorAll('[name=target_property] option')].find(o => !used.has(o.value));
  add(next?.value).querySelector('select').focus();
});

const component = document.getElementById('component');
component.addEventListener('change', () => { document.getElementById('component-about').textContent = component.selectedOptions[0].dataset.about ?? ''; });

const lists = ['exclude', 'elements', 'required'];
const saying = { exclude: 'excluded', elements: 'allowed', required: 'required' };
const listOf = name => document.getElementById(name).value.split(/[,;\s]+/).filter(Boolean);

function drawElements() {
  const named = new Map(lists.map(name => [name, new Set(listOf(name))]));
  document.querySelectorAll('.element').forEach(cell => {
    const state = lists.find(name => named.get(name).has(cell.dataset.symbol));
    cell.setAttribute('aria-pressed', String(Boolean(state)));
    cell.setAttribute('aria-label', cell.dataset.name + (state ? ', ' + saying[state] : ''));
    if (state) cell.dataset.state = state; else delete cell.dataset.state;
  });
  document.querySelectorAll('.class').forEach(button => button.setAttribute('aria-pressed', String(named.get('exclude').has(button.dataset.class))));
}

function put(name, word, on) {
  const words = listOf(name).filter(w => w !== word);
  document.getElementById(name).value = (on ? [...words, word] : words).join(', ');
}

document.querySelectorAll('.element').forEach(cell => cell.addEventListener('click', () => {
  const mode = form.querySelector('[name=mode]:checked').value, on = cell.dataset.state !== mode;
  lists.forEach(name => put(name, cell.dataset.symbol, name === mode && on));
  drawElements();
}));
document.querySelectorAll('.class').forEach(button => button.addEventListener('click', () => {
  put('exclude', button.dataset.class, button.getAttribute('aria-pressed') !== 'true');
  drawElements();
}));
lists.forEach(name => document.getElementById(name).addEventListener('input', drawElements));

function say(box, lines, kind = '') {
  document.getElementById(box).replaceChildren(...lines.map(line => {
    const p = document.createElement('p');
    p.textContent = line;
    p.className = kind;
    return p;
  }));
}

async function send(address, busy) {
  say('problem', []);
  say('answer', [busy]);
  form.querySelectorAll('.actions button').forEach(b => { b.disabled = true; });
  let found;
  try {
    const answer = await fetch(address, { method: 'POST', body: new FormData(form), headers: { accept: 'application/json' } });
    found = await answer.json();
  } catch {
    found = { error: 'the app does not answer; see whether it still runs in the terminal' };
  }
  form.querySelectorAll('.actions button').forEach(b => { b.disabled = false; });
  say('answer', []);
  if (found.error) say('problem', [found.error]);
  return found;
}

document.getElementById('estimate').addEventListener('click', async () => {
  const found = await send('/estimate', 'Estimating …');
  if (found.lines) say('answer', found.lines);
});
form.addEventListener('submit', async event => {
  event.preventDefault();
  const found = await send('/runs', 'Checking and starting …');
  if (found.location) location.assign(found.location);
});
add('bulk_modulus');
drawElements();
