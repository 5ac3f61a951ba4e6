const table = document.getElementById('candidates');
const value = (row, i) => { const v = row.cells[i].dataset.value ?? row.cells[i].textContent; return v === '' || isNaN(v) ? v : Number(v); };
if (table) table.querySelectorAll('thead th').forEach((head, i) => head.querySelector('button').addEventListener('click', () => {
  const up = head.getAttribute('aria-sort') !== 'ascending';
  table.querySelectorAll('thead th').forEach(h => h.setAttribute('aria-sort', 'none'));
  head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => { const x = value(a, i), y = value(b, i); if (x === y) return 0; if (x === '') return 1; if (y === '') return -1; return ((x < y) === up) ? -1 : 1; });
  table.tBodies[0].append(...rows);
}));
const light = (key, on) => document.querySelectorAll('[data-key="' + key + '"]').forEach(e => e.classList.toggle('lit', on));
document.querySelectorAll('[data-key]').forEach(e => {
  e.addEventListener('mouseenter', () => light(e.dataset.key, true));
  e.addEventListener('mouseleave', () => light(e.dataset.key, false));
});
