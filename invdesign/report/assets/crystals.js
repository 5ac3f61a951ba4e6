// Crystals: drawings of the cell, the viewer in 3-D, powder patterns, Young's modulus by direction.
const parts = new Map();

function partsOf(key) {
  if (!parts.has(key)) parts.set(key, JSON.parse(document.getElementById('data-' + key).textContent));
  return parts.get(key);
}

function turned([x, y, z]) {
  const a = -0.42, b = 0.24;  // a little from the side and from above, c upwards
  const u = x * Math.cos(a) - y * Math.sin(a), v = x * Math.sin(a) + y * Math.cos(a);
  return [u, z * Math.cos(b) + v * Math.sin(b), -v * Math.cos(b) + z * Math.sin(b)];
}

function corners(cell) {
  const at = (i, j, k) => [0, 1, 2].map(d => (i - 0.5) * cell[0][d] + (j - 0.5) * cell[1][d] + (k - 0.5) * cell[2][d]);
  const edges = [];
  for (const p of [0, 1]) for (const q of [0, 1]) edges.push([at(0, p, q), at(1, p, q)], [at(p, 0, q), at(p, 1, q)], [at(p, q, 0), at(p, q, 1)]);
  return edges;
}

function drawing(key, small) {
  const { scene } = partsOf(key);
  if (!scene) return '';
  const atoms = scene.atoms.map(([e, ...xyz]) => ({ e: scene.elements[e], k: e, p: turned(xyz) }));
  const edges = corners(scene.cell).map(pair => pair.map(turned));
  const reach = Math.max(...atoms.map(a => Math.hypot(a.p[0], a.p[1]) + a.e.radius), ...edges.flat().map(p => Math.hypot(p[0], p[1])));
  const f = 98 / reach, at = p => `${(p[0] * f).toFixed(1)} ${(-p[1] * f).toFixed(1)}`;
  const items = edges.map(([p, q]) => [(p[2] + q[2]) / 2 - 0.2, `<path class="edge" d="M${at(p)}L${at(q)}"/>`]);
  for (const [i, j] of scene.bonds) {
    const a = atoms[i], b = atoms[j], middle = a.p.map((v, d) => (v + b.p[d]) / 2);
    for (const one of [a, b]) items.push([(one.p[2] + middle[2]) / 2 - 0.1, `<path d="M${at(one.p)}L${at(middle)}" stroke="${one.e.color}" stroke-width="${(0.2 * f).toFixed(1)}"/>`]);
  }
  for (const a of atoms) {
    const [x, y] = at(a.p).split(' ');
    items.push([a.p[2], `<circle cx="${x}" cy="${y}" r="${(a.e.radius * f).toFixed(1)}" fill="${small ? a.e.color : `url(#${key}-${a.k})`}"/>`]);
  }
  items.sort((a, b) => a[0] - b[0]);
  const balls = small ? '' : scene.elements.map((e, k) => `<radialGradient id="${key}-${k}" cx=".36" cy=".32" r=".75"><stop offset="0" stop-color="#fff"/><stop offset=".3" stop-color="${e.color}"/><stop offset="1" stop-color="${e.color}" stop-opacity=".75"/></radialGradient>`).join('');
  const under = small ? '' : '<circle r="0"/>';
  return `<svg viewBox="-102 -102 204 204" aria-hidden="true" focusable="false"><defs>${balls}</defs>${under}${items.map(i => i[1]).join('')}</svg>`;
}

function drawThumb(box) {
  box.innerHTML = drawing(box.dataset.key, true);
}

function drawPage(key) {
  const page = document.getElementById('page-' + key);
  const figure = page.querySelector('.crystal');
  if (figure && !figure.dataset.drawn) {
    figure.dataset.drawn = 'yes';
    figure.querySelector('.poster').innerHTML = drawing(key, false);
    for (const e of partsOf(key).scene.elements) {
      const dot = element('i', { class: 'dot' });
      dot.style.background = e.color;
      figure.querySelector('.elements').append(element('span', {}, dot, e.symbol));
    }
    figure.querySelector('.turn').addEventListener('click', () => turn(figure));
    figure.querySelector('.poster').addEventListener('click', () => turn(figure));
  }
  page.querySelectorAll('.plot').forEach(box => later(box, () => drawPlot(box)));
  const tensor = page.querySelector('.surface');
  if (tensor && !tensor.dataset.wired) {
    tensor.dataset.wired = 'yes';
    tensor.querySelector('.turn').addEventListener('click', () => surface(tensor));
  }
}

function drawPlot(box) {
  if (box.classList.contains('pattern')) pattern(box.dataset.key, box.id);
  else sections(box.dataset.key, box.id);
}

function pattern(key, id) {
  const lines = partsOf(key).pattern;
  const strong = new Set([...lines.intensity.keys()].sort((a, b) => lines.intensity[b] - lines.intensity[a]).slice(0, narrow() ? 4 : 8));
  plot(id, [{
    type: 'bar', x: lines.angle, y: lines.intensity, width: 0.35, marker: { color: colour('accent') }, hoverinfo: 'text', cliponaxis: false,
    hovertext: lines.label.map((l, k) => `<b>${clean(l)}</b><br>2θ ${lines.angle[k]}°, ${lines.intensity[k]} %`), text: lines.label.map((l, k) => strong.has(k) ? clean(l).split(', ')[0] : ''), textposition: 'outside', constraintext: 'none', textangle: 0, textfont: { size: 11 },
  }], { margin: { l: 48, r: 8, t: 18, b: 44 }, xaxis: { title: { text: '2θ (degrees)', standoff: 6 }, range: [10, 90], showgrid: false }, yaxis: { title: { text: 'intensity (%)', standoff: 4 }, range: [0, 112], fixedrange: true } }, { ...CONFIG, displayModeBar: false });
}

// One viewer for crystals and one for surfaces: a browser has few places to draw in 3-D, so they move from page to page.
const viewers = { crystal: null, surface: null };

function stageIn(kind, figure) {
  library('3Dmol-min');
  leave(kind);
  const held = viewers[kind] ??= { holder: element('div', { class: 'holder' }), viewer: null };
  const stage = figure.querySelector('.stage');
  stage.hidden = false;
  stage.append(held.holder);
  figure.classList.add('turning');
  try {
    held.viewer ??= $3Dmol.createViewer(held.holder, { antialias: true });
  } catch {
    held.viewer = null;
  }
  if (!held.viewer) {
    leave(kind);
    figure.querySelector('.turn').replaceWith(element('small', {}, 'This browser does not draw in 3-D.'));
    return null;
  }
  held.viewer.setBackgroundColor(colour('paper'));
  held.viewer.removeAllModels();
  held.viewer.removeAllShapes();
  held.viewer.removeAllLabels();
  held.viewer.resize();
  return held.viewer;
}

function leave(kind) {
  const figure = viewers[kind]?.holder.closest('figure');
  if (!figure) return;
  figure.querySelector('.stage').hidden = true;
  figure.classList.remove('turning');
}

const point = ([x, y, z]) => ({ x, y, z });

function turn(figure) {
  const viewer = stageIn('crystal', figure);
  if (!viewer) return;
  const { scene } = partsOf(figure.dataset.key);
  const bonds = scene.atoms.map(() => []);
  for (const [i, j] of scene.bonds) { bonds[i].push(j); bonds[j].push(i); }
  viewer.addModel().addAtoms(scene.atoms.map(([e, x, y, z], i) => ({ elem: scene.elements[e].symbol, x, y, z, serial: i, bonds: bonds[i], bondOrder: bonds[i].map(() => 1) })));
  for (const e of scene.elements) viewer.setStyle({ elem: e.symbol }, { sphere: { radius: e.radius, color: e.color }, stick: { radius: 0.1, color: e.color } });
  for (const [p, q] of corners(scene.cell)) viewer.addCylinder({ start: point(p), end: point(q), radius: 0.03, color: colour('quiet') });
  upright(viewer);
}

function upright(viewer) {
  viewer.zoomTo();
  viewer.rotate(-24, 'z');
  viewer.rotate(-76, 'x');
  viewer.render();
}

function stiffness(compliance, [x, y, z]) {
  const v = [x * x, y * y, z * z, y * z, x * z, x * y];  // 1/E = v S v with Voigt's compliance S in 1/TPa
  return 1000 / v.reduce((sum, a, i) => sum + a * v.reduce((inner, b, j) => inner + compliance[i][j] * b, 0), 0);
}

function hue(share) {
  const stops = [[44, 86, 151], [86, 160, 160], [230, 190, 90], [185, 65, 40]];
  const at = Math.min(share, 0.999) * 3, k = Math.floor(at), t = at - k;
  const [r, g, b] = stops[k].map((v, d) => Math.round(v + t * (stops[k + 1][d] - v)));
  return (r << 16) + (g << 8) + b;
}

function surface(figure) {
  const viewer = stageIn('surface', figure);
  if (!viewer) return;
  const { compliance } = partsOf(figure.dataset.key);
  const rings = 36, turns = 72, grid = [];
  for (let i = 0; i <= rings; i += 1) for (let j = 0; j < turns; j += 1) {
    const theta = Math.PI * i / rings, phi = 2 * Math.PI * j / turns;
    const n = [Math.sin(theta) * Math.cos(phi), Math.sin(theta) * Math.sin(phi), Math.cos(theta)];
    grid.push([n, stiffness(compliance, n)]);
  }
  const values = grid.map(g => g[1]), low = Math.min(...values), high = Math.max(...values);
  const faces = [];
  for (let i = 0; i < rings; i += 1) for (let j = 0; j < turns; j += 1) {
    const a = i * turns + j, b = i * turns + (j + 1) % turns;
    faces.push(a, a + turns, b, b, a + turns, b + turns);
  }
  const vertices = grid.map(([n, e]) => point(n.map(v => 10 * v * e / high)));
  viewer.addCustom({ vertexArr: vertices, normalArr: grid.map(([n]) => point(n)), faceArr: faces, color: values.map(e => hue((e - low) / (high - low || 1))) });
  for (const [name, axis] of [['x', [1, 0, 0]], ['y', [0, 1, 0]], ['z', [0, 0, 1]]]) {
    viewer.addArrow({ start: point([0, 0, 0]), end: point(axis.map(v => 13 * v)), radius: 0.15, color: colour('quiet') });
    viewer.addLabel(name, { position: point(axis.map(v => 13.6 * v)), fontColor: colour('ink'), backgroundOpacity: 0, fontSize: 15 });
  }
  upright(viewer);
}

function sections(key, id) {
  const { compliance } = partsOf(key);
  const planes = { xy: t => [Math.cos(t), Math.sin(t), 0], xz: t => [Math.cos(t), 0, Math.sin(t)], yz: t => [0, Math.cos(t), Math.sin(t)] };
  const angles = Array.from({ length: 121 }, (_, k) => k * Math.PI / 60);
  const shades = [colour('accent'), colour('front'), colour('good')], dashes = ['solid', 'dash', 'dot'];
  const traces = Object.entries(planes).map(([name, n], k) => {
    const e = angles.map(t => stiffness(compliance, n(t)));
    return {
      type: 'scatter', mode: 'lines', name: `${name} plane`, x: e.map((v, i) => v * Math.cos(angles[i])), y: e.map((v, i) => v * Math.sin(angles[i])), line: { color: shades[k], dash: dashes[k], width: 2 },
      hoverinfo: 'text', hovertext: e.map((v, i) => `${name} plane, ${Math.round(angles[i] * 180 / Math.PI)}°: ${v.toFixed(0)} GPa`),
    };
  });
  plot(id, traces, {
    showlegend: true, legend: { orientation: 'h', y: -0.2 }, margin: { l: 52, r: 8, t: 8, b: 40 }, xaxis: { constrain: 'domain', title: { text: 'E (GPa)', standoff: 4 } }, yaxis: { scaleanchor: 'x', constrain: 'domain', title: { text: 'E (GPa)', standoff: 2 } },
  }, { ...CONFIG, displayModeBar: false });
}
