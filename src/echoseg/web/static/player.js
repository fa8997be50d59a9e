// The clock of a clip: which frame is due. Frames are skipped rather than shown late.

const FALLBACK_HZ = 30; // of a clip whose frame rate is unknown

export class Player extends EventTarget {
  // `times` in seconds from the first frame, or null.
  constructor(count, times) {
    super();
    this.count = count;
    this.frame = 0;
    this.isPlaying = false;
    this.setTimes(times);
  }

  setTimes(times) {
    this.times = times?.length === this.count ? times : [...Array(this.count).keys()].map((i) => i / FALLBACK_HZ);
    const last = this.times.at(-1);
    this.period = this.count > 1 ? last + last / (this.count - 1) : 1;
  }

  get time() { return this.times[this.frame]; }

  frameAt(time) {
    let low = 0;
    let high = this.count - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.times[middle] <= time) low = middle; else high = middle - 1;
    }
    return low;
  }

  // The frame nearest to a time.
  nearest(time) {
    const frame = this.frameAt(time);
    const next = Math.min(frame + 1, this.count - 1);
    return this.times[next] - time < time - this.times[frame] ? next : frame;
  }

  seek(frame) {
    this.pause();
    this.#go(Math.min(this.count - 1, Math.max(0, frame)));
  }

  // Show a frame as another clip has it, playing or not.
  show(frame) { this.#go(Math.min(this.count - 1, Math.max(0, frame))); }

  step(by) { this.seek((this.frame + by + this.count) % this.count); }

  toggle() { if (this.isPlaying) this.pause(); else this.play(); }

  play() {
    if (this.isPlaying || this.count < 2) return;
    this.isPlaying = true;
    this.dispatchEvent(new Event("state"));
    const begin = performance.now() / 1000 - this.time;
    const tick = (now) => {
      if (!this.isPlaying) return;
      this.#go(this.frameAt((Math.max(0, now / 1000 - begin)) % this.period));
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  pause() {
    if (!this.isPlaying) return;
    this.isPlaying = false;
    this.dispatchEvent(new Event("state"));
  }

  #go(frame) {
    if (frame === this.frame) return;
    this.frame = frame;
    this.dispatchEvent(new Event("frame"));
  }
}
