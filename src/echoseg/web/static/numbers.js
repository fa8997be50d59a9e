// What is measured, as a reader may read it: the EF first, with its interval and its reliability.

import { button, h, s } from "./dom.js";
import { efText, headline, intervalText, isReliable, quantity } from "./words.js";

const BOUNDS_PERCENT = [40, 50]; // ends of the classes of the EF that the bar marks

const FIRST_WARNINGS = 2; // that are shown at once; the most important come first

// Why the number is, or is not, to be relied on.
function reliability(reading) {
  const { ef, is_corrected: isCorrected } = reading;
  if (ef.kind === "unreliable" || ef.kind === "none") return ef.reason;
  if (ef.kind === "part_of_beat") return "Between the largest and the smallest volume seen, which are not those of one whole heartbeat.";
  if (!ef.interval && isCorrected) return "No interval: a reader changed the contours, and the network's interval does not hold for them.";
  return ef.interval ? "The reliability checks were passed." : "There is no calibrated interval for this clip.";
}

// The EF and its interval on a line from 0 to 100 %.
function intervalBar(ef) {
  const { low_percent: low, high_percent: high } = ef.interval;
  return s("svg", { class: "interval", viewBox: "0 0 100 12", preserveAspectRatio: "none", role: "img", "aria-label": intervalText(ef.interval) },
    s("rect", { class: "rail", x: 0, y: 5, width: 100, height: 2 }),
    BOUNDS_PERCENT.map((x) => s("line", { class: "bound", x1: x, x2: x, y1: 2, y2: 10 })),
    s("rect", { class: "range", x: low, y: 3.5, width: high - low, height: 5 }),
    s("rect", { class: "value", x: ef.ef_percent - 0.5, y: 0.5, width: 1, height: 11 }));
}

function efPart(reading) {
  const { ef, network_ef: network, is_corrected: isCorrected } = reading;
  const isPlain = ef.kind === "plain";
  return [
    h("h2", {}, "Ejection fraction ", h("span", { class: "badge" }, isCorrected ? "corrected by reader" : "network")),
    h("p", { class: `headline ${isPlain ? "" : "caution"}`, id: "ef" }, headline(ef)),
    ef.kind === "part_of_beat" && h("p", {}, quantity(ef.ef_percent, "%"), " in the part that is seen"),
    ef.interval && isReliable(ef) && [h("p", { class: "span" }, intervalText(ef.interval)), isPlain && intervalBar(ef)],
    ef.grade && h("p", {}, "Class within the interval: ", ef.grade),
    h("p", { class: isPlain ? "dim" : "caution" }, reliability(reading)),
    ef.interval && h("p", { class: "dim" }, "Interval from ", ef.interval.source),
    ef.interval && ef.interval.widened_because.map((why) => h("p", { class: "dim" }, "Interval widened: ", why)),
    isCorrected && h("p", { class: "dim network" }, "network ", efText(network)),
  ];
}

// Row by column; one number where they are equal.
function spacingText(spacing) {
  if (!spacing) return "unknown";
  const [row, column] = spacing.map((value) => value.toFixed(3));
  return row === column ? `${row} mm` : `${row} × ${column} mm`;
}

function volumesPart(reading, { onScale, onFrameRate }) {
  const { ef, spacing_mm: spacing, frame_rate_hz: rate } = reading;
  const isClosed = Boolean(reading.decision || reading.is_past);
  const caveat = isReliable(ef) || reading.heart_rate_bpm === null ? "" : ", not reliable";
  const missing = spacing ? "none" : "no scale";
  const row = (name, value, ask) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value, ask && !isClosed && button("Set", ask, { "aria-label": `Set ${name.toLowerCase()}` })));
  const inMean = reading.beats.filter((beat) => !beat.is_excluded && !beat.left_out).length;
  return h("table", { class: "values" }, h("tbody", {},
    isReliable(ef) && [row("End-diastolic volume", quantity(reading.edv_ml, "ml", missing)), row("End-systolic volume", quantity(reading.esv_ml, "ml", missing))],
    row(`Heart rate${caveat}`, quantity(reading.heart_rate_bpm, "bpm", "none stated")),
    row("Beats in the mean", `${inMean} of ${reading.beats.length}`),
    row("Pixel spacing", spacingText(spacing), onScale),
    row("Frame rate", rate ? `${Number(rate.toFixed(1))} Hz` : "unknown", onFrameRate)));
}

