// The closed smooth curve through control points: periodic cubic spline, knots at cumulative chord
// lengths; the same curve as the server's (scipy's CubicSpline with bc_type "periodic").

const SAMPLE_PX = 2; // length of a drawn segment, in pixels of the clip

// Solve the cyclic tridiagonal system  a[i] x[i-1] + b[i] x[i] + c[i] x[i+1] = d[i]  by the
// Sherman-Morrison formula (Press et al., Numerical Recipes, 2.7).
function solveCyclic(a, b, c, d) {
  const n = b.length;
  const gamma = -b[0];
  const diagonal = b.slice();
  diagonal[0] = b[0] - gamma;
  diagonal[n - 1] = b[n - 1] - (a[0] * c[n - 1]) / gamma;
  const corner = new Array(n).fill(0);
  corner[0] = gamma;
  corner[n - 1] = c[n - 1];
  const x = solve(a, diagonal, c, d);
  const z = solve(a, diagonal, c, corner);
  const factor = (x[0] + (a[0] * x[n - 1]) / gamma) / (1 + z[0] + (a[0] * z[n - 1]) / gamma);
  return x.map((value, i) => value - factor * z[i]);
}

function solve(a, b, c, d) {
  const n = b.length;
  const x = new Array(n);
  const gain = new Array(n);
  let pivot = b[0];
  x[0] = d[0] / pivot;
  for (let i = 1; i < n; i++) {
    gain[i] = c[i - 1] / pivot;
    pivot = b[i] - a[i] * gain[i];
    x[i] = (d[i] - a[i] * x[i - 1]) / pivot;
  }
  for (let i = n - 2; i >= 0; i--) x[i] -= gain[i + 1] * x[i + 1];
  return x;
}

function secondDerivatives(values, chords) {
  const n = values.length;
  const before = (i) => chords[(i + n - 1) % n];
  const slope = (i) => (values[(i + 1) % n] - values[i % n]) / chords[i % n];
  const rows = [...values.keys()];
  return solveCyclic(
    rows.map(before), rows.map((i) => 2 * (before(i) + chords[i])), rows.map((i) => chords[i]),
    rows.map((i) => 6 * (slope(i) - slope(i + n - 1))),
  );
}

// Points of the curve: [{x, y, segment, share}], `segment` the control point before, `share` 0 to 1
// of the way to the next one. Control points are [x, y]; repeated neighbors count once.
export function sampleCurve(points, sample = SAMPLE_PX) {
  const kept = points.map((point, i) => [point, i]).filter(([[x, y]], i) => {
    const [px, py] = points[(i + points.length - 1) % points.length];
    return x !== px || y !== py;
  });
  if (kept.length < 3) return points.map(([x, y], i) => ({ x, y, segment: i, share: 0 }));
  const xs = kept.map(([[x]]) => x);
  const ys = kept.map(([[, y]]) => y);
  const n = kept.length;
  const chords = xs.map((x, i) => Math.hypot(xs[(i + 1) % n] - x, ys[(i + 1) % n] - ys[i]));
  const bendX = secondDerivatives(xs, chords);
  const bendY = secondDerivatives(ys, chords);
  const curve = [];
  for (let i = 0; i < n; i++) {
    const next = (i + 1) % n;
    const steps = Math.min(64, Math.max(2, Math.ceil(chords[i] / sample)));
    for (let step = 0; step < steps; step++) {
      const t = step / steps;
      const at = (values, bend) => (1 - t) * values[i] + t * values[next]
        + (chords[i] ** 2 / 6) * (((1 - t) ** 3 - (1 - t)) * bend[i] + (t ** 3 - t) * bend[next]);
      curve.push({ x: at(xs, bendX), y: at(ys, bendY), segment: kept[i][1], share: t });
    }
  }
  return curve;
}

const paths = new WeakMap();

// The curve as a Path2D in pixels of the clip; kept as long as the array of points.
export function curvePath(points) {
  let path = paths.get(points);
  if (!path) {
    path = new Path2D();
    for (const { x, y } of sampleCurve(points)) path.lineTo(x, y);
    path.closePath();
    paths.set(points, path);
  }
  return path;
}
