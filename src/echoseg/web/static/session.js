// A reading and its edits: drawn at once, sent one after another in order, and merged as answered.

import { ApiError, get, post, serverTime } from "./api.js";
import { say } from "./dom.js";

const RETRY_MS = 1000;
const FOLLOW_MS = 250;
const CONFLICT = 409;

export class Session extends EventTarget {
  constructor(clip, slot) {
    super();
    this.address = (what) => `/api/clips/${encodeURIComponent(clip)}/${what}?slot=${slot}`;
    this.reading = null;
    this.contours = new Map();
    this.isProvisional = false; // contours as they are segmented, before there is a reading
    this.numWaiting = 0;
    this.isOffline = false;
    this.roundTripMs = 0;
    this.queue = Promise.resolve();
    this.round = 0; // rises when what waits is dropped
  }

  // Fetch the whole reading, or an earlier version of it; also `loading`, for who comes later.
  load(revision = null) {
    this.loading = get(this.address("reading") + (revision === null ? "" : `&revision=${revision}`)).then((reading) => {
      this.contours = new Map();
      this.isProvisional = false;
      this.#merge(reading);
    });
    this.loading.catch(() => {}); // whoever waits for it sees the error
    return this.loading;
  }

  // Show the contours of a clip that is being analyzed as they come; `isReady()` says, or throws,
  // when there is no more to come. Then the reading takes their place.
  follow(isReady) {
    this.isProvisional = true;
    this.loading = (async () => {
      while (!(await isReady())) {
        const answer = await get(`${this.address("curves")}&first=${this.contours.size}`).catch(() => ({ contours: [] }));
        for (const { frame, contours } of answer.contours) this.contours.set(frame, contours);
        this.dispatchEvent(new Event("contours"));
        await new Promise((resolve) => { setTimeout(resolve, FOLLOW_MS); });
      }
      await this.load();
    })();
    this.loading.catch(() => {});
    return this.loading;
  }

  // The curves of a frame as drawn now, {structure: contour}.
  at(frame) { return this.contours.get(frame) ?? {}; }

  // Draw a changed curve before the server has answered; no points: the structure is not there.
  draw(frame, structure, contour) {
    const curves = { ...this.at(frame) };
    if (contour.points.length) curves[structure] = contour; else delete curves[structure];
    this.contours.set(frame, curves);
    this.dispatchEvent(new Event("contours"));
  }

  // Resolves to whether the edit is stored, once the server has answered.
  edit(operation, reason = "") { return this.#enqueue("edits", () => ({ operation, reason })); }

  undo() { return this.reading.can_undo || this.numWaiting ? this.#enqueue("undo") : null; }

  redo() { return this.reading.can_redo ? this.#enqueue("redo") : null; }

  decide(decision, reason) { return this.#enqueue("decision", () => ({ decision, reason })); }

  history() { return get(this.address("history")); }

  // What an operation would draw, with nothing stored: Map of frame -> {structure: contour}.
  async preview(operation) {
    await this.queue;
    const answer = await post(this.address("carry"), { revision: this.reading.revision, operation });
    return new Map(answer.contours.map(({ frame, contours }) => [frame, contours]));
  }

  #enqueue(what, body = () => ({})) {
    const round = this.round;
    this.numWaiting += 1;
    this.dispatchEvent(new Event("state"));
    this.queue = this.queue.then(async () => {
      const isStored = round === this.round && await this.#send(what, body());
      this.numWaiting -= 1;
      this.dispatchEvent(new Event("state"));
      return isStored;
    });
    return this.queue;
  }

  // Whether it is stored. Never throws: what waits is sent whatever became of this.
  async #send(what, body) {
    const begin = performance.now();
    const { revision } = this.reading;
    const sent = { what, ...body, revision, time: serverTime(), loadedTime: this.loadedTime };
    try {
      const answer = await this.#insist(() => post(this.address(what), { revision, ...body }));
      this.roundTripMs = performance.now() - begin;
      this.#merge(answer);
      return true;
    } catch (error) {
      const isStale = error.status === CONFLICT;
      if (isStale && await this.#isStored(sent)) return true;
      this.round += 1;
      await this.load().catch(() => {});
      if (isStale) say(`This reading was ${this.reading.decision ? "signed" : "changed"} elsewhere. It is shown anew; your last change is not part of it.`, { isError: true });
      else if (error instanceof ApiError) say(`Not stored: ${error.message}`, { isError: true });
      else say(`The answer to your last change could not be shown (${error.message}). The reading is shown anew.`, { isError: true });
      return false;
    }
  }

  // Whether a change that was refused as stale is stored all the same: it was sent before, by
  // `#insist` or by the browser itself, and the answer was lost. Then the reading is shown with it.
  async #isStored({ what, revision, time, loadedTime, operation, decision, reason }) {
    try {
      const rows = await this.#insist(() => this.history());
      await this.#insist(() => this.load());
      const { revision: head } = this.reading;
      const edits = rows.filter((row) => row.parent !== row.revision);
      if (what === "undo") return edits.some((row) => row.revision === revision && row.parent === head);
      // what redo shows was there before; an edit of another window was not
      if (what === "redo") return edits.some((row) => row.revision === head && row.parent === revision && row.time < loadedTime);
      const last = rows.at(-1);
      return last.parent === revision && last.time >= time && last.reason === reason
        && last.kind === (decision ?? operation.kind) && last.frame === (operation?.frame ?? null);
    } catch {
      return false;
    }
  }

  // Repeat a request until the server answers: nothing that is drawn is lost by a restart.
  async #insist(request) {
    for (;;) {
      try {
        const answer = await request();
        this.#setOffline(false);
        return answer;
      } catch (error) {
        if (error.status !== 0) { this.#setOffline(false); throw error; }
        this.#setOffline(true);
        await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
      }
    }
  }

  #setOffline(isOffline) {
    if (isOffline === this.isOffline) return;
    this.isOffline = isOffline;
    this.dispatchEvent(new Event("state"));
  }

  #merge({ contours, ...reading }) {
    this.reading = reading;
    this.loadedTime = serverTime();
    for (const { frame, contours: curves } of contours) this.contours.set(frame, curves);
    this.dispatchEvent(new Event("contours"));
    this.dispatchEvent(new Event("reading"));
  }
}
