// The page: what is drawn when it comes into view, links to a candidate, paper, light and dark.
const waiting = new Map();
const observer = new IntersectionObserver(entries => entries.filter(e => e.isIntersecting).forEach(e => run(e.target)), { rootMargin: '300px' });

function later(box, draw) {
  if (box.dataset.drawn) return;
  waiting.set(box, draw);
  observer.observe(box);
}

function run(box) {
  const draw = waiting.get(box);
  observer.unobserve(box);
  waiting.delete(box);
  if (!draw) return;
  box.dataset.drawn = 'yes';
  draw();
}

const figures = new Map();  // what is drawn again when filters, the theme or the width change

function chart(id, draw) {
  const box = document.getElementById(id);
  if (!box) return;
  figures.set(box, draw);
  later(box, draw);
}

function again() {
  for (const [box, draw] of figures) if (box.dataset.drawn) draw();
}

function soon(action, delay = 150) {
  let timer = 0;
  return () => { clearTimeout(timer); timer = setTimeout(action, delay); };
}

function follow() {
  const key = location.hash.slice(1);
  if (byKey.has(key)) show(key);
}

function paper() {
  document.querySelectorAll('.thumb').forEach(run);
  figures.forEach((_, box) => run(box));
  [...waiting.keys()].filter(box => box.offsetParent !== null).forEach(run);
  document.querySelectorAll('.js-plotly-plot').forEach(box => {
    if (box.offsetParent === null) return;
    box.dataset.width = box.clientWidth;
    // as in the style for paper, which is not in force yet
    const width = box.closest('.page') ? 640 : 690, height = box.closest('.page') ? box.clientHeight : box.closest('.parallel') ? 340 : 440;
    const few = box.id === 'materials-map' ? { annotations: box.layout.annotations.slice(0, 10), 'yaxis.scaleanchor': false } : {};
    Plotly.relayout(box, { width, height, autosize: false, ...few });
  });
}

function screen() {
  document.querySelectorAll('.js-plotly-plot[data-width]').forEach(box => {
    delete box.dataset.width;
    Plotly.relayout(box, { width: null, height: null, autosize: true });
  });
  again();
}

if (table) wireTable();
watchers.open.push(drawPage);
watchers.filter.push(soon(again));
watchers.light.push(key => {
  focusOn(key);
  parallel.focus?.(key);
});
document.querySelectorAll('.thumb').forEach(box => later(box, () => drawThumb(box)));
DATA.pairs.forEach((_, k) => {
  wireAshby(k);
  chart(`ashby-${k}`, () => ashby(k));
});
if (DATA.parallel.length > 1) chart('parallel', parallel);
if (DATA.map) chart('materials-map', materialsMap);
addEventListener('hashchange', follow);
addEventListener('beforeprint', paper);
addEventListener('afterprint', screen);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again);
let wasNarrow = narrow();
addEventListener('resize', soon(() => {
  if (wasNarrow !== narrow()) again();
  wasNarrow = narrow();
}));
follow();
