// How a contour follows the hand: control points in, control points out; nothing is changed in place.

import { sampleCurve } from "./spline.js";

const MAX_POINTS = 64;
const MIN_POINTS = 4;
const REACH_FRACTION = 0.12; // of the perimeter: how far the wall follows a point that is dragged

const isHinge = (kind) => kind === "septal" || kind === "lateral";

// Distance along the polygon from point `index` to every point, the shorter way round.
function distancesFrom(points, index) {
  const n = points.length;
  const chord = points.map(([x, y], i) => Math.hypot(points[(i + 1) % n][0] - x, points[(i + 1) % n][1] - y));
  const perimeter = chord.reduce((sum, length) => sum + length, 0);
  const distances = new Array(n).fill(0);
  let length = 0;
  for (let step = 0; step < n; step++) {
    const i = (index + step) % n;
    distances[i] = Math.min(length, perimeter - length);
    length += chord[i];
  }
  return { distances, perimeter };
}

const fall = (share) => (share >= 1 ? 0 : 0.5 + 0.5 * Math.cos(Math.PI * share));

// Indices from `start` to `end` inclusive, in the direction that does not pass `avoid`.
function between(start, end, avoid, n) {
  for (const step of [1, n - 1]) {
    const way = [start];
    for (let i = start; i !== end;) way.push(i = (i + step) % n);
    if (!way.includes(avoid)) return way;
  }
  return [start, end];
}

// How far each point follows when point `index` moves, 0 to 1.
function weights(points, kinds, index) {
  const n = points.length;
  const apex = kinds.indexOf("apex");
  const hinges = [...kinds.keys()].filter((i) => isHinge(kinds[i]));
  const { distances, perimeter } = distancesFrom(points, index);
  if (apex < 0 || hinges.length !== 2 || !kinds[index]) {
    const reach = REACH_FRACTION * perimeter;
    return distances.map((length, i) => (i !== index && kinds[i] ? 0 : fall(length / reach)));
  }
  const result = new Array(n).fill(0);
  const anchors = kinds[index] === "apex" ? hinges : [apex];
  for (const anchor of anchors) { // the wall follows up to the apex, or down to both hinges
    const avoid = kinds[index] === "apex" ? hinges.find((i) => i !== anchor) : hinges.find((i) => i !== index);
    const way = between(index, anchor, avoid, n);
    const length = distances[anchor] || 1;
    for (const i of way) result[i] = fall(distances[i] / length);
  }
  result[index] = 1;
  if (isHinge(kinds[index])) { // the annulus stays a line between its hinges
    const other = hinges.find((i) => i !== index);
    const way = between(index, other, apex, n);
    way.forEach((i, step) => { result[i] = 1 - step / (way.length - 1); });
  }
  return result;
}

// Move point `index` by (dx, dy) pixels; `isAlone` moves no other point with it.
export function movePoint({ points, kinds }, index, [dx, dy], isAlone = false) {
  const follow = isAlone ? points.map((_, i) => (i === index ? 1 : 0)) : weights(points, kinds, index);
  return points.map(([x, y], i) => [x + follow[i] * dx, y + follow[i] * dy]);
}

// The point of the curve that is nearest to a place: {x, y, segment, distance}.
function nearestOnCurve(points, [x, y]) {
  let best = { distance: Infinity };
  for (const sample of sampleCurve(points)) {
    const distance = Math.hypot(sample.x - x, sample.y - y);
    if (distance < best.distance) best = { ...sample, distance };
  }
  return best;
}

// Add a control point on the curve where it is nearest to a place; the curve hardly changes.
export function addPoint(contour, place) {
  if (contour.points.length >= MAX_POINTS) return null;
  const { x, y, segment } = nearestOnCurve(contour.points, place);
  const index = segment + 1;
  return {
    index,
    points: contour.points.toSpliced(index, 0, [x, y]),
    kinds: contour.kinds.toSpliced(index, 0, ""),
  };
}

// Remove a control point; null for the hinges and the apex, and where too few would remain.
export function removePoint(contour, index) {
  if (contour.points.length <= MIN_POINTS || contour.kinds[index]) return null;
  return { points: contour.points.toSpliced(index, 1), kinds: contour.kinds.toSpliced(index, 1) };
}

// A contour to begin with where a structure is not there: an ellipse about a place.
export function newContour([x, y], [radiusX, radiusY]) {
  const angles = [...Array(12).keys()].map((i) => (2 * Math.PI * i) / 12);
  return angles.map((angle) => [x + radiusX * Math.sin(angle), y - radiusY * Math.cos(angle)]);
}
