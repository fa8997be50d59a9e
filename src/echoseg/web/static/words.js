// Numbers and states in words. What may not be relied on gets no number here.

const NBSP = "\u00a0";
const HEADLINES = { part_of_beat: "part of a beat", unreliable: "not reliable", none: "no EF" };

export const quantity = (value, unit, missing = "none") =>
  (value === null || value === undefined ? missing : `${value.toFixed(0)}${NBSP}${unit}`);

// What stands in the largest type, as in `EfStatement.headline`.
export const headline = (ef) => HEADLINES[ef.kind] ?? quantity(ef.ef_percent, "%");

export const span = (interval) =>
  `${interval.low_percent.toFixed(0)} to ${interval.high_percent.toFixed(0)}${NBSP}%`;

export const intervalText = (interval) => `${interval.level_percent.toFixed(0)}${NBSP}% interval ${span(interval)}`;

// An EF with its interval in a few words, such as `network 56 %, 90 % interval 40 to 72 %`.
export function efText(ef) {
  const value = ef.kind === "part_of_beat" ? `${quantity(ef.ef_percent, "%")} (part of a beat)` : headline(ef);
  return ef.interval && ef.kind !== "unreliable" ? `${value}, ${intervalText(ef.interval)}` : value;
}

// Whether numbers of the same masks may stand without a caveat.
export const isReliable = (ef) => ef.kind === "plain" || ef.kind === "part_of_beat";

const STATES = { queued: "waiting", running: "measuring", ready: "ready", failed: "failed" };
export const stateText = (state) => STATES[state] ?? state;

export const STRUCTURES = { lv_cavity: "LV endocardium", lv_epi: "LV epicardium", la: "Left atrium" };

export const seconds = (value) => `${value.toFixed(2)}${NBSP}s`;

export function when(timeSeconds) {
  return new Date(timeSeconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

const KINDS = {
  contour: "contour", brush: "brush", carry: "carried to neighbors", beat: "ED, ES or beat",
  view: "view", spacing: "scale", frame_rate: "frame rate", restore: "earlier version restored",
};

// What is stated of a beat: `ED set to frame 12`, `beat 2 excluded`.
function beatText({ beat, ed_frame: ed, es_frame: es, is_excluded: isExcluded }) {
  const set = [["ED", ed], ["ES", es]].filter(([, frame]) => frame !== null).map(([name, frame]) => `${name} set to frame ${frame}`);
  const isStated = isExcluded !== null;
  return [...set, isStated && `beat ${beat + 1} ${isExcluded ? "excluded" : "part of the mean again"}`].filter(Boolean).join(", ");
}

// What a row of the history changed.
export const editText = ({ kind, beat }) => (beat && beatText(beat)) || (KINDS[kind] ?? kind);
