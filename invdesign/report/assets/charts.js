// Ashby charts: candidates with their errors over known materials, known crystals and guide lines.
const KINDS = {
  metals: '#4e79a7', ceramics: '#c9a227', 'cemented carbides': '#7a6f9b', glasses: '#3f9c9c', polymers: '#b5694f', composites: '#6a9c4b', stone: '#8c8577', others: '#8c8577',
};
const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ['select2d', 'lasso2d', 'autoScale2d', 'zoomIn2d', 'zoomOut2d'], toImageButtonOptions: { format: 'svg' } };
const drawn = new Map();
const touch = matchMedia('(pointer: coarse)');

function layoutOf(more) {
  const ink = colour('ink'), line = colour('line');
  const axis = { gridcolor: line, zeroline: false, linecolor: colour('quiet'), mirror: true, ticks: 'outside', ticklen: 4, tickcolor: colour('quiet'), title: { standoff: 10 } };
  return {
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', showlegend: false, hovermode: 'closest', dragmode: touch.matches ? false : 'zoom',
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: ink },
    hoverlabel: { align: 'left', bgcolor: colour('panel'), bordercolor: colour('quiet'), font: { color: ink } },
    margin: { l: 64, r: 14, t: 14, b: 56 }, ...more, xaxis: { ...axis, ...more.xaxis }, yaxis: { ...axis, ...more.yaxis },
  };
}

function plot(id, traces, layout, config = CONFIG) {
  library('plotly-basic');
  const box = document.getElementById(id);
  const first = !box.classList.contains('js-plotly-plot');
  Plotly.react(box, traces, layoutOf(layout), config);
  if (first) {
    const key = event => event.points?.[0]?.customdata;
    box.on('plotly_click', event => { if (byKey.has(key(event))) show(key(event)); });
    box.on('plotly_hover', event => { if (byKey.has(key(event))) light(key(event), true); });
    box.on('plotly_unhover', event => { if (byKey.has(key(event))) light(key(event), false); });
  }
}

function candidatesWith(names) {
  return DATA.candidates.filter(c => !hiddenKeys.has(c.key) && names.every(n => n in c.values));
}

function hoverText(c, names) {
  const values = names.map(n => `${marked(DATA.axes[n].symbol)} ${c.texts[n]}`);
  return `<b>${c.rank}. ${subscripts(c.formula)}</b><br>${values.join('<br>')}`;
}

function subscripts(formula) {
  return formula.replace(/(\d+(?:\.\d+)?)/g, '<sub>$1</sub>');
}

function roomFor(list, x, y, unit) {
  const taken = list.map((_, k) => [x[k] / unit[0], y[k] / unit[1]]), boxes = [];
  return list.map((c, k) => {
    const [u, v] = [taken[k][0] + 11, taken[k][1] + 10];
    const free = !taken.some(([a, b], j) => j !== k && Math.abs(a - u) < 11 && Math.abs(b - v) < 10) && !boxes.some(([a, b]) => Math.abs(a - u) < 15 && Math.abs(b - v) < 12);
    if (free) boxes.push([u, v]);
    return free ? String(c.rank) : '';
  });
}

function candidateTrace(list, x, y, text, labels) {
  const front = colour('front'), other = colour('accent');
  const shade = c => c.front ? front : other;
  return {
    type: 'scatter', mode: 'markers+text', x, y, customdata: list.map(c => c.key), hovertext: text, hoverinfo: 'text',
    text: labels, textposition: 'top right', textfont: { size: 11 }, cliponaxis: false,
    marker: {
      size: 10, color: list.map(c => c.far ? colour('paper') : shade(c)), line: { width: list.map(c => c.far ? 2 : 1), color: list.map(c => c.far ? shade(c) : colour('paper')) },
    },
  };
}

