// The tools of a pane: what a hand does, which structure, how it is shown, and what is stated.

import { button, h } from "./dom.js";
import { STRUCTURES } from "./words.js";

const TOOLS = [
  ["view", "Look", "v"], ["points", "Points", "p"], ["brush", "Brush", "b"], ["erase", "Erase", "e"], ["scale", "Scale", "k"],
];
const SHORT = { lv_cavity: "Endo", lv_epi: "Epi", la: "LA" };
const VIEWS = ["A4C", "A2C"];

const group = (label, ...children) => h("div", { class: "group", role: "group", "aria-label": label }, children);

function slider(label, value, [min, max], onInput) {
  const input = h("input", { type: "range", min: String(min), max: String(max), step: "0.05", value: String(value) });
  input.addEventListener("input", () => onInput(input.valueAsNumber));
  return h("label", { class: "slider" }, label, input);
}

function display(pane) {
  const set = (name) => (value) => { pane.ui[name] = value; pane.draw(); pane.stills.show(); };
  const disks = h("input", { type: "checkbox", on: { change: () => set("disks")(disks.checked) } });
  const zoom = (factor) => () => (factor ? pane.screen.zoomBy(factor) : pane.screen.reset());
  return h("details", { class: "menu" }, h("summary", {}, "Display"), h("div", { class: "popover" },
    slider("Contours", 1, [0, 1], set("opacity")), slider("Brightness", 1, [0.5, 2.5], set("brightness")), slider("Contrast", 1, [0.5, 2.5], set("contrast")),
    h("label", {}, disks, " Disks and axis on ED and ES"),
    group("Zoom", button("Zoom in", zoom(1.4), { key: "+" }), button("Zoom out", zoom(1 / 1.4), { key: "-" }), button("Fit", zoom(0), { key: "0" }))));
}

function structures(pane) {
  return Object.entries(SHORT).map(([structure, name], i) => {
    const pick = button(name, () => pane.setActive(structure), { key: String(i + 1), title: STRUCTURES[structure], class: `structure ${structure}` });
    const eye = h("input", { type: "checkbox", checked: true, "aria-label": `Show ${STRUCTURES[structure]}`, on: {
      change: () => { pane.ui.show[structure] = eye.checked; pane.draw(); pane.stills.show(); },
    } });
    return { structure, pick, eye };
  });
}

function more(pane) {
  const item = (text, click, key = "") => button(text, () => { menu.open = false; click(); }, { key });
  const other = `/clip/${encodeURIComponent(pane.clip)}?slot=${pane.slot === 1 ? 2 : 1}`;
  const edits = [
    item("Carry to neighbors", () => pane.carry(), "c"), item("Set ED here", () => pane.markHere("ed"), "d"), item("Set ES here", () => pane.markHere("es"), "s"),
    item("Exclude this beat", () => pane.excludeHere(), "x"), item("Add or remove the structure", () => pane.toggleStructure()),
  ];
  const menu = h("details", { class: "menu" }, h("summary", {}, "More"), h("div", { class: "popover" }, edits,
    item("History", () => pane.showHistory(), "h"), item("Export", () => pane.showExports()),
    h("a", { href: other }, pane.slot === 1 ? "Blinded second read" : "First read")));
  return { menu, edits };
}

export function toolbar(pane) {
  const tools = TOOLS.map(([tool, text, key]) => [tool, button(text, () => pane.setTool(tool), { key })]);
  const layers = structures(pane);
  const radius = h("output", { "aria-label": "Radius of the brush" });
  const size = group("Brush", button("−", () => pane.setRadius(pane.ui.radius / 1.25), { key: "[", "aria-label": "Smaller brush" }), radius, button("+", () => pane.setRadius(pane.ui.radius * 1.25), { key: "]", "aria-label": "Larger brush" }));
  const points = group("Control points", button("Add point", () => pane.handles.add(), { key: "a" }), button("Remove point", () => pane.handles.remove(), { key: "Del" }));
  const undo = button("Undo", () => pane.undo(), { key: "Ctrl+Z" });
  const redo = button("Redo", () => pane.redo(), { key: "Ctrl+Shift+Z" });
  const view = h("select", { "aria-label": "View", on: { change: () => pane.edit({ kind: "view", view: view.value }) } });
  const { menu: others, edits } = more(pane);
  const reason = h("input", { class: "reason", maxlength: "500", placeholder: "Reason (optional)", "aria-label": "Reason for the next edits" });
  const element = h("div", { class: "tools", role: "toolbar", "aria-label": "Tools" },
    group("Tool", tools.map(([, one]) => one)), group("Structure", layers.map(({ pick, eye }) => h("span", { class: "layer" }, eye, pick))),
    points, size, group("History", undo, redo), view, display(pane), others, reason);

  const update = () => {
    const { ui, isClosed, isLocked, session: { reading, numWaiting } } = pane;
    for (const [tool, one] of tools) {
      one.setAttribute("aria-pressed", String(ui.tool === tool));
      one.disabled = isLocked && tool !== "view";
    }
    for (const { structure, pick, eye } of layers) {
      pick.setAttribute("aria-pressed", String(ui.active === structure));
      eye.checked = ui.show[structure];
    }
    points.hidden = ui.tool !== "points";
    size.hidden = ui.tool !== "brush" && ui.tool !== "erase";
    reason.hidden = ui.tool === "view" || isClosed;
    radius.textContent = `${ui.radius} px`;
    view.hidden = others.hidden = !reading;
    undo.disabled = redo.disabled = true;
    if (!reading) return;
    undo.disabled = isClosed || (!reading.can_undo && !numWaiting);
    redo.disabled = isClosed || !reading.can_redo;
    for (const one of [view, ...edits]) one.disabled = isClosed;
    const { predicted_view: predicted } = pane.detail;
    const looks = predicted === "cannot tell" ? ", not recognized" : predicted && `, looks like ${predicted}`;
    const unknown = `View not stated${looks || ""}`;
    const views = [...new Set([...VIEWS, reading.view])];
    view.replaceChildren(...views.map((name) => h("option", { value: name, selected: name === reading.view }, name === "unknown" ? unknown : name)));
  };
  update();
  return { element, update, reason };
}
