// Clips in: files and folders dropped anywhere on the page, or picked; sent in parts.

import { post, upload } from "./api.js";
import { find, h, say } from "./dom.js";
import { isOfSystem, parts } from "./parts.js";

// Files of a dropped entry, with names relative to it.
async function filesOf(entry) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => { entry.file(resolve, reject); });
    return [{ file, name: entry.fullPath.replace(/^\//, "") }];
  }
  const reader = entry.createReader();
  const files = [];
  for (;;) {
    const entries = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (!entries.length) return files;
    for (const child of entries) files.push(...await filesOf(child));
  }
}

function showRefused(refused) {
  const list = find("refused");
  list.append(...refused.map(({ name, reason }) => h("li", {}, h("strong", {}, name), " ", reason)));
  list.parentElement.hidden = !list.children.length;
}

// Send files [{file, name}]; `onAdded` is called after each part.
export async function sendFiles(dropped, onAdded) {
  const files = dropped.filter((one) => !isOfSystem(one));
  if (!files.length) return;
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Upload" });
  const line = h("p", { class: "uploading" }, `Adding ${files.length} ${files.length === 1 ? "file" : "files"}`, bar);
  find("uploads").append(line);
  let numAdded = 0;
  let numRefused = 0;
  try {
    let numSent = 0;
    for (const part of parts(files)) {
      const form = new FormData();
      for (const { file, name } of part) form.append("files", file, name);
      const { added, refused } = await upload("/api/clips", form, (fraction) => { bar.value = (numSent + fraction * part.length) / files.length; });
      numSent += part.length;
      numAdded += added.length;
      numRefused += refused.length;
      showRefused(refused);
      onAdded();
    }
    say(`${numAdded} added${numRefused ? `, ${numRefused} refused` : ""}.`);
  } catch (error) {
    say(error.message, { isError: true });
  }
  line.remove();
}

// Put a folder of the server's machine into the worklist.
export async function addFolder(path, onAdded) {
  const { added, refused } = await post("/api/folders", { path });
  showRefused(refused);
  say(`${added.length} added${refused.length ? `, ${refused.length} refused` : ""}.`);
  onAdded();
}

// Take what is dropped anywhere on the page.
export function acceptDrops(onAdded) {
  const hint = find("drop-hint");
  let depth = 0;
  const over = (by) => { depth = Math.max(0, depth + by); hint.hidden = depth === 0; };
  const isFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => isFiles(event) && over(1));
  document.addEventListener("dragleave", (event) => isFiles(event) && over(-1));
  document.addEventListener("dragover", (event) => isFiles(event) && event.preventDefault());
  document.addEventListener("drop", async (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    over(-depth);
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const plain = [...event.dataTransfer.files].map((file) => ({ file, name: file.name }));
    const files = entries.length ? (await Promise.all(entries.map(filesOf))).flat() : plain;
    sendFiles(files, onAdded);
  });
}
