// The live page: a clip of the worklist, a camera or a stream, with contours, running EF and latency. Messages are
// `LiveRequest` out; `LiveFrame`, its JPEG, and at last `LiveEnd` in.

import { get } from "./api.js";
import { button, find, h, s, say } from "./dom.js";
import { Screen } from "./screen.js";
import { efText, headline, quantity } from "./words.js";

const TRACE_S = 6;
const SIGNED_OUT = 4401;
const [TRACE_WIDTH, TRACE_HEIGHT] = [600, 120];

const main = find("live");
const canvas = h("canvas", { class: "cine", role: "img", "aria-label": "Live picture with contours" });
const surface = h("div", { class: "surface" }, canvas);
const ef = h("p", { class: "headline", id: "ef" }, "no EF");
const detail = h("p", { class: "dim" });
const facts = h("table", { class: "values" }, h("tbody", {}));
const line = s("path", { class: "line" });
const trace = s("svg", { class: "curve", viewBox: `0 0 ${TRACE_WIDTH} ${TRACE_HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": "Volume over the last seconds" }, line);
const latency = h("span", { class: "latency", title: "From the arrival of the frame to its contours" });
const ended = h("p", { class: "alert", role: "status", hidden: true });
const sources = JSON.parse(main.dataset.sources);
const clipGroup = h("optgroup", { label: "Clips of the worklist" });
const choice = h("select", { "aria-label": "Camera, stream or clip" },
  sources.length ? h("optgroup", { label: "Cameras and streams" }, sources.map((name) => h("option", { value: name, data: { kind: "source" } }, name))) : null, clipGroup);
const address = main.dataset.mayName
  ? h("input", { placeholder: "0, rtsp://..., /data/clip.mp4", "aria-label": "Camera number, address of a stream, or file of the server" }) : null;
const state = { socket: null, screen: null, waiting: null, volumes: [], unit: "" };

function drawTrace(frame) {
  if (frame.reset || frame.unit !== state.unit) state.volumes = [];
  state.unit = frame.unit;
  state.volumes.push([frame.time_s, frame.volume]);
  while (state.volumes[0][0] < frame.time_s - TRACE_S) state.volumes.shift();
  const top = Math.max(...state.volumes.map(([, volume]) => volume ?? 0), 1e-9) * 1.1;
  let d = "";
  let isDown = false;
  for (const [time, volume] of state.volumes) {
    if (volume === null) { isDown = false; continue; }
    const [x, y] = [(1 - (frame.time_s - time) / TRACE_S) * TRACE_WIDTH, TRACE_HEIGHT * (1 - volume / top)];
    d += `${isDown ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    isDown = true;
  }
  line.setAttribute("d", d);
}

const milliseconds = (value) => quantity(value, "ms", "");

function showNumbers(frame) {
  ef.textContent = headline(frame.ef);
  ef.classList.toggle("caution", frame.ef.kind !== "plain");
  detail.textContent = frame.ef.kind === "plain" ? efText(frame.ef) : frame.ef.reason;
  const rows = [
    ["Volume now", frame.unit === "ml" ? quantity(frame.volume, "ml", "none") : "no scale"], ["Beats", String(frame.num_beats)],
    ["Latency of this frame", milliseconds(frame.latency_ms)], ["Median, 95 % of frames within", `${milliseconds(frame.p50_ms)}, ${milliseconds(frame.p95_ms)}`],
    ["Frames per second", frame.rate_hz.toFixed(1)], ["Dropped", String(frame.dropped)],
  ];
  latency.textContent = `${milliseconds(frame.latency_ms)} behind`;
  facts.tBodies[0].replaceChildren(...rows.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value))));
}

async function showPicture(frame, jpeg) {
  const picture = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
  const { width: columns, height: rows } = picture;
  if (state.screen?.columns !== columns || state.screen?.rows !== rows) {
    surface.style.aspectRatio = `${columns} / ${rows}`;
    state.screen = new Screen(canvas, { rows, columns });
  }
  state.screen.drawPicture(picture);
  state.screen.drawLines(frame.contours);
  picture.close();
}

async function receive({ data }) {
  if (typeof data === "string") {
    const message = JSON.parse(data);
    if ("ended" in message) { stop(message.ended); return; }
    state.waiting = message;
    return;
  }
  const frame = state.waiting;
  drawTrace(frame);
  showNumbers(frame);
  await showPicture(frame, data);
}

function stop(reason = "Stopped.") {
  state.socket?.close();
  state.socket = null;
  startButton.textContent = "Start";
  ended.textContent = reason;
  ended.hidden = false;
}

function request() {
  if (address?.value.trim()) return { address: address.value.trim() };
  const option = choice.selectedOptions[0];
  if (!option) return null;
  return option.dataset.kind === "source" ? { source: option.value } : { clip: option.value };
}

const closed = ({ code }) => (code === SIGNED_OUT ? "You are signed out; load the page again to sign in." : "The server closed the connection.");

function start() {
  if (state.socket) { stop(); return; }
  const message = request();
  if (!message) { say("Choose a clip or a source."); return; }
  ended.hidden = true;
  state.volumes = [];
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/api/live`);
  socket.binaryType = "arraybuffer";
  socket.addEventListener("open", () => socket.send(JSON.stringify(message)));
  socket.addEventListener("message", receive);
  socket.addEventListener("close", (event) => { if (state.socket === socket) stop(closed(event)); });
  state.socket = socket;
  startButton.textContent = "Stop";
}

const startButton = button("Start", start, { class: "main" });
main.append(h("section", { class: "pane" },
  h("div", { class: "tools" }, choice, address ? ["or", address] : null, startButton),
  h("div", { class: "view" }, surface, latency), trace,
  h("aside", { class: "numbers", "aria-label": "Measurements" }, h("section", { class: "ef" }, h("h2", {}, "Ejection fraction of the last beats"), ef, detail), facts, ended)));
get("/api/clips?state=ready&count=200").then(({ rows }) => clipGroup.append(...rows.map((row) => h("option", { value: row.id }, row.name))), (error) => say(error.message, { isError: true }));
