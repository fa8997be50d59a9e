// One clip on the page: picture, curve, stills and numbers, kept in step.

import { VolumeCurve } from "./curve.js";
import { askDecision, askFrameRate, askScale, carryBar, showExports, showHistory, versionBar } from "./dialogs.js";
import { button, h, say } from "./dom.js";
import { FrameStore } from "./frames.js";
import { Handles, rounded } from "./handles.js";
import { numbers } from "./numbers.js";
import { Player } from "./player.js";
import { Pointer } from "./pointer.js";
import { COLORS, Screen } from "./screen.js";
import { Session } from "./session.js";
import { newContour } from "./shape.js";
import { Stills } from "./stills.js";
import { toolbar } from "./toolbar.js";
import { STRUCTURES, efText, seconds } from "./words.js";

const MIN_RADIUS_PX = 1;

class Pane {
  constructor(detail, session, slot) {
    this.detail = detail;
    this.clip = detail.row.id;
    this.slot = slot;
    this.session = session;
    this.player = new Player(detail.num_frames, detail.times_s);
    this.ui = {
      tool: "view", active: "lv_cavity", show: { lv_cavity: true, lv_epi: true, la: true },
      disks: false, opacity: 1, brightness: 1, contrast: 1, radius: Math.max(4, Math.round(detail.columns / 60)),
    };
    this.preview = null;
    this.strokes = [];
    this.frames = new FrameStore(`/api/clips/${encodeURIComponent(this.clip)}/cine.bin`, detail, (n) => this.#pictureReady(n));
    this.stills = new Stills(this);
    this.curve = new VolumeCurve(this.player, { onMove: (beat, kind, frame) => this.moveMark(beat, kind, frame) });
    this.handles = new Handles(this);
    this.#build();
  }

  // Whether the reading takes no edits: it is signed, or an earlier version is shown.
  get isClosed() { return Boolean(this.session.reading?.decision || this.session.reading?.is_past); }

  // Whether nothing can be edited: the reading is signed, or not there yet.
  get isLocked() { return this.isClosed || !this.session.reading; }

  #build() {
    const { player } = this;
    this.canvas = h("canvas", { class: "cine", role: "img", "aria-label": "Clip" });
    this.note = h("p", { class: "note", role: "status" });
    this.surface = h("div", { class: "surface" }, this.canvas, this.handles.element);
    this.playButton = button("Play", () => player.toggle(), { key: "space", class: "play" });
    this.scrubber = h("input", { type: "range", min: "0", max: String(player.count - 1), value: "0", step: "1", "aria-label": "Frame", on: { input: () => player.seek(this.scrubber.valueAsNumber) } });
    this.position = h("output", { class: "position" });
    this.spoken = h("p", { class: "spoken", role: "status" });
    this.numbers = h("aside", { class: "numbers", "aria-label": "Measurements" }, h("p", { class: "dim" }, "Opening the measurements"));
    this.bar = h("div", { class: "bar" });
    this.tools = toolbar(this);
    this.name = h("h2", { class: "name" });
    this.element = h("section", { class: "pane", "aria-label": `Clip ${this.detail.row.name}` },
      this.name,
      this.tools.element,
      h("div", { class: "view" }, this.surface, this.note, this.bar),
      h("div", { class: "transport" }, this.playButton, this.scrubber, this.position),
      this.curve.svg, this.stills.element, this.numbers, this.spoken);
  }

  // What is known of the clip by now; frames that are measured while it is analyzed.
  describe(detail) {
    this.detail = detail;
    const { row } = detail;
    this.name.textContent = [row.view, row.name].filter((word) => word !== "unknown").join(", ");
    if (!this.session.isProvisional) return;
    this.numbers.firstElementChild.textContent = `Being measured: ${row.frames_done} of ${detail.num_frames} frames. Dashed contours are provisional, and no number is taken from them.`;
  }

