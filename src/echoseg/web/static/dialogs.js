// Questions that a reader is asked, and lists that are shown: each one dialog.

import { download } from "./api.js";
import { ask, button, h, say } from "./dom.js";
import { editText, when } from "./words.js";

const CANCEL = { text: "Cancel", value: null };

const field = (label, input, hint = "") => h("label", { class: "field" }, label, input, hint && h("small", {}, hint));

const number = (value, props = {}) => h("input", { type: "number", required: true, step: "any", value: String(value), ...props });

// How long the line between two places is: {kind: "spacing", ...}, or null.
export async function askScale([start, end]) {
  const length = number("", { min: "0.1", max: "1000", autofocus: true });
  const unit = h("select", { "aria-label": "Unit" }, h("option", { value: "10" }, "cm"), h("option", { value: "1" }, "mm"));
  const places = [start, end].map((place) => place.map((value, i) => number(value.toFixed(1), { "aria-label": i ? "row" : "column" })));
  const body = [
    h("p", {}, "Two ticks of the depth scale, or any two places whose distance is known."),
    field("Distance", h("span", { class: "row" }, length, unit)),
    h("fieldset", {}, h("legend", {}, "Places, column and row in pixels"), h("div", { class: "row" }, places[0]), h("div", { class: "row" }, places[1])),
  ];
  const isSet = await ask("Scale", body, [CANCEL, { text: "Set scale", value: true, isMain: true }]);
  if (!isSet) return null;
  const [from, to] = places.map((place) => place.map((input) => input.valueAsNumber));
  return { kind: "spacing", start: from, end: to, length_mm: length.valueAsNumber * Number(unit.value) };
}

// The frame rate: {kind: "frame_rate", ...}, or null.
export async function askFrameRate(value) {
  const rate = number(value ?? "", { min: "0.1", max: "1000", autofocus: true });
  const isSet = await ask("Frame rate", field("Frames per second", rate, "Heart rate and the speed of playback follow it; volumes do not."),
    [CANCEL, { text: "Set frame rate", value: true, isMain: true }]);
  return isSet ? { kind: "frame_rate", frame_rate_hz: rate.valueAsNumber } : null;
}

const DECISIONS = {
  accepted: ["Accept", "Accept this reading", (ef) => `You accept: ${ef}.`],
  rejected: ["Reject", "Reject this reading", () => "The clip is marked as not measurable. A reason is needed."],
  reopened: ["Reopen", "Reopen this reading", () => "It can be edited again, and must be signed anew. A reason is needed."],
};

// Sign a reading or reopen it: the reason (perhaps empty), or null.
export async function askDecision(decision, efWords) {
  const [name, title, text] = DECISIONS[decision];
  const isNeeded = decision !== "accepted";
  const reason = h("textarea", { rows: "3", maxlength: "500", required: isNeeded, autofocus: true });
  const check = () => reason.setCustomValidity(isNeeded && !reason.value.trim() ? `Not ${decision}: a reason is needed.` : "");
  reason.addEventListener("input", check);
  check();
  const body = [
    h("p", {}, text(efWords)), field(isNeeded ? "Reason" : "Remark (optional)", reason),
    h("p", { class: "dim" }, "A signed reading takes no more edits. It is stored with your account, the time and its history."),
  ];
  const isSigned = await ask(title, body, [CANCEL, { text: name, value: true, isMain: true }]);
  return isSigned ? reason.value.trim() : null;
}

// Every version: who, when, what and why; resolves to the one that is to be shown, or null.
export function showHistory(rows, revision) {
  // counted within this reading; `revision` counts over all clips
  const version = (place, row, close) => button(place === 0 ? "network" : String(place), () => close(row.revision), { "aria-label": `Show version ${place}` });
  const head = h("tr", {}, ["Version", "When", "Who", "What", "Frame", "Why"].map((name) => h("th", { scope: "col" }, name)));
  const body = (close) => [{ revision: 0, time: null, account: "", kind: "the network's result", frame: null, reason: "" }, ...rows].map((row, place) => h("tr", { class: row.revision === revision ? "current" : "" },
    h("td", {}, version(place, row, close), row.revision === revision ? " (shown)" : ""), h("td", {}, row.time === null ? "" : when(row.time)), h("td", {}, row.account),
    h("td", {}, editText(row)), h("td", {}, row.frame ?? ""), h("td", {}, row.reason)));
  const table = (close) => (rows.length ? h("table", { class: "history" }, h("thead", {}, head), h("tbody", {}, body(close)))
    : h("p", {}, "No edits: this is the network's own result."));
  return ask("History", (close) => h("div", { class: "scroll", tabindex: 0 }, table(close)), [{ text: "Close", value: null, isMain: true }]);
}

const EXPORTS = [
  ["zip", "Everything", "the result folder as `echoseg analyze` writes it, ZIP"], ["pdf", "Report", "PDF"], ["html", "Report as a page", "HTML"],
  ["csv", "Values", "a row for a registry, CSV"], ["masks", "Masks", "label maps, NIfTI"], ["dicom", "For a PACS", "SR, SEG and PDF as DICOM objects, ZIP"],
  ["fhir", "For a health record", "FHIR R4"],
];

