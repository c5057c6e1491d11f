// Elements and words. Whatever a mail says becomes text here, never HTML.

// Control characters, marks that turn or hide text: they deceive who reads. Line ends and tabs are text's own.
const DECEIVING = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

export const clean = (value) => String(value).replace(DECEIVING, "\ufffd");

/** An element with attributes (`false` and `null` leave one out) and children, of which strings are text. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value === true ? "" : clean(value));
  }
  made.append(...children.filter((one) => one !== null).map((one) => (one instanceof Node ? one : clean(one))));
  return made;
}

/** A button that does something. */
export function button(text, act, attributes = {}) {
  const made = el("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", act);
  return made;
}

/** Text of a stranger, apart from the direction of what stands around it. */
export const foreign = (text) => el("bdi", {}, text);

export const $ = (selector, within = document) => within.querySelector(selector);

const two = (number) => String(number).padStart(2, "0");

/** Local time, to the minute. */
export function time(value) {
  const at = new Date(value);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

export function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let step = 0;
  for (; bytes >= 1000 && step < units.length - 1; step++) bytes /= 1024;
  return `${bytes.toFixed(step && bytes < 10 ? 1 : 0)} ${units[step]}`;
}

export const score = (value) => (value === null ? "" : value.toFixed(1));
export const mails = (count) => `${count} ${count === 1 ? "mail" : "mails"}`;

/** Says what happened, on the screen and to screen readers. */
export function say(text, problem = false) {
  const said = $("#said");
  said.classList.toggle("problem", problem);
  said.textContent = clean(text);
}

/** Opens a dialog; resolves to what `answer` makes of its form, or null when it is left. */
export function ask(dialog, answer = () => true) {
  const back = document.activeElement;
  return new Promise((resolve) => {
    const form = $("form", dialog);
    const ends = new AbortController();
    let found = null;
    const on = (target, name, act) => target.addEventListener(name, act, { signal: ends.signal });
    on(dialog, "close", () => {
      ends.abort();
      if (back?.isConnected) back.focus();
      resolve(found);
    });
    const cancel = $(".cancel", dialog);
    if (cancel) on(cancel, "click", () => dialog.close());
    if (form) {
      on(form, "submit", (event) => {
        event.preventDefault();
        found = answer(new FormData(form));
        if (found !== null) dialog.close();
      });
    }
    dialog.showModal();
  });
}
