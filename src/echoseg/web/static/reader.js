// The reader page: one clip, or A4C and A2C of a study beside each other.

import { get } from "./api.js";
import { showExports, showKeys } from "./dialogs.js";
import { button, find, h, isTyping, say } from "./dom.js";
import { makePane } from "./pane.js";
import { keepInStep, stepText } from "./step.js";
import { efText, quantity } from "./words.js";

const KEYS = [
  ["Space", "play, pause"], ["← →", "a frame back, forward; with Shift ten"], ["Home End", "first, last frame"],
  ["v p b e k", "tool: look, points, brush, erase, scale"], ["1 2 3", "structure: endocardium, epicardium, left atrium"], ["t", "contours off and on"],
  ["Tab", "to the next control point; arrow keys move it by 1 px, with Shift by 10, with Alt alone"],
  ["a Delete", "add, remove a control point (or double click)"], ["[ ]", "smaller, larger brush"],
  ["Ctrl+Z Ctrl+Shift+Z", "undo, redo"], ["c", "carry the correction to neighboring frames"],
  ["d s", "set ED, ES to this frame"], ["x", "exclude the beat, or take it in again"], ["+ - 0", "zoom; Ctrl and wheel, or two fingers"],
  ["h", "history"], ["n", "next clip to read"], ["w", "worklist"], ["?", "these keys"],
];

const main = find("reader");
const panes = [];
let current = null;

const actions = {
  " ": (pane) => pane.player.toggle(),
  ArrowLeft: (pane, event) => pane.player.step(event.shiftKey ? -10 : -1),
  ArrowRight: (pane, event) => pane.player.step(event.shiftKey ? 10 : 1),
  Home: (pane) => pane.player.seek(0),
  End: (pane) => pane.player.seek(pane.player.count - 1),
  v: (pane) => pane.setTool("view"), p: (pane) => pane.setTool("points"), b: (pane) => pane.setTool("brush"),
  e: (pane) => pane.setTool("erase"), k: (pane) => pane.setTool("scale"), Escape: (pane) => pane.setTool("view"),
  1: (pane) => pane.setActive("lv_cavity"), 2: (pane) => pane.setActive("lv_epi"), 3: (pane) => pane.setActive("la"),
  t: (pane) => pane.toggleContours(), a: (pane) => pane.handles.add(),
  "[": (pane) => pane.setRadius(pane.ui.radius / 1.25), "]": (pane) => pane.setRadius(pane.ui.radius * 1.25),
  c: (pane) => pane.carry(), d: (pane) => pane.markHere("ed"), s: (pane) => pane.markHere("es"), x: (pane) => pane.excludeHere(),
  "+": (pane) => pane.screen.zoomBy(1.4), "=": (pane) => pane.screen.zoomBy(1.4), "-": (pane) => pane.screen.zoomBy(1 / 1.4), 0: (pane) => pane.screen.reset(),
  h: (pane) => pane.showHistory(), n: () => nextClip(), w: () => location.assign("/"), "?": () => showKeys(KEYS),
};
const VIEWING = new Set([" ", "ArrowLeft", "ArrowRight", "Home", "End", "v", "1", "2", "3", "t", "+", "=", "-", "0", "n", "w", "?"]);
const EDITING = new Set(["p", "b", "e", "k", "a", "c", "d", "s", "x"]);

function undoKey(event) {
  if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return false;
  if (event.target.closest("input:not([type=range]), textarea") || document.querySelector("dialog[open]")) return false;
  event.preventDefault();
  if (event.shiftKey) current.redo(); else current.undo();
  return true;
}

// Menus close when something else is done.
document.addEventListener("pointerdown", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
  if (event.key === "Escape" && event.target.matches("input, select, summary")) event.target.blur();
  if (!current || (!current.session.reading && !VIEWING.has(event.key)) || undoKey(event) || event.defaultPrevented || isTyping(event)) return;
  const isButton = event.target.closest("button, summary, a, [role=slider], input[type=checkbox]");
  if (isButton && (event.key === " " || event.key === "Enter")) return;
  const action = actions[event.key];
  if (!action) return;
  event.preventDefault();
  if (EDITING.has(event.key) && current.isRefused()) return;
  action(current, event);
});

async function nextClip() {
  const query = new URLSearchParams({ filter: "undecided", state: "ready", sort: "priority", descending: "true", count: "20" });
  const { rows } = await get(`/api/clips?${query}`);
  const next = rows.find((row) => !panes.some((pane) => pane.clip === row.id));
  if (next) location.assign(`/clip/${encodeURIComponent(next.id)}`);
  else say("Every other clip has been accepted or rejected.");
}

