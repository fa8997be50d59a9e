// The clip and its curve in step. Controls stand below the picture, so that nothing is hidden.
addEventListener("DOMContentLoaded", () => {
  const overlay = document.querySelector(".overlay"), video = overlay.querySelector("video");
  const bar = overlay.querySelector(".player"), range = bar.querySelector("input");
  const svg = overlay.parentElement.querySelector("svg"), line = svg.querySelector(".now");
  const places = svg.dataset.x.split(" ").map(Number), rate = Number(video.dataset.rate);
  const button = (name) => bar.querySelector(`button[name=${name}]`);
  const show = (frame) => {
    const at = Math.max(0, Math.min(places.length - 1, frame));
    line.setAttribute("x1", places[at]);
    line.setAttribute("x2", places[at]);
    range.value = at;
    bar.querySelector("output").textContent = `frame ${at}`;
  };
  const seek = (frame) => {
    const at = Math.max(0, Math.min(places.length - 1, frame));
    video.pause();
    video.currentTime = (at + 0.5) / rate;
    show(at);
  };
  const now = () => Math.floor(video.currentTime * rate + 1e-6);
  const follow = () => {
    if (!video.paused) show(now());
    requestAnimationFrame(follow);
  };
  const name = () => (button("play").textContent = video.paused ? "Play" : "Pause");
  video.addEventListener("play", name);
  video.addEventListener("pause", () => { name(); show(now()); });  // a frame may have passed since
  button("play").addEventListener("click", () => (video.paused ? video.play() : video.pause()));
  button("back").addEventListener("click", () => seek(Number(range.value) - 1));
  button("next").addEventListener("click", () => seek(Number(range.value) + 1));
  range.addEventListener("input", () => seek(Number(range.value)));
  bar.querySelector("select").addEventListener("change", (event) => {
    video.playbackRate = Number(event.target.value);
  });
  svg.addEventListener("click", (event) => {
    const matrix = svg.getScreenCTM().inverse();
    const x = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix).x;
    const far = places.map((place) => Math.abs(place - x));
    seek(far.indexOf(Math.min(...far)));
  });
  video.controls = false;
  video.style.aspectRatio = video.dataset.shape;
  video.classList.add("cropped");
  bar.hidden = false;
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) video.pause();
  show(0);
  name();
  follow();
});
