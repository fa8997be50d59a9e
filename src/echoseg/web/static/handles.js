// Control points as buttons over the picture: a hand, a finger or the arrow keys move them.

import { h } from "./dom.js";
import { addPoint, movePoint, removePoint } from "./shape.js";
import { STRUCTURES } from "./words.js";

const COMMIT_MS = 400; // after the last arrow key
const KIND_NAMES = { septal: ", septal hinge of the annulus", lateral: ", lateral hinge of the annulus", apex: ", apex" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export const rounded = (points) => points.map(([x, y]) => [Math.round(x * 100) / 100, Math.round(y * 100) / 100]);

export class Handles {
  // `pane` gives frame, session, screen, ui; edits are sent by `pane.edit`.
  constructor(pane) {
    this.pane = pane;
    this.element = h("div", { class: "handles", role: "group", "aria-label": "Control points" });
    this.selected = 0;
    this.unsent = null;
    this.isByTab = false; // how the focus goes now; arrow keys move a point that Tab went to
    document.addEventListener("keydown", (event) => { if (event.key === "Tab") this.isByTab = true; }, true);
    document.addEventListener("pointerdown", () => { this.isByTab = false; }, true);
  }

  get contour() {
    const { session, player, ui } = this.pane;
    const contour = session.at(player.frame)[ui.active];
    return contour && { ...contour, kinds: contour.points.map((_, i) => contour.kinds?.[i] ?? "") };
  }

  // Put the buttons where the points are; none while the clip plays or another tool is used.
  place() {
    const { ui, player, screen, isClosed } = this.pane;
    const contour = ui.tool === "points" && !player.isPlaying && !isClosed && ui.show[ui.active] ? this.contour : null;
    const points = contour?.points ?? [];
    while (this.element.children.length > points.length) this.element.lastChild.remove();
    while (this.element.children.length < points.length) this.element.append(this.#button(this.element.children.length));
    points.forEach((point, i) => {
      const handle = this.element.children[i];
      const [x, y] = screen.toPage(point);
      handle.style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
      handle.dataset.kind = contour.kinds[i];
      const place = point.map((value) => value.toFixed(0)).join(", ");
      handle.setAttribute("aria-label", `${STRUCTURES[ui.active]}, point ${i + 1} of ${points.length}${KIND_NAMES[contour.kinds[i]] ?? ""}, at ${place}`);
    });
    this.element.dataset.structure = ui.active;
  }

  #button(index) {
    const handle = h("button", { type: "button", class: "handle" });
    handle.addEventListener("focus", () => this.#select(index));
    handle.addEventListener("blur", () => this.flush());
    handle.addEventListener("pointerdown", (event) => this.#drag(event, handle, index));
    handle.addEventListener("keydown", (event) => this.#key(event, index));
    return handle;
  }

  // A point that gets the focus beyond the edge of a zoomed picture is moved into it.
  #select(index) {
    this.selected = index;
    const { screen, surface } = this.pane;
    const [x, y] = screen.toPage(this.contour.points[index]);
    surface.scrollTo(0, 0);
    if (x < 0 || y < 0 || x > screen.width || y > screen.height) screen.panBy([screen.width / 2 - x, screen.height / 2 - y]);
  }

  #drag(event, handle, index) {
    if (event.button > 0) return;
    event.preventDefault();
    event.stopPropagation();
    this.flush();
    handle.focus({ preventScroll: true });
    handle.setPointerCapture(event.pointerId);
    const { screen, session, player, ui } = this.pane;
    const [before, frame, structure] = [this.contour, player.frame, ui.active];
    const start = [event.clientX, event.clientY];
    let isMoved = false;
    let isCancelled = false;
    const move = (next) => {
      const [sx, sy] = screen.scale;
      const by = [(next.clientX - start[0]) / sx, (next.clientY - start[1]) / sy];
      isMoved ||= Math.hypot(next.clientX - start[0], next.clientY - start[1]) > 2;
      if (isMoved && !isCancelled) session.draw(frame, structure, { ...before, points: movePoint(before, index, this.#inside(before, index, by), next.altKey), is_reader: true });
    };
    const cancel = (key) => {
      if (key.key !== "Escape") return;
      key.stopPropagation();
      isCancelled = true;
      session.draw(frame, structure, before);
    };
    handle.addEventListener("pointermove", move);
    handle.addEventListener("keydown", cancel);
    handle.addEventListener("lostpointercapture", () => {
      handle.removeEventListener("pointermove", move);
      handle.removeEventListener("keydown", cancel);
      if (isMoved && !isCancelled) this.#send(frame, structure);
    }, { once: true });
  }

  // A step that leaves the point in the picture, where it can be seen and taken again.
  #inside(contour, index, by) {
    const { columns, rows } = this.pane.screen;
    return [columns, rows].map((size, axis) => {
      const at = contour.points[index][axis];
      return Math.max(Math.min(0, at), Math.min(Math.max(size - 1, at), at + by[axis])) - at;
    });
  }

  #key(event, index) {
    const { session, player, ui } = this.pane;
    if (ARROWS[event.key] && !this.isByTab) {
      event.currentTarget.blur(); // the page steps the frame; Delete is not for a point of that one
    } else if (ARROWS[event.key]) {
      event.preventDefault();
      event.stopPropagation();
      const by = ARROWS[event.key].map((step) => step * (event.shiftKey ? 10 : 1));
      session.draw(player.frame, ui.active, { ...this.contour, points: movePoint(this.contour, index, this.#inside(this.contour, index, by), event.altKey), is_reader: true });
      this.unsent = [player.frame, ui.active];
      clearTimeout(this.committing);
      this.committing = setTimeout(() => this.flush(), COMMIT_MS);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      event.preventDefault();
      this.remove();
    }
  }

  // Send what the arrow keys have moved.
  flush() {
    clearTimeout(this.committing);
    if (!this.unsent) return;
    const [frame, structure] = this.unsent;
    this.unsent = null;
    this.#send(frame, structure);
  }

  #send(frame, structure) {
    const { points } = this.pane.session.at(frame)[structure];
    this.pane.edit({ kind: "contour", frame, structure, points: rounded(points) });
  }

  // Replace the curve of this frame, and send it; no points: the structure is not there.
  replace(contour, done = "") {
    this.flush();
    if (this.pane.isRefused()) return;
    const { session, player, ui } = this.pane;
    session.draw(player.frame, ui.active, { ...contour, is_reader: true });
    this.pane.edit({ kind: "contour", frame: player.frame, structure: ui.active, points: rounded(contour.points) }, done);
  }

  // Add a point where the curve is nearest to a place, by default half-way after the selected one.
  add(place = null) {
    const contour = this.contour;
    if (!contour) return;
    const { points } = contour;
    const [a, b] = [points[this.selected] ?? points[0], points[(this.selected + 1) % points.length]];
    const added = addPoint(contour, place ?? [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2]);
    if (!added) return;
    this.replace({ points: added.points, kinds: added.kinds });
    this.element.children[added.index]?.focus();
  }

  // Remove the selected point.
  remove() {
    const contour = this.contour;
    const fewer = contour && removePoint(contour, this.selected);
    if (!fewer) return false;
    this.replace(fewer);
    this.element.children[Math.min(this.selected, fewer.points.length - 1)]?.focus();
    return true;
  }
}