function errorBars(list, name) {
  const of = k => list.map(c => Math.abs(c.values[name][k] - c.values[name][1]));
  return { type: 'data', symmetric: false, array: of(2), arrayminus: of(0), thickness: 1, width: 0, color: colour('bar') };
}

function positive(axis, values) {
  return axis.log ? values.filter(v => v > 0) : values;
}

function rangeOf(name, list, wide) {
  const axis = DATA.axes[name];
  const own = list.flatMap(c => [c.values[name][0], c.values[name][2]]);
  const bound = (DATA.targets[name] ?? []).filter(v => v !== null);
  const known = wide ? DATA.materials.filter(m => name in m.values).flatMap(m => [m.values[name][0], m.values[name][2]]) : [];
  const scaled = positive(axis, [...own, ...bound, ...known]).map(v => axis.log ? Math.log10(v) : v);
  let low = Math.min(...scaled), high = Math.max(...scaled);
  const least = axis.log ? 0.4 : 0.1 * Math.max(Math.abs(low), Math.abs(high), 0.1);
  const margin = Math.max(0.07 * (high - low), (least - (high - low)) / 2, 0.01);
  return [low - margin, high + margin];
}

function hull(points) {
  points.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const turn = (o, a, b) => (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0]);
  const half = list => list.reduce((kept, p) => {
    while (kept.length > 1 && turn(kept.at(-2), kept.at(-1), p) <= 0) kept.pop();
    kept.push(p);
    return kept;
  }, []);
  return [...half(points).slice(0, -1), ...half([...points].reverse())];
}

function bubbles(x, y, unit, wide) {
  const scale = name => DATA.axes[name].log ? Math.log10 : v => v;
  const back = name => DATA.axes[name].log ? v => 10 ** v : v => v;
  const traces = [];
  for (const [kind, shade] of Object.entries(KINDS)) {
    const members = DATA.materials.filter(m => m.kind === kind && [x, y].every(n => n in m.values && (!DATA.axes[n].log || m.values[n][0] > 0)));
    if (!members.length) continue;
    const edge = hull(members.flatMap(m => [0, 2].flatMap(i => [0, 2].flatMap(j => Array.from({ length: 12 }, (_, k) => [
      scale(x)(m.values[x][i]) / unit[0] + 9 * Math.cos(k * Math.PI / 6), scale(y)(m.values[y][j]) / unit[1] + 9 * Math.sin(k * Math.PI / 6),
    ]))))).map(([u, v]) => [back(x)(u * unit[0]), back(y)(v * unit[1])]);
    const top = edge.reduce((a, b) => b[1] > a[1] ? b : a);
    if (wide) traces.push(
      { type: 'scatter', mode: 'lines', x: edge.map(p => p[0]), y: edge.map(p => p[1]), fill: 'toself', fillcolor: shade + '20', line: { color: shade, width: 1 }, hoverinfo: 'skip' },
      { type: 'scatter', mode: 'text', x: [top[0]], y: [top[1]], text: [`<b>${kind}</b>`], textposition: 'top center', textfont: { size: 12, color: colour('ink') }, hoverinfo: 'skip', cliponaxis: false },
    );
    traces.push({
      type: 'scatter', mode: wide ? 'markers' : 'markers+text', x: members.map(m => m.values[x][1]), y: members.map(m => m.values[y][1]), marker: { symbol: 'diamond', size: wide ? 6 : 8, color: shade }, hoverinfo: 'text',
      text: members.map(m => m.name), textposition: 'bottom center', textfont: { size: 11, color: colour('quiet') },
      hovertext: members.map(m => `<b>${m.name}</b> (${m.family})<br>${[x, y].map(n => `${marked(DATA.axes[n].symbol)} ${m.values[n][0]}–${m.values[n][2]} ${DATA.axes[n].unit}`).join('<br>')}`),
    });
  }
  return traces;
}

function marked(symbol) {
  return symbol.replace(/_(\w+)/, '<sub>$1</sub>');
}

