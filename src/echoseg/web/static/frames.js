// Frames of a clip as decoded pictures, fetched ahead of the one that is shown: few at first, so
// that something is seen at once, then many with each request.

const MAX_DECODED_BYTES = 512 * 2 ** 20;
const MAX_PENDING = 2; // requests; others need connections too
const FIRST_FRAMES = 2;
const MAX_FRAMES = 24; // of a request
const KEPT_BEHIND = 4;
const RETRY_MS = 1000;

// The JPEGs of frames first to last, as they lie in the file of all frames.
async function fetchJpegs(url, offsets, first, last) {
  const [begin, end] = [offsets[first], offsets[last + 1]];
  const response = await fetch(url, { headers: { Range: `bytes=${begin}-${end - 1}` } });
  if (!response.ok) throw new Error(String(response.status));
  const bytes = await response.arrayBuffer();
  const skip = response.status === 206 ? begin : 0; // a server without ranges sends it all
  return [...Array(last - first + 1).keys()].map((i) => new Blob(
    [new Uint8Array(bytes, offsets[first + i] - skip, offsets[first + i + 1] - offsets[first + i])], { type: "image/jpeg" },
  ));
}

export class FrameStore {
  // `url` is the address of all JPEGs in a row, frame n from byte offsets[n]; `onReady(n)` is
  // called when a frame is decoded.
  constructor(url, { offsets, rows, columns }, onReady) {
    Object.assign(this, { url, offsets, onReady, count: offsets.length - 1, head: 0, size: FIRST_FRAMES, numPending: 0 });
    this.window = Math.max(2 * MAX_FRAMES, Math.min(this.count, Math.floor(MAX_DECODED_BYTES / (4 * rows * columns))));
    this.pictures = new Map();
    this.pending = new Set();
  }

  get isComplete() { return this.pictures.size === Math.min(this.window, this.count); }

  // The decoded frame, or undefined.
  at(n) { return this.pictures.get(n); }

  // The newest decoded frame at or before n: what is shown rather than waiting.
  latest(n) {
    for (let back = 0; back < this.count; back++) {
      const frame = (n - back + this.count) % this.count;
      if (this.pictures.has(frame)) return frame;
    }
    return null;
  }

  // A frame that is not dropped, as those of the window are.
  async load(n) {
    const [jpeg] = await fetchJpegs(this.url, this.offsets, n, n);
    return createImageBitmap(jpeg);
  }

  // Fetch n and what follows it; forget what lies far behind.
  focus(n) {
    this.head = n;
    for (const [frame, picture] of this.pictures) {
      if (this.#ahead(frame) >= this.window) { this.pictures.delete(frame); picture.close(); }
    }
    this.#pump();
  }

  #ahead(frame) { return (frame - this.head + KEPT_BEHIND + this.count) % this.count; }

  #isMissing(frame) { return frame < this.count && this.#ahead(frame) < this.window && !this.pictures.has(frame) && !this.pending.has(frame); }

  #pump() {
    for (let step = 0; step < this.count && this.numPending < MAX_PENDING; step++) {
      const first = (this.head + step) % this.count;
      if (!this.#isMissing(first)) continue;
      let last = first;
      while (last - first + 1 < this.size && this.#isMissing(last + 1)) last += 1;
      this.size = Math.min(MAX_FRAMES, 2 * this.size);
      this.#fetch(first, last);
    }
  }

  async #fetch(first, last) {
    const frames = [...Array(last - first + 1).keys()].map((i) => first + i);
    for (const frame of frames) this.pending.add(frame);
    this.numPending += 1;
    try {
      const jpegs = await fetchJpegs(this.url, this.offsets, first, last);
      await Promise.all(frames.map(async (frame, i) => {
        this.pictures.set(frame, await createImageBitmap(jpegs[i]));
        this.onReady(frame);
      }));
    } catch {
      await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
    }
    for (const frame of frames) this.pending.delete(frame);
    this.numPending -= 1;
    this.#pump();
  }
}
