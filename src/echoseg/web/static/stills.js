// ED and ES of the beat that is shown, side by side, with contours, long axis and disks.

import { h } from "./dom.js";
import { Screen } from "./screen.js";
import { quantity } from "./words.js";

const MARGIN = 0.25; // around the heart, of its size
const NAMES = { ed: "End of diastole", es: "End of systole" };

export class Stills {
  constructor(pane) {
    Object.assign(this, { pane, pictures: {} });
    this.screens = {};
    this.captions = {};
    this.element = h("div", { class: "stills" }, Object.entries(NAMES).map(([kind, name]) => {
      const canvas = h("canvas", { role: "img", "aria-label": name });
      this.captions[kind] = h("figcaption", {}, name);
      const open = h("button", { type: "button", class: "still", "aria-label": `Go to ${name.toLowerCase()}`, on: { click: () => this.#open(kind) } }, canvas);
      this.screens[kind] = canvas;
      return h("figure", { class: kind }, open, this.captions[kind]);
    }));
  }

  // Make the screens; the element must be in the page by now.
  attach(size) {
    for (const kind of Object.keys(NAMES)) {
      this.screens[kind] = new Screen(this.screens[kind], size);
      this.screens[kind].addEventListener("change", () => this.draw(kind));
    }
  }

  #open(kind) {
    const frame = this.pane.session.reading[`${kind}_frame`];
    if (frame !== null) this.pane.player.seek(frame);
  }

  show() {
    const { reading } = this.pane.session;
    if (!reading) return;
    if (reading.ed_frame !== null && this.fitted !== reading.ed_frame) { this.fitted = reading.ed_frame; this.frame(); }
    for (const kind of Object.keys(NAMES)) {
      const frame = reading[`${kind}_frame`];
      if (frame !== null && this.pictures[kind]?.frame !== frame) {
        this.pictures[kind] = { frame };
        this.pane.frames.load(frame).then((picture) => {
          if (this.pictures[kind].frame === frame) { this.pictures[kind].picture = picture; this.draw(kind); }
        }, () => {});
      }
      this.draw(kind);
    }
  }

  // Both pictures show the heart at ED, at the same scale.
  frame() {
    const { reading } = this.pane.session;
    const points = Object.values(this.pane.session.at(reading.ed_frame)).flatMap((contour) => contour.points);
    if (!points.length) return;
    for (const kind of Object.keys(NAMES)) this.screens[kind].fit(points, MARGIN);
  }

  draw(kind) {
    const { session, ui } = this.pane;
    const { reading } = session;
    const screen = this.screens[kind];
    const frame = reading?.[`${kind}_frame`] ?? null;
    const caption = this.captions[kind];
    if (frame === null) {
      screen.drawPicture(null);
      caption.textContent = reading ? `${NAMES[kind]}: not seen in this clip` : NAMES[kind];
      return;
    }
    screen.drawPicture(this.pictures[kind]?.picture, ui);
    const disks = reading.disks.find((lines) => lines.frame === frame);
    if (disks) screen.drawDisks(disks, ui.opacity);
    screen.drawContours(session.at(frame), { ...ui, active: null });
    const volume = reading.curve.unit === "ml" && reading.ef.kind === "plain" ? `, ${quantity(reading.curve.volumes[frame], "ml")}` : "";
    caption.textContent = `${NAMES[kind]}, frame ${frame}${volume}`;
    screen.canvas.setAttribute("aria-label", `${caption.textContent}${disks ? `, long axis and ${disks.disks.length} disks drawn` : ""}`);
  }
}
