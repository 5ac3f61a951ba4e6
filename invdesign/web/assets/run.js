// Live progress of a run: asked every two seconds, or every ten where nothing is at work on it, for another tab may start
// something. The page is read again when the run's state changes.
'use strict';
const box = document.getElementById('progress');
const text = (id, value) => { const e = document.getElementById(id); if (e.textContent !== String(value)) e.textContent = value; };

async function look() {
  let now;
  try {
    const answer = await fetch(`/runs/${box.dataset.run}/progress`, { headers: { accept: 'application/json' } });
    now = await answer.json();
  } catch {
    text('stage', 'the app does not answer; the run goes on without it');
    setTimeout(look, 5000);
    return;
  }
  if (now.error || now.status !== box.dataset.status) {
    location.reload();
    return;
  }
  text('relaxed', now.relaxed);
  text('budget', now.budget);
  const all = document.getElementById('all');
  all.max = now.budget || 1;
  all.value = now.relaxed;
  const { stage, done, total, rounds } = now.log;
  text('stage', stage ? `${stage}: ${done}${total ? ` of ${total}` : ''}` : 'reading models and tables');
  const list = document.getElementById('rounds');
  rounds.slice(list.children.length).forEach(line => {
    const item = document.createElement('li');
    item.textContent = line;
    list.append(item);
    list.scrollTop = list.scrollHeight;
  });
  setTimeout(look, pause);
}

const pause = box.dataset.busy === 'true' ? 2000 : 10000;
setTimeout(look, pause / 2);
