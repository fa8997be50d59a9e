// Requests to the server: JSON in, JSON out, and its own sentences as errors.

const csrf = document.querySelector('meta[name="csrf-token"]')?.content ?? "";
const REVOKE_MS = 60_000; // after a download began
const NO_ANSWER = "The server does not answer.";

export class ApiError extends Error {
  // `status` 0: the server did not answer.
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let aheadMs = 0; // of the server's clock, by its last answer

// The time at the server, in seconds since 1970; up to 2 s early, never late.
export const serverTime = () => (Date.now() + aheadMs) / 1000;

// The result of a fetch, or of reading its body; a broken connection is an `ApiError` of status 0.
async function answered(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, NO_ANSWER);
  }
}

async function request(path, options) {
  const response = await answered(fetch(path, { credentials: "same-origin", ...options }));
  const date = Date.parse(response.headers.get("Date"));
  if (date) aheadMs = date - Date.now();
  if (response.status === 401) {
    location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  if (!response.ok) throw new ApiError(response.status, await sentence(response));
  return response;
}

async function send(path, options) {
  const response = await request(path, options);
  return response.status === 204 ? null : answered(response.json());
}

// The name that a Content-Disposition gives a file; empty where it gives none.
export function fileNameOf(disposition) {
  const [, encoded] = /filename\*=utf-8''([^;]+)/i.exec(disposition ?? "") ?? [];
  const [, quoted, bare] = /filename=(?:"([^"]*)"|([^;]+))/i.exec(disposition ?? "") ?? [];
  return encoded ? decodeURIComponent(encoded) : (quoted ?? bare ?? "").trim();
}

// Fetch a file and save it under the name that the server gives it, or `name`.
export async function download(path, name) {
  const response = await request(path);
  const url = URL.createObjectURL(await answered(response.blob()));
  const link = document.createElement("a");
  link.href = url;
  link.download = fileNameOf(response.headers.get("Content-Disposition")) || name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), REVOKE_MS);
}

// The sentence of an error answer: of the server, or of what stands between.
export async function sentence(response) {
  const body = await response.json().catch(() => ({}));
  return typeof body.error === "string" ? body.error : `The server answered with status ${response.status}.`;
}

export const headers = () => ({ "X-CSRF-Token": csrf });

export const get = (path, options = {}) => send(path, options);

export const post = (path, body) => send(path, {
  method: "POST",
  headers: { "Content-Type": "application/json", ...headers() },
  body: JSON.stringify(body),
});

// Upload a form; `onProgress` is called with the fraction of bytes sent, 0 to 1.
export function upload(path, form, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => event.total && onProgress(event.loaded / event.total));
    request.addEventListener("error", () => reject(new ApiError(0, NO_ANSWER)));
    request.addEventListener("load", () => {
      let body = null;
      try { body = JSON.parse(request.responseText); } catch { /* not JSON: not of the server, or cut off */ }
      if (request.status < 400 && body) resolve(body);
      else if (request.status < 400) reject(new ApiError(0, NO_ANSWER));
      else reject(new ApiError(request.status, body?.error ?? `The server answered with status ${request.status}.`));
    });
    request.send(form);
  });
}