  // Put the pane into the page and begin.
  async start(parent) {
    parent.append(this.element);
    const { detail, player, session } = this;
    this.describe(detail);
    const spacing = detail.spacing_mm;
    const aspect = spacing ? Math.min(4, Math.max(0.25, spacing[0] / spacing[1])) : 1;
    const size = { rows: detail.rows, columns: detail.columns, aspect };
    this.surface.style.aspectRatio = `${detail.columns} / ${detail.rows * aspect}`;
    this.screen = new Screen(this.canvas, size);
    this.stills.attach(size);
    this.pointer = new Pointer(this, this.surface);
    this.screen.addEventListener("change", () => this.draw());
    player.addEventListener("frame", () => { this.frames.focus(player.frame); this.draw(); });
    player.addEventListener("state", () => this.draw());
    session.addEventListener("contours", () => { this.draw(); this.stills.show(); });
    session.addEventListener("reading", () => this.#readingChanged());
    session.addEventListener("state", () => this.#stateChanged());
    this.frames.focus(0);
    this.draw();
    await session.loading;
    this.#readingChanged();
  }

  #pictureReady(n) {
    if (n === this.player.frame) this.draw();
    if (this.frames.isComplete) this.element.dataset.ready = "all";
  }

  #readingChanged() {
    const { session, player } = this;
    const { reading } = session;
    this.strokes = [];
    if (this.isClosed && this.ui.tool !== "view") this.setTool("view");
    if (reading.curve.times_s.length === player.count) player.setTimes(reading.curve.times_s);
    this.element.dataset.revision = reading.revision;
    this.element.dataset.roundTripMs = session.roundTripMs.toFixed(0);
    const fragment = numbers(reading, {
      onSeek: (frame) => player.seek(frame),
      onExclude: (beat, isExcluded) => this.edit({ kind: "beat", beat, is_excluded: isExcluded }),
      onDecide: (decision) => this.decide(decision),
      onScale: () => this.askScale(),
      onFrameRate: () => this.askFrameRate(),
    });
    const focused = this.numbers.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    this.numbers.replaceChildren(...fragment);
    if (focused) this.numbers.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
    this.spoken.textContent = `EF ${efText(reading.ef)}`;
    this.curve.show(reading);
    this.stills.show();
    this.tools.update();
  }

