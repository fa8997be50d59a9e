// The requests that dropped files are sent in: each is a drop of its own on the server.

const MAX_PART_FILES = 20;
const MAX_PART_BYTES = 64 * 2 ** 20;
const MAX_DROP_FILES = 10_000; // that the server takes in one request
const MAX_DROP_BYTES = 2 ** 31 - 2 ** 24; // and bytes, less what the form adds
const PICTURE = /\.(png|jpe?g|tiff?|bmp|webp)$/i;
const OF_SYSTEM = /(^|\/)(\.DS_Store|\._[^/]*|Thumbs\.db|desktop\.ini)$/i;

const bytesOf = (files) => files.reduce((sum, { file }) => sum + file.size, 0);

const isTaken = (files) => files.length <= MAX_DROP_FILES && bytesOf(files) <= MAX_DROP_BYTES;

const stemOf = ({ name }) => name.replace(/\.[^./]*$/, "");

const isLoose = ([{ name }]) => !name.includes("/");

// What file managers put into folders: with such a file a folder of frames is not one clip.
export const isOfSystem = ({ name }) => OF_SYSTEM.test(name);

function groups(files, keyOf) {
  const byKey = new Map();
  for (const one of files) {
    const key = keyOf(one);
    if (!byKey.has(key)) byKey.set(key, []);
    byKey.get(key).push(one);
  }
  return [...byKey.values()];
}

// Files that are kept together, since they may be one clip, such as its frames, or one patient's
// views: a folder that has files of its own, with all in it, and what lies in no folder. What is
// too large for the server is split by folders, then by names without their suffix; pictures never.
function units(files, depth = 0) {
  const isOwn = ({ name }) => name.split("/").length === depth + 1;
  const own = files.filter(isOwn);
  if (depth && own.length && isTaken(files)) return [files];
  const folders = groups(files.filter((one) => !isOwn(one)), ({ name }) => name.split("/")[depth]);
  const isOne = own.length && (isTaken(own) || own.some(({ name }) => PICTURE.test(name)));
  return [...(isOne ? [own] : groups(own, stemOf)), ...folders.flatMap((some) => units(some, depth + 1))];
}

// Files [{file, name}] by the request that they are sent in: few, so that rows appear early. What
// lies in no folder is not sent with folders, beside which pictures are not a clip.
export function parts(files) {
  const all = [];
  for (const unit of units(files)) {
    const part = all.at(-1);
    const isFull = !part || part.length + unit.length > MAX_PART_FILES || bytesOf(part) + bytesOf(unit) > MAX_PART_BYTES;
    if (isFull || isLoose(unit) !== isLoose(part)) all.push([...unit]); else part.push(...unit);
  }
  return all;
}