function lawName(powers) {
  const factor = ([name, power]) => {
    const size = Math.abs(power), root = size === 0.5 ? '√' : Math.abs(size - 1 / 3) < 0.01 ? '∛' : '';
    return root + marked(DATA.axes[name].symbol) + (root || size === 1 ? '' : `<sup>${+size.toFixed(2)}</sup>`);
  };
  const over = Object.entries(powers).filter(p => p[1] > 0).map(factor).join(' '), under = Object.entries(powers).filter(p => p[1] < 0).map(factor).join(' ');
  return under ? `${over || 1}/${under}` : over;
}

function guides(x, y, list, ranges) {
  const span = Array.from({ length: 40 }, (_, k) => ranges[0][0] + k * (ranges[0][1] - ranges[0][0]) / 39).map(u => DATA.axes[x].log ? 10 ** u : u);
  const curves = [];
  for (const law of DATA.laws) {
    const names = Object.keys(law.powers);
    if (names.length !== 2 || !names.includes(x) || !names.includes(y)) continue;
    const index = c => c.values[x][1] ** law.powers[x] * c.values[y][1] ** law.powers[y];
    const best = list.map(index).reduce((a, b) => (law.up ? b > a : b < a) ? b : a, law.up ? -Infinity : Infinity);
    curves.push([span.map(v => (best / v ** law.powers[x]) ** (1 / law.powers[y])), lawName(law.powers), `${law.name}: as good as the best candidate`]);
  }
  for (const l of DATA.lines) if (l.x === x && l.y === y) curves.push([span.map(v => l.factor * v ** l.power), marked(l.label), marked(l.label)]);
  return curves.map(([values, label, words]) => {
    const inside = values.map(v => { const u = DATA.axes[y].log ? Math.log10(v) : v; return u > ranges[1][0] && u < ranges[1][1]; });
    const last = inside.lastIndexOf(true), first = inside.indexOf(true);
    const place = first + Math.round(0.6 * (last - first));
    return {
      type: 'scatter', mode: 'lines+text', x: span, y: values, line: { dash: 'dash', width: 1, color: colour('quiet') }, hoverinfo: 'text', hovertext: words,
      text: values.map((_, k) => k === place ? label : ''), textposition: 'bottom right', textfont: { size: 11, color: colour('quiet') },
    };
  });
}

function wanted(x, y) {
  const sides = (name, axis) => {
    const [low, high] = DATA.targets[name] ?? [null, null];
    return { [axis + '0']: low, [axis + '1']: high, ref: low !== null || high !== null };
  };
  const across = sides(x, 'x'), along = sides(y, 'y');
  return across.ref || along.ref ? { ...across, ...along } : null;
}

function wantedShape(x, y, ranges) {
  const want = wanted(x, y);
  if (!want) return [];
  const open = (value, name, range, side) => value ?? (DATA.axes[name].log ? 10 ** range[side] : range[side]);
  return [{
    type: 'rect', layer: 'below', line: { width: 0 }, fillcolor: colour('accent'), opacity: 0.09,
    x0: open(want.x0, x, ranges[0], 0), x1: open(want.x1, x, ranges[0], 1), y0: open(want.y0, y, ranges[1], 0), y1: open(want.y1, y, ranges[1], 1),
  }];
}

function axisOf(name, range) {
  const axis = DATA.axes[name];
  const title = axis.label + (axis.unit ? ` (${axis.unit})` : '');
  const decades = range[1] - range[0];
  const ticks = !axis.log ? {} : decades < 1.2 ? { tickmode: 'array', ...fineTicks(range) } : { dtick: decades < 2.5 ? 'D2' : 1, exponentformat: 'none' };
  return { title: { text: title, standoff: 8 }, type: axis.log ? 'log' : 'linear', range, ...ticks };
}