  #stateChanged() {
    const { isOffline, numWaiting } = this.session;
    this.numbers.setAttribute("aria-busy", String(numWaiting > 0));
    this.element.dataset.waiting = numWaiting;
    this.note.textContent = isOffline ? "The server does not answer. Your last change is not stored yet; it is sent again until it is." : "";
    if (!numWaiting) { this.strokes = []; this.draw(); }
    this.tools.update();
  }

  // Draw what is due now.
  draw() {
    if (!this.screen) return;
    const { player, screen, session, ui } = this;
    const frame = player.isPlaying ? this.frames.latest(player.frame) ?? player.frame : player.frame;
    screen.drawPicture(this.frames.at(frame), ui);
    const disks = ui.disks && session.reading?.disks.find((lines) => lines.frame === frame);
    if (disks) screen.drawDisks(disks, ui.opacity);
    const active = ui.tool === "view" ? null : ui.active;
    screen.drawContours(session.at(frame), { ...ui, active, isProvisional: session.isProvisional });
    this.element.dataset.provisional = session.isProvisional ? session.contours.size : "";
    if ((session.reading || session.contours.has(frame)) && this.frames.at(frame)) this.element.dataset.firstContourMs ??= performance.now().toFixed(0);
    if (this.preview?.has(frame)) screen.drawContours(this.preview.get(frame), { ...ui, isPreview: true });
    for (const stroke of [...this.strokes, this.pointer?.stroke]) {
      if (stroke && (stroke.frame ?? frame) === frame) screen.drawStroke(stroke.line, ui.radius, stroke.isErasing ? "white" : COLORS[ui.active]);
    }
    this.#drawPointer();
    Object.assign(this.surface.dataset, { tool: ui.tool, zoomed: screen.zoom > 1 ? "yes" : "no" });
    this.handles.place();
    this.#drawTransport(frame);
  }

  #drawPointer() {
    const { screen, ui, pointer } = this;
    if (!pointer) return;
    if (pointer.hover && (ui.tool === "brush" || ui.tool === "erase")) screen.drawRing(pointer.hover, ui.radius, ui.tool === "erase" ? "white" : COLORS[ui.active]);
    if (ui.tool !== "scale") return;
    for (const tick of pointer.ticks) screen.drawRing(tick, 4 / screen.scale[0], "white");
    if (pointer.ticks.length === 1 && pointer.hover) screen.line([pointer.ticks[0], pointer.hover], "white", 1.5);
  }

  #drawTransport(frame) {
    const { player } = this;
    const text = this.playButton.textContent = player.isPlaying ? "Pause" : "Play";
    this.playButton.setAttribute("aria-label", text);
    const isTimed = Boolean(this.detail.times_s || this.session.reading?.frame_rate_hz);
    const place = `frame ${frame} of ${player.count - 1}${isTimed ? `, ${seconds(player.times[frame])}` : ", speed unknown"}`;
    this.scrubber.value = String(frame);
    this.scrubber.setAttribute("aria-valuetext", place);
    this.position.textContent = place;
    this.element.dataset.frame = frame;
    if (!player.isPlaying) this.canvas.setAttribute("aria-label", `Clip, ${place}`);
  }

  // What a reader does.

  reason() { return this.tools.reason.value.trim(); }

  // Send an edit; `done` is said once the server has stored it.
  async edit(operation, done = "") {
    if (this.isRefused()) return;
    this.handles.flush();
    if (await this.session.edit(operation, this.reason()) && done) say(done);
  }

  // Whether no edit is taken; says why.
  isRefused() {
    if (this.isClosed) say(this.session.reading.decision ? "This reading is signed. Reopen it first to change it." : "This is an earlier version; it takes no edits.");
    return this.isClosed;
  }

  setTool(tool) {
    this.handles.flush();
    if (tool !== "view") this.player.pause();
    this.ui.tool = tool;
    this.pointer.ticks = [];
    if (tool === "scale") say("Click two places whose distance you know, such as two ticks of the depth scale.");
    this.tools.update();
    this.draw();
    if (tool === "points") this.handles.element.firstChild?.focus({ preventScroll: true });
  }

  setActive(structure) {
    this.handles.flush();
    this.ui.active = structure;
    this.ui.show[structure] = true;
    this.tools.update();
    this.draw();
  }

  toggleContours() {
    const isShown = Object.values(this.ui.show).some(Boolean);
    for (const structure of Object.keys(this.ui.show)) this.ui.show[structure] = !isShown;
    this.tools.update();
    this.draw();
    this.stills.show();
  }

  setRadius(radius) {
    this.ui.radius = Math.min(200, Math.max(MIN_RADIUS_PX, Math.round(radius)));
    this.tools.update();
    this.draw();
  }

  brush(line, isErasing) {
    const operation = { kind: "brush", frame: this.player.frame, structure: this.ui.active, line: rounded(line), radius_px: this.ui.radius, is_erasing: isErasing };
    this.strokes.push({ frame: this.player.frame, line, isErasing });
    this.edit(operation);
  }

  undo() { this.handles.flush(); if (!this.isRefused()) this.session.undo(); }

  redo() { this.handles.flush(); if (!this.isRefused()) this.session.redo(); }

  // Draw a structure where it is not there, or take it away.
  toggleStructure() {
    const { ui, handles, detail } = this;
    if (this.isRefused()) return;
    if (handles.contour) { handles.replace({ points: [], kinds: [] }, `${STRUCTURES[ui.active]} removed on frame ${this.player.frame}.`); return; }
    const points = newContour(this.screen.center, [detail.columns / 8, detail.rows / 6]);
    this.setTool("points");
    handles.replace({ points, kinds: points.map(() => "") });
  }

  moveMark(beat, kind, frame) { this.edit({ kind: "beat", beat, [`${kind}_frame`]: frame }, `${kind.toUpperCase()} set to frame ${frame}.`); }

  // The beat whose ED (or ES) is nearest to a frame.
  #nearestBeat(kind) {
    const distances = this.session.reading.beats.map((beat) => Math.abs(beat[`${kind}_frame`] - this.player.frame));
    return Math.max(0, distances.indexOf(Math.min(...distances)));
  }

  markHere(kind) {
    this.player.pause();
    this.moveMark(this.#nearestBeat(kind), kind, this.player.frame);
  }

  excludeHere() {
    const { beats } = this.session.reading;
    const beat = this.#nearestBeat("es");
    if (!beats[beat]) { say("There is no whole beat."); return; }
    const isExcluded = !beats[beat].is_excluded;
    this.edit({ kind: "beat", beat, is_excluded: isExcluded }, `Beat ${beat + 1} is ${isExcluded ? "excluded from the mean" : "part of the mean again"}.`);
  }

  async askScale(ticks) {
    const operation = await askScale(ticks ?? [[this.detail.columns / 2, 0], [this.detail.columns / 2, this.detail.rows - 1]]);
    if (operation) this.edit(operation);
    this.setTool("view");
  }

  async askFrameRate() {
    const operation = await askFrameRate(this.session.reading.frame_rate_hz);
    if (operation) this.edit(operation);
  }

  async decide(decision) {
    this.handles.flush();
    await this.session.queue;
    const reason = await askDecision(decision, `EF ${efText(this.session.reading.ef)}`);
    if (reason !== null) this.session.decide(decision, reason);
  }

  carry() {
    if (this.isRefused()) return;
    this.player.pause();
    this.handles.flush();
    const close = () => { this.preview = null; this.bar.replaceChildren(); this.draw(); };
    this.bar.replaceChildren(carryBar(this.player.frame, this.player.count, {
      onPreview: async (operation) => {
        try { this.preview = await this.session.preview(operation); } catch (error) { say(error.message, { isError: true }); return false; }
        this.draw();
        return true;
      },
      onTake: (operation) => { this.edit(operation); close(); },
      onClose: close,
    }));
    this.bar.querySelector("input").focus();
  }

  async showHistory() {
    this.handles.flush();
    await this.session.queue;
    try {
      const rows = await this.session.history();
      const revision = await showHistory(rows, this.session.reading.revision);
      if (revision !== null) await this.showVersion(revision, rows.find((row) => row.revision === revision));
    } catch (error) { say(error.message, { isError: true }); }
  }

  // Show an earlier version, which takes no edits, until the reader returns or takes it.
  async showVersion(revision, row) {
    this.setTool("view");
    await this.session.load(revision);
    const { is_past: isPast, decision } = this.session.reading;
    this.bar.replaceChildren();
    if (!isPast) return;
    const close = () => { this.bar.replaceChildren(); return this.session.load(); };
    this.bar.replaceChildren(versionBar(row, {
      onReturn: close,
      onTake: decision ? null : async () => { await close(); this.edit({ kind: "restore", version: revision }); },
    }));
    this.bar.querySelector("button").focus();
  }

  showExports() { return showExports(this.clip, this.slot); }
}

// The pane of a clip, not yet in the page; its reading is on the way, or its analysis: then
// `refresh` fetches what is known of the clip by now.
export function makePane(detail, slot, refresh) {
  const session = new Session(detail.row.id, slot);
  const pane = new Pane(detail, session, slot);
  if (detail.row.state === "ready") session.load();
  else {
    session.follow(async () => {
      const now = await refresh();
      pane.describe(now);
      if (now.row.state === "failed") throw new Error(now.row.reason);
      return now.row.state === "ready";
    });
  }
  return pane;
}
