// Map of materials space: known crystals, the names of their clusters, and the candidates among them.
function materialsMap() {
  const map = DATA.map;
  const list = DATA.candidates.filter(c => c.map && !hiddenKeys.has(c.key));
  const box = document.getElementById('materials-map');
  const units = map.range.map((r, d) => (r[1] - r[0]) / (d ? box.clientHeight : box.clientWidth));
  const labels = roomFor(list, list.map(c => c.map[0]), list.map(c => c.map[1]), units);
  const traces = [{
    type: 'scatter', mode: 'markers', x: map.x, y: map.y, hoverinfo: 'text', hovertext: map.formula.map((f, k) => `${subscripts(f)}<br>${map.family[map.kind[k]]}`),
    marker: { size: 4, color: map.kind.map(k => map.colour[k]), opacity: 0.55 },
  }, candidateTrace(list, list.map(c => c.map[0]), list.map(c => c.map[1]), list.map(c => `<b>${c.rank}. ${subscripts(c.formula)}</b><br>${c.family}`), labels), focusTrace()];
  const few = narrow();
  const names = [...map.labels].sort((a, b) => b.size - a.size).slice(0, few ? 7 : map.labels.length).map(l => ({
    x: l.x, y: l.y, text: l.text, showarrow: false, font: { size: few ? 11 : 13, color: colour('ink') }, bgcolor: colour('veil'), borderpad: 1,
  }));
  const off = { showgrid: false, showticklabels: false, ticks: '', zeroline: false };
  plot('materials-map', traces, { margin: { l: 6, r: 6, t: 6, b: 6 }, annotations: names, xaxis: { ...off, range: map.range[0] }, yaxis: { ...off, range: map.range[1], scaleanchor: few ? undefined : 'x' } });
  drawn.set('materials-map', { place: c => c.map ?? [], focus: 2 });
}