function beatsPart(reading, { onSeek, onExclude }) {
  if (!reading.beats.length) return null;
  const isShown = isReliable(reading.ef);
  const head = ["Beat", "ED", "ES", ...(isShown ? ["EF", "EDV", "ESV"] : []), "In mean"];
  const rows = reading.beats.map((beat, index) => {
    const isOut = beat.is_excluded || Boolean(beat.left_out);
    const go = (kind) => button(String(beat[`${kind}_frame`]), () => onSeek(beat[`${kind}_frame`]), { class: `frame ${kind}`, "aria-label": `Go to ${kind.toUpperCase()} of beat ${index + 1}, frame ${beat[`${kind}_frame`]}` });
    const number = (value) => h("td", {}, value === null ? "" : value.toFixed(0));
    const box = h("input", { type: "checkbox", checked: !isOut, disabled: reading.is_past || Boolean(reading.decision) || (Boolean(beat.left_out) && !beat.is_excluded), "aria-label": `Beat ${index + 1} is part of the mean`, on: { change: () => onExclude(index, !beat.is_excluded) } });
    const why = beat.left_out ? h("div", { class: "dim" }, beat.left_out.replaceAll("_", " ")) : null;
    return h("tr", { class: isOut ? "out" : "" }, h("th", { scope: "row" }, String(index + 1), beat.is_moved ? "*" : "", why),
      h("td", {}, go("ed")), h("td", {}, go("es")), isShown && [number(beat.ef_percent), number(beat.edv_ml), number(beat.esv_ml)], h("td", {}, box));
  });
  return h("details", { class: "beats", open: reading.beats.length <= 6 },
    h("summary", {}, "Heartbeats"),
    h("table", {}, h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, rows)),
    reading.beats.some((beat) => beat.is_moved) && h("p", { class: "dim" }, "* ED or ES set by a reader"));
}

function warningsPart(reading) {
  if (!reading.warnings.length) return null;
  const list = (texts) => h("ul", {}, texts.map((text) => h("li", {}, text)));
  const rest = reading.warnings.slice(FIRST_WARNINGS);
  return h("section", { class: "alert", "aria-label": "Before you read the numbers" }, h("h2", {}, "Before you read the numbers"),
    list(reading.warnings.slice(0, FIRST_WARNINGS)), rest.length > 0 && h("details", {}, h("summary", {}, `${rest.length} more`), list(rest)));
}

function decisionPart(reading, { onDecide }) {
  if (reading.is_past) return null;
  if (reading.decision) {
    return h("section", { class: `decision ${reading.decision}` }, h("strong", {}, reading.decision === "accepted" ? "Accepted" : "Rejected"),
      ` by ${reading.signed_by || reading.reader}`, reading.decision_reason && h("p", {}, reading.decision_reason), h("p", {}, button("Reopen", () => onDecide("reopened"))));
  }
  return h("div", { class: "decide" }, button("Accept", () => onDecide("accepted"), { class: isReliable(reading.ef) ? "main" : "" }), button("Reject", () => onDecide("rejected")));
}

// Everything beside the pictures; `actions` are called by its buttons.
export function numbers(reading, actions) {
  return [
    warningsPart(reading),
    h("section", { class: "ef", data: { milliseconds: String(reading.milliseconds) } }, efPart(reading)),
    decisionPart(reading, actions),
    volumesPart(reading, actions),
    beatsPart(reading, actions),
  ].filter(Boolean);
}
