// Parallel coordinates: one line for each candidate over all its properties.
function parallel() {
  const names = DATA.parallel.slice(0, narrow() ? 5 : 8);
  const list = candidatesWith(names);
  const scales = names.map(name => {
    const log = DATA.axes[name].log && list.every(c => c.values[name][1] > 0);
    const values = list.map(c => log ? Math.log10(c.values[name][1]) : c.values[name][1]);
    const low = Math.min(...values), high = Math.max(...values), span = high - low || 1;
    return { log, low, high: low + span, at: c => ((log ? Math.log10(c.values[name][1]) : c.values[name][1]) - low) / span };
  });
  const front = colour('front'), other = colour('accent');
  const traces = list.map(c => ({
    type: 'scatter', mode: 'lines', x: names.map((_, k) => k), y: scales.map(s => s.at(c)), customdata: names.map(() => c.key), hoverinfo: 'text', hovertext: hoverText(c, names),
    line: { color: c.front ? front : other, width: c.front ? 2 : 1.3, dash: c.far ? 'dot' : 'solid' }, opacity: c.front ? 0.9 : 0.45,
  }));
  traces.push({ type: 'scatter', mode: 'lines', x: [], y: [], hoverinfo: 'skip', line: { color: colour('ink'), width: 4 } });
  const end = (k, side) => {
    const value = scales[k][side];
    return String(Number((scales[k].log ? 10 ** value : value).toPrecision(3))).replace('-', '−');
  };
  const labels = names.flatMap((name, k) => {
    const axis = DATA.axes[name];
    const title = narrow() ? marked(axis.symbol) : wrapped(axis.label);
    const at = { x: k, xref: 'x', showarrow: false };
    return [
      { ...at, y: 1.03, yref: 'y', yanchor: 'bottom', text: `${title}<br><span style="font-size:11px">${axis.unit || ' '}</span>` },
      { ...at, y: 1, yref: 'y', text: end(k, 'high'), xanchor: 'left', xshift: 4, font: { size: 11 }, bgcolor: colour('veil') },
      { ...at, y: 0, yref: 'y', text: end(k, 'low'), xanchor: 'left', xshift: 4, font: { size: 11 }, bgcolor: colour('veil') },
    ];
  });
  const rules = names.map((_, k) => ({ type: 'line', layer: 'below', x0: k, x1: k, y0: 0, y1: 1, line: { color: colour('quiet'), width: 1 } }));
  const off = { showgrid: false, showticklabels: false, ticks: '', mirror: false, showline: false, fixedrange: true };
  plot('parallel', traces, {
    margin: { l: 40, r: 50, t: 80, b: 20 }, annotations: labels, shapes: rules, xaxis: { ...off, range: [-0.15, names.length - 0.7] }, yaxis: { ...off, range: [-0.06, 1.06] },
  }, { ...CONFIG, displayModeBar: false });
  drawn.delete('parallel');
  parallel.focus = key => {
    const c = key && byKey.get(key);
    const there = c && !hiddenKeys.has(key) && names.every(n => n in c.values);
    Plotly.restyle('parallel', { x: [there ? names.map((_, k) => k) : []], y: [there ? scales.map(s => s.at(c)) : []] }, [traces.length - 1]);
  };
}

function wrapped(label) {
  const words = label.split(' ');
  const half = Math.ceil(words.length / 2);
  return label.length > 8 && words.length > 1 ? `${words.slice(0, half).join(' ')}<br>${words.slice(half).join(' ')}` : label;
}
