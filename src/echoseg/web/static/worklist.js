// The worklist: what there is, how far it is, what to read next.

import { download, get, post } from "./api.js";
import { showAgreement, showKeys } from "./dialogs.js";
import { ask, button, find, h, isTyping, s, say } from "./dom.js";
import { acceptDrops, addFolder, sendFiles } from "./drop.js";
import { headline, quantity, span, stateText, when } from "./words.js";

const COUNT = 50;
const POLL_MS = { busy: 1000, idle: 10_000 };
const TYPING_MS = 200;
const BANDS = { "": ["", ""], low: ["", "40"], middle: ["40", "50"], high: ["50", ""] };
const KEYS = [
  ["j k", "next, previous clip"], ["Enter", "open it"], ["/", "search"], ["n p", "next, previous page"], ["r", "what to read next"], ["?", "these keys"],
];

const fields = { text: find("text"), filter: find("filter"), state: find("state"), band: find("band"), sort: find("sort") };
const state = { first: 0, total: 0, selected: "", page: null, round: 0 };

function query() {
  const [sort, direction] = fields.sort.value.split(" ");
  const [from, to] = BANDS[fields.band.value];
  const values = { first: state.first, count: COUNT, text: fields.text.value.trim(), filter: fields.filter.value, state: fields.state.value, ef_from: from, ef_to: to, sort, descending: direction === "down" };
  return new URLSearchParams(Object.entries(values).filter(([, value]) => value !== ""));
}

const statementOf = (row) => ({
  kind: row.ef_kind, ef_percent: row.ef_percent,
  interval: row.ef_low_percent === null ? null : { low_percent: row.ef_low_percent, high_percent: row.ef_high_percent },
});

function whisker(ef) {
  const { low_percent: low, high_percent: high } = ef.interval;
  return s("svg", { class: "interval small", viewBox: "0 0 100 12", preserveAspectRatio: "none", role: "img", "aria-label": `interval ${span(ef.interval)}` },
    s("title", {}, `interval ${span(ef.interval)}`), s("rect", { class: "rail", x: 0, y: 5, width: 100, height: 2 }),
    s("rect", { class: "range", x: low, y: 3.5, width: high - low, height: 5 }), s("rect", { class: "value", x: ef.ef_percent - 1, y: 1, width: 2, height: 10 }));
}

function efCell(row) {
  if (row.state === "failed") {
    return h("td", { class: "reason", colspan: 2 }, row.reason, " ", button("Try again", () => retry(row.id), { "aria-label": `Try again: ${row.name}` }));
  }
  if (row.state !== "ready") {
    const share = row.num_frames ? row.frames_done / row.num_frames : null;
    const bar = h("progress", { max: 1, "aria-label": `Progress of ${row.name}`, ...(share === null ? {} : { value: share }) });
    return h("td", { class: "progress", colspan: 2 }, row.state === "queued" ? "" : bar, row.num_frames && row.state === "running" ? ` ${row.frames_done} of ${row.num_frames} frames` : "");
  }
  const ef = statementOf(row);
  if (ef.kind === "plain") return [h("td", { class: "number" }, headline(ef)), h("td", { class: "whisker" }, ef.interval && whisker(ef))];
  const words = ef.kind === "part_of_beat" ? `${quantity(ef.ef_percent, "%")}, part of a beat` : headline(ef);
  return h("td", { class: "caution", colspan: 2, title: row.reason }, words);
}

function line(row) {
  const name = row.state === "queued" ? h("span", {}, row.name) : h("a", { href: `/clip/${encodeURIComponent(row.id)}` }, row.name);
  const marks = [row.is_corrected && "corrected", row.decision].filter(Boolean).join(", ");
  return h("tr", { id: `row-${row.id}`, class: row.state, data: { id: row.id } },
    h("th", { scope: "row" }, name), h("td", {}, row.view === "unknown" ? "" : row.view), h("td", {}, stateText(row.state)), efCell(row),
    h("td", {}, marks), h("td", { class: "when" }, when(row.added_s)));
}

async function retry(id) {
  try { await post(`/api/clips/${encodeURIComponent(id)}/retry`, {}); } catch (error) { say(error.message, { isError: true }); }
  load();
}

const lines = new Map(); // of the rows that are shown: a row that did not change stays as it is

function lineOf(row) {
  const text = JSON.stringify(row);
  const known = lines.get(row.id);
  if (known?.text === text) return known.element;
  const element = known ? updated(known.element, line(row)) : line(row);
  lines.set(row.id, { text, element });
  return element;
}

// A row as it is now; a link that did not change stays, so that a click on it is not lost.
function updated(element, next) {
  if (!element.cells[0].isEqualNode(next.cells[0])) return next;
  while (element.cells.length > 1) element.lastChild.remove();
  element.append(...[...next.cells].slice(1));
  element.className = next.className;
  return element;
}

function showRows(rows) {
  const elements = rows.map(lineOf);
  const shown = [...find("rows").children];
  if (elements.length !== shown.length || elements.some((element, i) => element !== shown[i])) find("rows").replaceChildren(...elements);
  const ids = new Set(rows.map((row) => row.id));
  for (const id of lines.keys()) if (!ids.has(id)) lines.delete(id);
  mark();
}

function mark() {
  for (const row of find("rows").children) {
    row.classList.toggle("selected", row.dataset.id === state.selected);
    row.setAttribute("aria-selected", String(row.dataset.id === state.selected));
  }
}

