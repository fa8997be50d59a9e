// The volume curve as SVG: click or drag to seek; ED and ES of every beat can be moved.

import { s } from "./dom.js";
import { quantity, seconds, span } from "./words.js";

const EDGE = { left: 44, right: 14, top: 34, bottom: 24 };
const WIDE = 620; // in px, from which the words of the legend fit
const COMMIT_MS = 500; // after the last arrow key
const NAMES = { ed: "ED", es: "ES" };

const ticks = (low, high, count) => {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const values = [];
  for (let value = Math.ceil(low / step) * step; value <= high + 1e-9; value += step) values.push(value);
  return { values, digits: Math.max(0, -Math.floor(Math.log10(step))) };
};

export class VolumeCurve {
  // `onMove(beat, kind, frame)` is called when a mark was moved, `kind` "ed" or "es".
  constructor(player, { onMove }) {
    Object.assign(this, { player, onMove, reading: null });
    this.svg = s("svg", { class: "curve", role: "group", "aria-label": "Left ventricular volume over time" });
    this.cursor = s("line", { class: "cursor" });
    this.dot = s("circle", { class: "dot", r: 4 });
    this.svg.addEventListener("pointerdown", (event) => this.#press(event));
    player.addEventListener("frame", () => this.follow());
    new ResizeObserver(() => this.reading && this.show(this.reading)).observe(this.svg);
  }

  show(reading) {
    const focused = document.activeElement?.dataset?.mark;
    const isInside = this.svg.contains(document.activeElement);
    this.reading = reading;
    this.width = this.svg.clientWidth || 600;
    this.height = this.svg.clientHeight || 180;
    const { volumes, smoothed } = reading.curve;
    this.values = smoothed.some((value) => value !== null) ? smoothed : volumes;
    const all = [...volumes, ...this.values].filter((value) => value !== null);
    this.top = Math.max(...all, 0) * 1.08 || 1;
    this.svg.replaceChildren(
      ...this.#axes(), ...this.#beats(), ...this.#interval(),
      this.#line("raw", volumes), this.#line("line", this.values), this.cursor, this.dot,
      ...this.#rWaves(), ...this.#marks(),
    );
    if (isInside && focused) this.svg.querySelector(`[data-mark="${focused}"]`)?.focus();
    this.follow();
  }

  #x(time) { return EDGE.left + (time / (this.player.times.at(-1) || 1)) * (this.width - EDGE.left - EDGE.right); }

  #y(value) { return this.height - EDGE.bottom - (value / this.top) * (this.height - EDGE.top - EDGE.bottom); }

  #frameX(frame) { return this.#x(this.player.times[frame]); }

  follow() {
    if (!this.reading) return;
    const x = this.#x(this.player.time);
    const value = this.values[this.player.frame];
    for (const [name, value] of Object.entries({ x1: x, x2: x, y1: EDGE.top, y2: this.height - EDGE.bottom })) this.cursor.setAttribute(name, value);
    this.dot.setAttribute("cx", x);
    this.dot.setAttribute("cy", value === null || value === undefined ? -99 : this.#y(value));
  }

  #axes() {
    const isMl = this.reading.curve.unit === "ml";
    const levels = ticks(0, this.top, 4);
    const times = ticks(0, this.player.times.at(-1), 8);
    const text = (x, y, anchor, words) => s("text", { x, y, "text-anchor": anchor }, words);
    return [
      ...levels.values.map((value) => s("line", { class: "grid", x1: EDGE.left, x2: this.width - EDGE.right, y1: this.#y(value), y2: this.#y(value) })),
      ...(isMl ? levels.values.map((value) => text(EDGE.left - 6, this.#y(value) + 4, "end", value.toFixed(levels.digits))) : []),
      text(8, 16, "start", isMl ? "LV volume, ml" : "LV volume, relative (no scale)"),
      ...times.values.map((value) => text(this.#x(value), this.height - 7, "middle", value.toFixed(times.digits))),
      text(this.width - 2, this.height - 7, "end", "s"),
    ];
  }

  #line(name, values) {
    let d = "";
    let isDown = false;
    values.forEach((value, frame) => {
      if (value === null) { isDown = false; return; }
      d += `${isDown ? "L" : "M"}${this.#frameX(frame).toFixed(1)} ${this.#y(value).toFixed(1)}`;
      isDown = true;
    });
    return s("path", { class: name, d });
  }

  // Beats that are not part of the mean are dimmed from ED to ES.
  #beats() {
    return this.reading.beats.filter((beat) => beat.is_excluded || beat.left_out).map((beat) => {
      const [x, end] = [this.#frameX(beat.ed_frame), this.#frameX(beat.es_frame)].sort((a, b) => a - b);
      return s("rect", { class: "excluded", x, width: Math.max(2, end - x), y: EDGE.top, height: this.height - EDGE.top - EDGE.bottom },
        s("title", {}, "Not part of the mean"));
    });
  }

  // What the interval of the EF means for the ES volume of the beat that is shown, shaded over that
  // beat. Only the EF has a calibrated interval; the volume of a single frame has none.
  #interval() {
    const { ef, ed_frame: ed, es_frame: es } = this.reading;
    if (!ef.interval || ef.kind === "unreliable" || ed === null || es === null || !this.values[ed]) return [];
    const volumes = [ef.interval.high_percent, ef.interval.low_percent].map((percent) => this.values[ed] * (1 - percent / 100));
    const [bottom, top] = volumes.map((volume) => this.#y(volume));
    const [x, [left, right]] = [this.#frameX(es), this.#beatEnds(ed, es)];
    const volume = this.reading.curve.unit === "ml" ? `: ${volumes.map((one) => one.toFixed(0)).join(" to ")}\u00a0ml` : "";
    const words = `ES volume for an EF of ${span(ef.interval)}, with this ED volume${volume}`;
    const cap = (y) => s("line", { x1: x - 6, x2: x + 6, y1: y, y2: y });
    return [s("g", { class: "interval-band" }, s("title", {}, words),
      s("rect", { x: left, width: right - left, y: top, height: Math.max(1, bottom - top) }), cap(top), cap(bottom), s("line", { x1: x, x2: x, y1: top, y2: bottom })),
    s("g", { class: "legend" }, s("rect", { class: "interval-key", x: this.width - EDGE.right - 10, y: 8, width: 10, height: 10 }),
      s("text", { x: this.width - EDGE.right - 15, y: 17, "text-anchor": "end" }, this.width < WIDE ? "ES volume by the EF interval" : words))];
  }

  // From where to where the beat of ED and ES reaches: to the next ED, or to the end of the clip.
  #beatEnds(ed, es) {
    const first = Math.min(ed, es);
    const next = this.reading.beats.map((beat) => beat.ed_frame).filter((frame) => frame > Math.max(ed, es));
    return [first, next.length ? Math.min(...next) : this.player.count - 1].map((frame) => this.#frameX(frame));
  }

  #rWaves() {
    return this.reading.curve.r_wave_times_s.map((time) => s("g", { class: "r-wave" }, s("title", {}, `R wave, ${seconds(time)}`),
      s("line", { x1: this.#x(time), x2: this.#x(time), y1: this.height - EDGE.bottom - 12, y2: this.height - EDGE.bottom }),
      s("text", { x: this.#x(time), y: this.height - EDGE.bottom - 15, "text-anchor": "middle" }, "R")));
  }

  #marks() {
    const { beats } = this.reading;
    const kinds = ["ed", "es"];
    const lone = beats.length ? [] : kinds.filter((kind) => this.reading[`${kind}_frame`] !== null).map((kind) => this.#loneMark(kind));
    return [...lone, ...beats.flatMap((beat, index) => kinds.map((kind) => this.#mark(beat, index, kind)))];
  }

  // The largest and the smallest volume of a clip without a whole beat.
  #loneMark(kind) {
    const frame = this.reading[`${kind}_frame`];
    return s("g", { class: `mark ${kind} shown`, transform: `translate(${this.#frameX(frame)} ${this.#y(this.values[frame] ?? 0)})` },
      s("title", {}, `${NAMES[kind]}, frame ${frame}: not of a whole beat`), s("circle", { r: 6 }), this.#name(kind));
  }

  #name(kind) { return s("text", { y: kind === "ed" ? -10 : 19, "text-anchor": "middle" }, NAMES[kind]); }

  #mark(beat, index, kind) {
    const frame = beat[`${kind}_frame`];
    const value = this.values[frame] ?? 0;
    const label = `${NAMES[kind]} of beat ${index + 1}`;
    const isShown = frame === this.reading[`${kind}_frame`];
    const mark = s("g", {
      class: `mark ${kind}${isShown ? " shown" : ""}${beat.is_excluded || beat.left_out ? " out" : ""}`,
      transform: `translate(${this.#frameX(frame)} ${this.#y(value)})`, "data-mark": `${kind}${index}`,
      tabindex: 0, role: "slider", "aria-label": label, "aria-disabled": String(this.#isClosed), "aria-valuemin": 0, "aria-valuemax": this.player.count - 1,
      "aria-valuenow": frame, "aria-valuetext": `frame ${frame}, ${this.reading.curve.unit === "ml" ? quantity(value, "ml") : "relative volume"}`,
    }, s("title", {}, `${label}, frame ${frame}${this.#isClosed ? "" : ": drag, or arrow keys"}`), s("circle", { class: "touch", r: 15 }), s("circle", { r: isShown ? 6 : 4.5 }),
    this.#name(kind));
    mark.addEventListener("keydown", (event) => this.#key(event, mark, index, kind));
    return mark;
  }

  #timeAt(event) {
    const box = this.svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * this.width;
    return ((x - EDGE.left) / (this.width - EDGE.left - EDGE.right)) * this.player.times.at(-1);
  }

  #press(event) {
    if (event.button > 0) return;
    event.preventDefault();
    const mark = event.target.closest(".mark[data-mark]");
    mark?.focus();
    this.svg.setPointerCapture(event.pointerId);
    let isMoved = false;
    const move = (next) => {
      isMoved ||= Math.abs(next.clientX - event.clientX) > 3;
      const frame = this.player.nearest(this.#timeAt(next));
      if (mark && isMoved) this.#place(mark, frame);
      if (!mark || isMoved) this.player.seek(frame);
    };
    const end = () => {
      this.svg.removeEventListener("pointermove", move);
      if (mark && isMoved) this.#commit(mark);
      else if (mark) this.player.seek(Number(mark.getAttribute("aria-valuenow")));
      mark?.blur(); // arrow keys step the frame again
    };
    this.svg.addEventListener("pointermove", move);
    this.svg.addEventListener("lostpointercapture", end, { once: true });
    move(event);
  }

  // Whether the marks stay: the reading is signed, or an earlier version.
  get #isClosed() { return Boolean(this.reading.decision || this.reading.is_past); }

  #place(mark, frame) {
    if (this.#isClosed) return;
    mark.setAttribute("aria-valuenow", frame);
    mark.setAttribute("aria-valuetext", `frame ${frame}`);
    mark.setAttribute("transform", `translate(${this.#frameX(frame)} ${this.#y(this.values[frame] ?? 0)})`);
  }

  #key(event, mark) {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    if (this.#isClosed) { this.#commit(mark); return; } // which says why it stays
    const frame = Number(mark.getAttribute("aria-valuenow")) + by * (event.shiftKey ? 5 : 1);
    if (frame < 0 || frame >= this.player.count) return;
    this.#place(mark, frame);
    this.player.seek(frame);
    clearTimeout(this.committing);
    this.committing = setTimeout(() => this.#commit(mark), COMMIT_MS);
  }

  #commit(mark) {
    const { mark: name } = mark.dataset;
    this.onMove(Number(name.slice(2)), name.slice(0, 2), Number(mark.getAttribute("aria-valuenow")));
  }
}
