// What a hand does on the picture: pan, pinch, brush, erase, and clicks for the scale.

const MIN_STEP = 0.25; // of the radius: how far apart points of a stroke are
const MAX_STROKE_POINTS = 2000;
const WHEEL_ZOOM = 1.0015;

export class Pointer {
  constructor(pane, element) {
    Object.assign(this, { pane, element, fingers: new Map(), stroke: null, hover: null, ticks: [] });
    element.addEventListener("pointerdown", (event) => this.#down(event));
    element.addEventListener("pointermove", (event) => this.#move(event));
    for (const type of ["pointerup", "pointercancel"]) element.addEventListener(type, (event) => this.#up(event, type));
    element.addEventListener("pointerleave", () => { this.hover = null; pane.draw(); });
    element.addEventListener("dblclick", (event) => this.#doubleClick(event));
    element.addEventListener("contextmenu", (event) => pane.ui.tool === "brush" && event.preventDefault());
    element.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  // The place of an event in pixels of the page, from the corner of the picture.
  #at(event) {
    const box = this.element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  get #brushes() { return (this.pane.ui.tool === "brush" || this.pane.ui.tool === "erase") && !this.pane.isClosed; }

  #down(event) {
    if (event.target.closest("button")) return;
    const place = this.#at(event);
    this.fingers.set(event.pointerId, place);
    this.element.setPointerCapture(event.pointerId);
    if (this.fingers.size > 1) { this.stroke = null; return; }
    if (this.#brushes && event.button !== 1) {
      event.preventDefault();
      this.pane.player.pause();
      this.stroke = { line: [this.pane.screen.toClip(place)], isErasing: this.pane.ui.tool === "erase" || event.button === 2 };
      this.pane.draw();
    } else if (this.pane.ui.tool === "scale" && event.button === 0) {
      this.ticks.push(this.pane.screen.toClip(place));
      this.pane.draw();
      if (this.ticks.length === 2) this.pane.askScale(this.ticks.splice(0));
    }
  }

  #move(event) {
    const place = this.#at(event);
    const before = this.fingers.get(event.pointerId);
    this.hover = this.pane.screen.toClip(place);
    if (!before) { if (this.#brushes || this.pane.ui.tool === "scale") this.pane.draw(); return; }
    if (this.fingers.size === 2) this.#pinch(event.pointerId, before, place);
    else if (this.stroke) this.#extend(event);
    else if (this.pane.ui.tool !== "scale") this.pane.screen.panBy([place[0] - before[0], place[1] - before[1]]);
    this.fingers.set(event.pointerId, place);
  }

  #pinch(id, before, place) {
    const [, other] = [...this.fingers].find(([finger]) => finger !== id);
    const apart = ([x, y]) => Math.hypot(x - other[0], y - other[1]) || 1;
    const middle = [(place[0] + other[0]) / 2, (place[1] + other[1]) / 2];
    this.pane.screen.zoomBy(apart(place) / apart(before), middle);
    this.pane.screen.panBy([(place[0] - before[0]) / 2, (place[1] - before[1]) / 2]);
  }

  #extend(event) {
    const { line } = this.stroke;
    for (const sample of event.getCoalescedEvents?.() ?? [event]) {
      const [x, y] = this.pane.screen.toClip(this.#at(sample));
      const [lastX, lastY] = line.at(-1);
      const isFar = Math.hypot(x - lastX, y - lastY) >= MIN_STEP * this.pane.ui.radius;
      if (isFar && line.length < MAX_STROKE_POINTS) line.push([x, y]);
    }
    this.pane.draw();
  }

  #up(event, type) {
    this.fingers.delete(event.pointerId);
    if (!this.stroke) return;
    const stroke = this.stroke;
    this.stroke = null;
    if (type === "pointerup") this.pane.brush(stroke.line, stroke.isErasing);
    this.pane.draw();
  }

  #doubleClick(event) {
    if (event.target.closest("button")) return;
    const { ui, screen, handles } = this.pane;
    if (ui.tool === "points") handles.add(screen.toClip(this.#at(event)));
    else if (ui.tool === "view") screen.reset();
  }

  #wheel(event) {
    const { scrollHeight, clientHeight } = document.documentElement;
    if (!event.ctrlKey && scrollHeight > clientHeight + 1) return; // the wheel scrolls the page
    event.preventDefault();
    this.pane.screen.zoomBy(WHEEL_ZOOM ** -event.deltaY, this.#at(event));
  }
}
