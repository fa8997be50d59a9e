// The picture with what is drawn on it: one canvas, a zoom, and colors of the structures.

import { curvePath } from "./spline.js";

export const COLORS = { lv_epi: "rgb(92 214 120)", la: "rgb(88 166 255)", lv_cavity: "rgb(255 138 61)" };
const PREVIEW_COLOR = "rgb(255 255 255)";
const AXIS_COLOR = "rgb(240 240 245)";
const DISK_COLOR = "rgb(150 160 175 / .8)";
const MAX_ZOOM = 12;

export class Screen extends EventTarget {
  // `canvas` fills its box; the clip has `rows` x `columns` pixels, `aspect` as high as wide.
  constructor(canvas, { rows, columns, aspect = 1 }) {
    super();
    Object.assign(this, { canvas, rows, columns, aspect, zoom: 1, center: [columns / 2, rows / 2] });
    this.context = canvas.getContext("2d");
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    const ratio = window.devicePixelRatio || 1;
    this.width = clientWidth;
    this.height = clientHeight;
    this.canvas.width = Math.max(1, Math.round(clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(clientHeight * ratio));
    this.changed();
  }

  changed() { this.dispatchEvent(new Event("change")); }

  // Pixels of the page per pixel of the clip, (x, y).
  get scale() {
    const fit = Math.min(this.width / this.columns, this.height / (this.rows * this.aspect)) || 1;
    return [fit * this.zoom, fit * this.zoom * this.aspect];
  }

  toPage([x, y]) {
    const [sx, sy] = this.scale;
    return [(x + 0.5 - this.center[0]) * sx + this.width / 2, (y + 0.5 - this.center[1]) * sy + this.height / 2];
  }

  toClip([x, y]) {
    const [sx, sy] = this.scale;
    return [(x - this.width / 2) / sx + this.center[0] - 0.5, (y - this.height / 2) / sy + this.center[1] - 0.5];
  }

  // Zoom by a factor about a place of the page (by default the middle).
  zoomBy(factor, place = [this.width / 2, this.height / 2]) {
    const before = this.toClip(place);
    this.zoom = Math.min(MAX_ZOOM, Math.max(1, this.zoom * factor));
    const after = this.toClip(place);
    this.#moveTo([this.center[0] + before[0] - after[0], this.center[1] + before[1] - after[1]]);
  }

  panBy([dx, dy]) {
    const [sx, sy] = this.scale;
    this.#moveTo([this.center[0] - dx / sx, this.center[1] - dy / sy]);
  }

  // Zoom to a box around points, with a margin as a fraction of its size on each side.
  fit(points, margin) {
    const [xs, ys] = [0, 1].map((i) => points.map((point) => point[i]));
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    this.zoom = 1;
    const [sx, sy] = this.scale;
    const grown = 1 + 2 * margin;
    this.zoom = Math.min(MAX_ZOOM, Math.max(1, Math.min(this.width / (sx * grown * (right - left)), this.height / (sy * grown * (bottom - top)))));
    this.#moveTo([(left + right + 1) / 2, (top + bottom + 1) / 2]);
  }

  reset() {
    this.zoom = 1;
    this.#moveTo([this.columns / 2, this.rows / 2]);
  }

  #moveTo([x, y]) {
    const clamp = (value, size, seen) => (seen >= size ? size / 2 : Math.min(size - seen / 2, Math.max(seen / 2, value)));
    const [sx, sy] = this.scale;
    this.center = [clamp(x, this.columns, this.width / sx), clamp(y, this.rows, this.height / sy)];
    this.changed();
  }

  // Clear, and draw a frame; everything after is in pixels of the clip.
  drawPicture(picture, { brightness = 1, contrast = 1 } = {}) {
    const { context, canvas } = this;
    const ratio = canvas.width / (this.width || 1);
    const [sx, sy] = this.scale;
    const [x, y] = this.toPage([0, 0]);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.setTransform(sx * ratio, 0, 0, sy * ratio, x * ratio, y * ratio);
    if (!picture) return;
    context.filter = brightness === 1 && contrast === 1 ? "none" : `brightness(${brightness}) contrast(${contrast})`;
    context.drawImage(picture, -0.5, -0.5);
    context.filter = "none";
  }

  // Draw curves: {structure: {points}}; `isPreview` marks what is not taken yet, `isProvisional`
  // what is not measured yet.
  drawContours(contours, { show, opacity = 1, active = null, isPreview = false, isProvisional = false }) {
    const { context } = this;
    for (const structure of Object.keys(COLORS)) {
      const contour = contours?.[structure];
      if (!contour || !show[structure] || contour.points.length < 3) continue;
      const path = curvePath(contour.points);
      context.fillStyle = COLORS[structure];
      context.globalAlpha = 0.12 * opacity * (structure !== "lv_epi");
      context.fill(path);
      context.globalAlpha = opacity;
      this.#stroke(path, "rgb(0 0 0 / .55)", structure === active ? 4 : 3.2);
      if (isPreview || isProvisional) context.setLineDash([6, 4].map((length) => length / this.scale[0]));
      this.#stroke(path, isPreview ? PREVIEW_COLOR : COLORS[structure], structure === active ? 2.4 : 1.6);
      context.setLineDash([]);
    }
    context.globalAlpha = 1;
  }

  // Draw closed lines, {structure: points}, as they are.
  drawLines(contours) {
    for (const [structure, points] of Object.entries(contours)) this.line([...points, points[0]], COLORS[structure], 2);
  }

  #stroke(path, color, width) {
    const { context } = this;
    context.save();
    context.strokeStyle = color;
    context.lineJoin = "round";
    context.lineWidth = width / this.scale[0];
    context.stroke(path);
    context.restore();
  }

  line(points, color, width) {
    const path = new Path2D();
    for (const [x, y] of points) path.lineTo(x, y);
    this.#stroke(path, color, width);
  }

  // Long axis, annulus and the disks whose volumes add up.
  drawDisks(lines, opacity = 1) {
    this.context.globalAlpha = opacity;
    for (const disk of lines.disks) this.line(disk, DISK_COLOR, 1);
    this.line(lines.axis, AXIS_COLOR, 1.6);
    this.line(lines.annulus, AXIS_COLOR, 1.6);
    this.context.globalAlpha = 1;
  }

  // A stroke of the brush, a disk of a radius along a line.
  drawStroke(line, radius, color) {
    const { context } = this;
    context.save();
    context.globalAlpha = 0.45;
    context.strokeStyle = color;
    context.lineCap = "round";
    context.lineJoin = "round";
    context.lineWidth = 2 * radius;
    context.beginPath();
    for (const [x, y] of line) context.lineTo(x, y);
    if (line.length === 1) context.lineTo(line[0][0] + 0.01, line[0][1]);
    context.stroke();
    context.restore();
  }

  drawRing([x, y], radius, color) {
    const { context } = this;
    context.strokeStyle = color;
    context.lineWidth = 1.5 / this.scale[0];
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.stroke();
  }
}
