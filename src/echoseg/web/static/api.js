// Requests to the server: JSON in, JSON out, and its own sentences as errors.

const csrf = document.querySelector('meta[name="csrf-token"]')?.content ?? "";

export class ApiError extends Error {
  // `status` 0: the server did not answer.
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function send(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server does not answer.");
  }
  if (response.status === 401) {
    location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  if (!response.ok) throw new ApiError(response.status, await sentence(response));
  return response.status === 204 ? null : response.json();
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
    request.addEventListener("error", () => reject(new ApiError(0, "The server does not answer.")));
    request.addEventListener("load", () => {
      let body = {};
      try { body = JSON.parse(request.responseText); } catch { /* not JSON: the status says enough */ }
      if (request.status < 400) resolve(body);
      else reject(new ApiError(request.status, body.error ?? `The server answered with status ${request.status}.`));
    });
    request.send(form);
  });
}
