// Elements, announcements and dialogs. Text is only ever set as text, never parsed as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [type, listener] of Object.entries(value)) element.addEventListener(type, listener);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name in element && !(element instanceof SVGElement) && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// An HTML element: h("button", {type: "button", on: {click}}, "Undo").
export const h = (tag, props = {}, ...children) => fill(document.createElement(tag), props, children);

// An SVG element.
export const s = (tag, props = {}, ...children) => fill(document.createElementNS(SVG, tag), props, children);

export const find = (id) => document.getElementById(id);

// A button with a text, and an optional key that its title names.
export function button(text, click, { key = "", ...props } = {}) {
  const title = key ? `${props.title ?? text} (${key})` : props.title;
  return h("button", { type: "button", ...props, title, on: { click } }, text);
}

let hiding = 0;

// Say a sentence: shown for a while at the edge of the page, and read aloud by a screen reader.
export function say(text, { isError = false } = {}) {
  const line = find("say");
  line.textContent = text;
  line.classList.toggle("error", isError);
  line.setAttribute("role", isError ? "alert" : "status");
  clearTimeout(hiding);
  hiding = setTimeout(() => { line.textContent = ""; }, isError ? 12_000 : 4_000);
}

// Open a modal dialog with a title; resolves to what its form submits, null when it is closed.
// `body` may be a function of what closes the dialog with an answer.
export function ask(title, body, buttons) {
  return new Promise((resolve) => {
    const actions = h("div", { class: "actions" });
    const content = typeof body === "function" ? body((value) => close(value)) : body;
    const why = h("p", { class: "caution", role: "alert", hidden: true });
    const form = h("form", { method: "dialog" }, h("h2", { id: "ask-title" }, title), content, why, actions);
    const refuse = (field) => {
      why.textContent = field.validationMessage;
      why.hidden = false;
      field.setAttribute("aria-invalid", "true");
      field.focus();
    };
    form.addEventListener("input", ({ target }) => { why.hidden = true; target.removeAttribute("aria-invalid"); });
    const dialog = h("dialog", { "aria-labelledby": "ask-title" }, form);
    let answer = null;
    const close = (value) => { answer = value; dialog.close(); };
    for (const { text, value, isMain = false } of buttons) {
      const click = (event) => {
        event.preventDefault();
        const missing = value !== null && [...form.elements].find((field) => field.type !== "fieldset" && !field.checkValidity());
        if (missing) { refuse(missing); return; }
        close(value);
      };
      actions.append(h("button", { type: isMain ? "submit" : "button", class: isMain ? "main" : "", on: { click } }, text));
    }
    dialog.addEventListener("close", () => { dialog.remove(); resolve(answer); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

// Whether a key pressed now is meant for a field, a menu or a dialog rather than the page.
export function isTyping(event) {
  const target = event.target;
  return event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]") !== null
    || target.closest?.("input:not([type=range]):not([type=checkbox]), textarea, select") !== null;
}