// Links to everything that can be exported of a clip's read or, without one, of both views of a
// study; why something cannot be is said here.
export function showExports(id, slot = null) {
  const place = slot === null ? "studies" : "clips";
  const address = (format) => `/api/${place}/${encodeURIComponent(id)}/export?format=${format}${slot === null ? "" : `&slot=${slot}`}`;
  const line = h("p", { role: "status" });
  const save = async (event, format, name) => {
    event.preventDefault();
    line.classList.remove("caution");
    line.textContent = `${name} is being prepared; its download begins by itself.`;
    try {
      await download(address(format), `${id}-${format}`);
    } catch (error) {
      line.classList.add("caution");
      line.textContent = error.message;
      say(error.message, { isError: true });
    }
  };
  const items = EXPORTS.filter(([format]) => slot !== null || format !== "masks").map(([format, name, what]) => h("li", {},
    h("a", { href: address(format), download: "", on: { click: (event) => save(event, format, name) } }, name), " ", h("span", { class: "dim" }, what)));
  return ask("Export", [h("ul", { class: "plain" }, items), line], [{ text: "Close", value: null, isMain: true }]);
}

const QUANTITIES = { ef_percent: ["EF", "points"], edv_ml: ["EDV", "ml"], esv_ml: ["ESV", "ml"] };

// How far first and second reads agree.
export function showAgreement(answer) {
  const head = ["", "Clips", "ICC (95 % interval)", "Bias", "Limits of agreement"].map((name) => h("th", { scope: "col" }, name));
  const number = (value) => (value === null ? "" : value.toFixed(1));
  const rows = Object.entries(QUANTITIES).map(([name, [label, unit]]) => {
    const one = answer[name];
    const isKnown = one.icc !== null;
    return h("tr", {}, h("th", { scope: "row" }, label), h("td", {}, String(one.n)),
      h("td", {}, isKnown ? `${one.icc.toFixed(2)} (${one.icc_low?.toFixed(2) ?? ""} to ${one.icc_high?.toFixed(2) ?? ""})` : "too few clips"),
      h("td", {}, isKnown ? `${number(one.bias)} ${unit}` : ""), h("td", {}, isKnown ? `${number(one.limit_low)} to ${number(one.limit_high)} ${unit}` : ""));
  });
  const body = [h("p", {}, "Clips that two readers accepted, each without the other's read; first minus second."),
    h("div", { class: "scroll", tabindex: 0 }, h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows)))];
  return ask("Agreement of readers", body, [{ text: "Close", value: null, isMain: true }]);
}

// The keys of a page: [[keys, what they do]].
export function showKeys(keys) {
  const rows = keys.map(([key, what]) => h("tr", {}, h("th", { scope: "row" }, key.split(" ").map((one) => h("kbd", {}, one))), h("td", {}, what)));
  return ask("Keyboard", h("div", { class: "scroll", tabindex: 0 }, h("table", { class: "keys" }, h("tbody", {}, rows))), [{ text: "Close", value: null, isMain: true }]);
}

// A bar over an earlier version: return, or take it; `onTake` null: it cannot be taken.
export function versionBar(row, { onReturn, onTake }) {
  const what = row ? `Earlier version: ${editText(row)}, by ${row.account}, ${when(row.time)}` : "The network's own result";
  return h("div", { class: "carry", role: "group", "aria-label": "An earlier version is shown" },
    h("span", {}, `${what}. It takes no edits.`), button("Return", onReturn, { class: "main" }), onTake && button("Make this the current one", onTake));
}

// A bar to carry a correction: asks how far and how, shows it, and takes it or not.
export function carryBar(frame, count, { onPreview, onTake, onClose }) {
  const first = h("input", { type: "number", min: "0", max: String(frame), value: String(Math.max(0, frame - 3)), "aria-label": "First frame" });
  const last = h("input", { type: "number", min: String(frame), max: String(count - 1), value: String(Math.min(count - 1, frame + 3)), "aria-label": "Last frame" });
  const by = h("select", { "aria-label": "How the contours are carried" }, h("option", { value: "flow" }, "optical flow"));
  const note = h("span", { role: "status" });
  const take = button("Take it", () => onTake(operation()), { class: "main", disabled: true });
  const operation = () => ({ kind: "carry", frame, first: first.valueAsNumber, last: last.valueAsNumber, by: by.value });
  const show = button("Preview", async () => {
    show.disabled = true;
    note.textContent = "computing";
    const isShown = await onPreview(operation());
    note.textContent = isShown ? "Dashed: the preview. Step through it, then take it or not." : "";
    show.disabled = false;
    take.disabled = !isShown;
  });
  for (const input of [first, last, by]) input.addEventListener("input", () => { take.disabled = true; });
  return h("div", { class: "carry", role: "group", "aria-label": "Carry this correction to neighboring frames" },
    h("span", {}, `Carry frame ${frame} to frames`), first, "to", last, "by", by, show, take, button("Discard", onClose), note);
}
