// Frames of a clip as decoded pictures, fetched ahead of the one that is shown.

const MAX_DECODED_BYTES = 512 * 2 ** 20;
const MAX_PENDING = 6;
const KEPT_BEHIND = 4;
const RETRY_MS = 1000;

export class FrameStore {
  // `url(n)` is the address of a JPEG; `onReady(n)` is called when it is decoded.
  constructor(url, { count, rows, columns }, onReady) {
    Object.assign(this, { url, count, onReady });
    this.window = Math.max(8, Math.min(count, Math.floor(MAX_DECODED_BYTES / (4 * rows * columns))));
    this.pictures = new Map();
    this.pending = new Set();
    this.head = 0;
  }

  get numReady() { return this.pictures.size; }

  // The decoded frame, or undefined.
  at(n) { return this.pictures.get(n); }

  // The newest decoded frame at or before n: what is shown rather than waiting.
  latest(n) {
    for (let back = 0; back < this.count; back++) {
      const frame = (n - back + this.count) % this.count;
      if (this.pictures.has(frame)) return { frame, picture: this.pictures.get(frame) };
    }
    return null;
  }

  // Fetch n and what follows it; forget what lies far behind.
  focus(n) {
    this.head = n;
    if (this.window < this.count) {
      for (const [frame, picture] of this.pictures) {
        if (this.#ahead(frame) >= this.window) { this.pictures.delete(frame); picture.close(); }
      }
    }
    this.#pump();
  }

  #ahead(frame) { return (frame - this.head + KEPT_BEHIND + this.count) % this.count; }

  #pump() {
    for (let step = 0; step < this.window && this.pending.size < MAX_PENDING; step++) {
      const frame = (this.head + step) % this.count;
      if (this.#ahead(frame) < this.window && !this.pictures.has(frame) && !this.pending.has(frame)) this.#fetch(frame);
    }
  }

  async #fetch(frame) {
    this.pending.add(frame);
    try {
      const response = await fetch(this.url(frame));
      if (!response.ok) throw new Error(String(response.status));
      const picture = await createImageBitmap(await response.blob());
      this.pictures.set(frame, picture);
      this.onReady(frame);
    } catch {
      await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
    }
    this.pending.delete(frame);
    this.#pump();
  }
}