function show(page) {
  const focused = document.activeElement?.closest?.("tr[data-id]")?.dataset.id;
  state.page = page;
  state.total = page.total;
  const all = Object.values(page.counts).reduce((sum, count) => sum + count, 0);
  find("empty").hidden = all > 0;
  find("list").hidden = all === 0;
  showRows(page.rows);
  find("nothing").hidden = page.total > 0 || all === 0;
  const last = Math.min(page.total, state.first + page.rows.length);
  find("place").textContent = page.total ? `${state.first + 1} to ${last} of ${page.total}` : "";
  find("before").disabled = state.first === 0;
  find("after").disabled = last >= page.total;
  find("counts").textContent = ["running", "queued", "failed"].filter((name) => page.counts[name]).map((name) => `${page.counts[name]} ${stateText(name)}`).join(", ");
  if (focused) document.querySelector(`#row-${CSS.escape(focused)} a`)?.focus();
}

async function load() {
  const round = ++state.round;
  clearTimeout(state.polling);
  let isBusy = false;
  try {
    const page = await get(`/api/clips?${query()}`);
    if (round !== state.round) return;
    show(page);
    isBusy = Boolean(page.counts.queued || page.counts.running);
  } catch (error) {
    say(error.message, { isError: true });
  }
  state.polling = setTimeout(load, isBusy ? POLL_MS.busy : POLL_MS.idle);
}

function go(first) {
  state.first = Math.max(0, first);
  state.selected = "";
  return load();
}

function select(by) {
  const rows = [...find("rows").children];
  const at = rows.findIndex((row) => row.dataset.id === state.selected);
  const row = rows[Math.min(rows.length - 1, Math.max(0, at + by))];
  if (!row) return;
  state.selected = row.dataset.id;
  mark();
  (row.querySelector("a") ?? row).focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

async function readNext() {
  const { rows } = await get("/api/clips?filter=undecided&state=ready&sort=priority&descending=true&count=1");
  if (rows.length) location.assign(`/clip/${encodeURIComponent(rows[0].id)}`);
  else say("No clip waits to be read.");
}

async function askFolder() {
  const path = h("input", { required: true, autofocus: true, "aria-label": "Folder or file", placeholder: "/data/clips" });
  const body = [h("p", {}, "A folder or file of the machine that the server runs on. Files stay where they are."), path];
  if (!await ask("Add a folder", body, [{ text: "Cancel", value: null }, { text: "Add", value: true, isMain: true }])) return;
  try { await addFolder(path.value.trim(), load); } catch (error) { say(error.message, { isError: true }); }
}

async function askTraining() {
  const folder = h("input", { required: true, autofocus: true, "aria-label": "New folder of the server", placeholder: "/data/corrected" });
  const body = [h("p", {}, "Clips whose contours were corrected and accepted are written with their masks to a new folder of the machine that the server runs on, as `echoseg train` reads them."), folder];
  if (!await ask("Corrected clips as training data", body, [{ text: "Cancel", value: null }, { text: "Write", value: true, isMain: true }])) return;
  try {
    const { num_clips: count, num_unsigned: unsigned } = await post("/api/training", { folder: folder.value.trim() });
    say(`${count} clips written${unsigned ? `; ${unsigned} more are corrected and not accepted yet` : ""}.`);
  } catch (error) { say(error.message, { isError: true }); }
}

async function agreement() {
  try { await showAgreement(await get("/api/agreement")); } catch (error) { say(error.message, { isError: true }); }
}

function pick(isFolder) {
  const input = h("input", { type: "file", multiple: true });
  if (isFolder) input.webkitdirectory = true;
  input.addEventListener("change", () => sendFiles([...input.files].map((file) => ({ file, name: file.webkitRelativePath || file.name })), load));
  input.click();
}

const actions = {
  j: () => select(1), k: () => select(-1), Enter: () => state.selected && document.querySelector(`#row-${CSS.escape(state.selected)} a`)?.click(),
  "/": () => fields.text.focus(), n: () => !find("after").disabled && go(state.first + COUNT), p: () => go(state.first - COUNT), r: readNext, "?": () => showKeys(KEYS),
};

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && event.target === fields.text) { fields.text.blur(); return; }
  if (isTyping(event) || (event.key === "Enter" && event.target.closest("a, button, summary"))) return;
  if (!actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
});

let typing = 0;
fields.text.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => go(0), TYPING_MS); });
for (const name of ["filter", "state", "band", "sort"]) fields[name].addEventListener("change", () => go(0));
find("before").addEventListener("click", () => go(state.first - COUNT));
find("after").addEventListener("click", () => go(state.first + COUNT));
find("rows").addEventListener("focusin", (event) => { state.selected = event.target.closest("tr")?.dataset.id ?? ""; mark(); });
for (const place of document.querySelectorAll("[data-add]")) {
  place.append(button("Add files", () => pick(false), { class: "main" }), button("Add a folder of this computer", () => pick(true)),
    place.dataset.admin ? button("Add a folder of the server", askFolder) : "");
}
find("actions").append(button("Read next", readNext, { key: "r", class: "main" }), button("Keys", () => showKeys(KEYS), { key: "?" }));
find("agreement").addEventListener("click", agreement);
find("training")?.addEventListener("click", askTraining);
find("table-export").addEventListener("click", () => {
  download(`/api/export.csv?${query()}`, "registry.csv").catch((error) => say(error.message, { isError: true }));
});
acceptDrops(load);
load();
