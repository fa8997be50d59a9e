// Two clips of one heart in step: by phase of the beat, or by time where one of them has no beat.

// The phases of a clip: ED of beat n is n, its ES is n + .5; [[phase, time], ...], increasing.
export function phasesOf(beats, times) {
  const marks = [];
  beats.forEach((beat, n) => {
    marks.push([n, times[beat.ed_frame]]);
    if (beat.es_frame > beat.ed_frame) marks.push([n + 0.5, times[beat.es_frame]]);
  });
  return marks.filter(([, time], i) => i === 0 || time > marks[i - 1][1]);
}

// A value on the line through marks [[x, y], ...], `from` and `to` being 0 or 1; beyond the ends null.
function between(marks, from, to, value) {
  const i = marks.findIndex((mark) => mark[from] >= value);
  if (i < 0 || (i === 0 && marks[0][from] > value)) return null;
  if (marks[i][from] === value) return marks[i][to];
  const [before, after] = [marks[i - 1], marks[i]];
  return before[to] + ((value - before[from]) / (after[from] - before[from])) * (after[to] - before[to]);
}

// The time of one clip that belongs to the time of another, whose phases are `marks`. A clip with
// fewer beats begins again; where it has no further mark, time runs on from its last one.
export function timeInStep(time, marks, others) {
  if (!marks.length || !others.length) return time;
  const [start, end, last] = [marks[0], marks.at(-1), others.at(-1)];
  if (time < start[1]) return others[0][1] + time - start[1];
  const phase = between(marks, 1, 0, time) ?? end[0];
  const wrapped = phase > last[0] ? phase % Math.max(1, Math.floor(last[0])) : phase;
  const reached = Math.min(wrapped, last[0]); // phase of the last place that both clips know
  return between(others, 0, 1, reached) + time - (reached < wrapped ? between(marks, 0, 1, phase - wrapped + reached) : Math.min(time, end[1]));
}

// Keep the players of panes in step while `isOn()`: the one that a reader moves leads.
export function keepInStep(panes, isOn) {
  let leader = null;
  const marksOf = ({ player, session }) => phasesOf(session.reading?.beats ?? [], player.times);
  for (const pane of panes) {
    pane.player.addEventListener("state", () => {
      if (!isOn() || !pane.player.isPlaying) return;
      leader = pane;
      for (const other of panes) if (other !== pane) other.player.pause();
    });
    pane.player.addEventListener("frame", () => {
      if (!isOn() || (leader && leader !== pane)) return;
      leader = pane;
      for (const other of panes) {
        if (other !== pane) other.player.show(other.player.nearest(timeInStep(pane.player.time, marksOf(pane), marksOf(other))));
      }
      if (!pane.player.isPlaying) leader = null;
    });
  }
}

// In words: how the panes are kept in step.
export const stepText = (panes) => (panes.every(({ session }) => session.reading?.beats.length) ? "in step, by phase: ED to ES to ED" : "in step, by time: a clip has no whole beat");