function heading(name, links) {
  find("title").replaceChildren(h("h1", {}, name), ...links);
  document.title = `${name} - echoseg`;
}

function biplanePart(biplane) {
  const ef = biplane.ef;
  const row = (label, value) => h("div", {}, h("dt", {}, label), h("dd", {}, value));
  return h("section", { class: "biplane", "aria-live": "polite" }, h("h2", {}, "Ejection fraction, biplane"),
    h("p", { class: ef.kind === "plain" ? "headline" : "headline caution" }, efText(ef)),
    ef.reason && h("p", { class: "caution" }, ef.reason),
    biplane.warnings.map((text) => h("p", { class: "caution" }, text)),
    ef.kind === "plain" && h("dl", {}, row("EDV", quantity(biplane.edv_ml, "ml", "no scale")), row("ESV", quantity(biplane.esv_ml, "ml", "no scale"))));
}

async function showBiplane(study, place) {
  try {
    const biplane = await get(`/api/studies/${encodeURIComponent(study)}/biplane`);
    place.replaceChildren(biplanePart(biplane));
    return biplane.clips;
  } catch (error) {
    place.replaceChildren(h("p", { class: "caution" }, error.message));
    return [];
  }
}

async function open(detail, slot) {
  const pane = makePane(detail, slot, () => detailOf(detail.row.id));
  panes.push(pane);
  current ??= pane;
  for (const type of ["pointerdown", "focusin"]) pane.element.addEventListener(type, () => { current = pane; });
  const begun = pane.start(main);
  if (slot === 2) say("Second read: the first reading is not shown.");
  await begun;
  return pane;
}

const WAIT_MS = 300;

function cannotShow(error) {
  main.replaceChildren(h("div", { class: "empty" }, h("h2", {}, "This clip cannot be shown"), h("p", {}, error.message), h("a", { href: "/" }, "Worklist")));
}

function waitFor(clip, row) {
  const isFailed = row.state === "failed";
  const place = row.state === "queued" ? "It waits for its turn." : "Its file is being read.";
  main.replaceChildren(h("div", { class: "empty" }, h("h2", {}, isFailed ? "This clip could not be measured" : "This clip is being measured"),
    h("p", {}, isFailed ? row.reason : row.num_frames ? `${row.frames_done} of ${row.num_frames} frames` : place), h("a", { href: "/" }, "Worklist")));
  if (!isFailed) setTimeout(() => begin(clip).catch(cannotShow), WAIT_MS);
}

const detailOf = (clip) => get(`/api/clips/${encodeURIComponent(clip)}`);

async function begin(clip) {
  const detail = await detailOf(clip);
  const { state } = detail.row;
  if (state === "failed" || (state !== "ready" && !detail.num_frames)) { waitFor(clip, detail.row); return; }
  main.replaceChildren();
  const slot = Number(new URLSearchParams(location.search).get("slot")) || detail.slot;
  const { row } = detail;
  const views = new Set(detail.study.map((other) => other.view));
  const others = views.has("A4C") && views.has("A2C");
  heading(row.name, [slot === 2 && h("span", { class: "badge" }, "second read, blinded"), others && slot === 1 && h("a", { href: `/study/${encodeURIComponent(row.study)}` }, "Both views")].filter(Boolean));
  await open(detail, slot);
}

async function beginStudy(study) {
  const place = h("div", { class: "biplane-place" });
  main.before(place);
  main.classList.add("two");
  heading("Two views", []);
  const clips = await showBiplane(study, place);
  for (const clip of clips) {
    const detail = await detailOf(clip);
    const pane = await open(detail, detail.slot);
    pane.session.addEventListener("state", () => { if (!pane.session.numWaiting) showBiplane(study, place); });
  }
  if (panes.length < 2) return;
  find("actions").prepend(button("Export both views", () => showExports(study)));
  const isOn = h("input", { type: "checkbox", checked: true });
  const words = h("span", {}, stepText(panes));
  for (const { session } of panes) session.addEventListener("reading", () => { words.textContent = stepText(panes); });
  place.after(h("label", { class: "in-step" }, isOn, " Both clips ", words));
  keepInStep(panes, () => isOn.checked);
}

find("actions").append(button("Next clip", nextClip, { key: "n" }), button("Keys", () => showKeys(KEYS), { key: "?" }));
const { clip, study } = main.dataset;
(clip ? begin(clip) : beginStudy(study)).catch(cannotShow);