function fineTicks(range) {
  const span = range[1] - range[0];
  const steps = span < 0.35 ? [1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9] : span < 0.8 ? [1, 1.5, 2, 3, 4, 5, 6, 8] : [1, 2, 3, 5];
  const values = [];
  for (let e = Math.floor(range[0]); e <= Math.ceil(range[1]); e += 1) for (const s of steps) values.push(s * 10 ** e);
  const kept = values.filter(v => Math.log10(v) >= range[0] && Math.log10(v) <= range[1]);
  return { tickvals: kept, ticktext: kept.map(v => String(Number(v.toPrecision(3)))) };
}

function ashby(k) {
  const x = document.getElementById(`x-${k}`).value, y = document.getElementById(`y-${k}`).value;
  const wide = document.getElementById(`wide-${k}`)?.getAttribute('aria-pressed') === 'true';
  const list = candidatesWith([x, y]).filter(c => [x, y].every(n => !DATA.axes[n].log || c.values[n][1] > 0));
  const box = document.getElementById(`ashby-${k}`);
  const ranges = [x, y].map(n => rangeOf(n, list, wide));
  const size = [Math.max(200, box.clientWidth - 80), Math.max(200, box.clientHeight - 70)];
  const traces = [];
  if (DATA.cloud[x] && DATA.cloud[y]) traces.push({ type: 'scatter', mode: 'markers', x: DATA.cloud[x], y: DATA.cloud[y], marker: { size: 3, color: colour('cloud') }, hoverinfo: 'skip' });
  const units = ranges.map((r, d) => (r[1] - r[0]) / size[d]);
  traces.push(...bubbles(x, y, units, wide), ...guides(x, y, list, ranges));
  const middle = n => list.map(c => c.values[n][1]), scaled = n => middle(n).map(v => DATA.axes[n].log ? Math.log10(v) : v);
  const main = candidateTrace(list, middle(x), middle(y), list.map(c => hoverText(c, [x, y])), roomFor(list, scaled(x), scaled(y), units));
  traces.push({ ...main, error_x: errorBars(list, x), error_y: errorBars(list, y) }, focusTrace());
  plot(box.id, traces, { xaxis: axisOf(x, ranges[0]), yaxis: axisOf(y, ranges[1]), shapes: wantedShape(x, y, ranges) });
  box.setAttribute('aria-label', `${DATA.axes[y].label} against ${DATA.axes[x].label.toLowerCase()}: ${list.length} candidates; every value is also in the table.`);
  drawn.set(box.id, { place: c => [c.values[x]?.[1], c.values[y]?.[1]], focus: traces.length - 1 });
}

function focusTrace() {
  return { type: 'scatter', mode: 'markers', x: [], y: [], hoverinfo: 'skip', marker: { size: 17, color: 'rgba(0,0,0,0)', line: { width: 3, color: colour('ink') } } };
}

function focusOn(key) {
  for (const [id, chart] of drawn) {
    const place = key && byKey.has(key) ? chart.place(byKey.get(key)) : [];
    Plotly.restyle(id, { x: [place[0] == null ? [] : [place[0]]], y: [place[0] == null ? [] : [place[1]]] }, [chart.focus]);
  }
}

function wireAshby(k) {
  const figure = document.getElementById(`ashby-${k}`).parentElement;
  const [x, y] = DATA.pairs[k];
  for (const [axis, chosen] of [['x', x], ['y', y]]) {
    const select = document.getElementById(`${axis}-${k}`);
    for (const [name, about] of Object.entries(DATA.axes)) select.append(element('option', { value: name }, about.label + (about.unit ? ` (${about.unit})` : '')));
    select.value = chosen;
    select.addEventListener('change', () => ashby(k));
  }
  const button = element('button', { type: 'button', id: `wide-${k}`, 'aria-pressed': String(DATA.wide) }, 'All materials');
  button.addEventListener('click', () => { button.setAttribute('aria-pressed', String(button.getAttribute('aria-pressed') !== 'true')); ashby(k); });
  figure.querySelector('.axes').append(button);
}
