// One mail: what is known of it, its score rule by rule, and a look at it that can do nothing.
import { ApiError, held, json, request } from "./api.js";
import { $, button, clean, el, foreign, say, score, size, time } from "./dom.js";

const pane = $("#mail");
// The one place where a string becomes HTML: of a frame without scripts, rights and origin.
const frames = globalThis.trustedTypes?.createPolicy("mail", { createHTML: (html) => html }) ?? { createHTML: (html) => html };
let open = null;
let opens = 0;

export const opened = () => open;

export function close() {
  opens++;
  open = null;
  pane.hidden = true;
  $("main").classList.remove("split");
  pane.replaceChildren();
}

/** Shows a mail; `acts` are its buttons. Throws ApiError. */
export async function show(id, acts) {
  const turn = ++opens;
  pane.setAttribute("aria-busy", true);
  const mail = await json("GET", held(id)).catch((error) => {
    // What is damaged can still be deleted.
    if (error.status !== 422) throw error;
    return { id, broken: error.message };
  });
  if (turn !== opens) return null;
  open = mail;
  pane.replaceChildren(head(mail, acts), el("div", { role: "tabpanel", "aria-label": "Preview" }));
  pane.hidden = false;
  $("main").classList.add("split");
  if (mail.broken) note(mail.broken);
  return mail;
}

function note(text) {
  $("[role=tabpanel]", pane).append(el("p", { class: "note problem" }, text));
  pane.setAttribute("aria-busy", false);
}

function head(mail, acts) {
  const closing = button("Close", acts.close, { title: "Close (Esc)" });
  const facts = [
    ["From", foreign(mail.author ?? "")],
    ["Envelope sender", foreign(mail.sender === "" ? "<>" : (mail.sender ?? ""))],
    ["Held for", foreign((mail.recipients ?? []).join(", "))],
    ["Had it", foreign((mail.released ?? []).join(", "))],
    ["Held", mail.time ? `${time(mail.time)}, ${size(mail.size)}` : ""],
    ["Date", foreign(mail.date ?? "")],
    ["Message-ID", foreign(mail.messageId ?? "")],
    ["Id", el("code", {}, mail.id)],
  ].filter(([, value]) => (value.textContent ?? value) !== "");
  return el(
    "div",
    { class: "head" },
    el("div", { class: "top" }, el("h2", {}, foreign(mail.broken ? mail.id : mail.subject || "(no subject)")), closing),
    el(
      "div",
      { class: "buttons" },
      mail.broken ? null : button("Release…", acts.release, { class: "main" }),
      button("Delete…", acts.remove),
      mail.broken ? null : button("Raw", () => download(mail.id).catch((error) => say(error.message, true)), { title: "Download the mail as it is" }),
    ),
    el("dl", {}, ...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
    ...(mail.alerts ?? []).map((alert) => el("p", { class: `note ${mail.infected ? "problem" : ""}` }, foreign(alert))),
    mail.broken ? null : rules(mail),
  );
}

function rules(mail) {
  const found = Object.entries(mail.tests);
  const title = mail.score === null ? "Not scored" : `Score ${score(mail.score)}, ${found.length} rules`;
  if (!found.length) return el("p", { class: "quiet" }, title);
  const made = found.map(([name, value]) => el("tr", {}, el("td", { class: "number" }, value.toFixed(2)), el("td", {}, name)));
  return el("details", {}, el("summary", {}, title), el("table", { "aria-label": "Score by rule" }, el("tbody", {}, ...made)));
}

/** Adds the preview to the mail that is open. */
export async function look() {
  const turn = opens;
  let seen;
  try {
    seen = await json("GET", held(open.id, "/preview"));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (turn === opens) note(error.message);
    return;
  }
  if (turn !== opens) return;
  const panel = $("[role=tabpanel]", pane);
  const views = [["Text", () => el("pre", { class: "text", tabindex: "0", "aria-label": "Text" }, seen.text || "(no text)")]];
  if (seen.html !== null) views.push(["HTML", () => frame(seen.html)]);
  views.push([`Parts (${seen.parts.length})`, () => parts(seen)]);
  const tabs = views.map(([name, make]) =>
    button(name, (event) => choose(event.target, make), { role: "tab", "aria-selected": "false", tabindex: "-1" }),
  );
  const list = el("div", { role: "tablist", "aria-label": "Views" }, ...tabs);
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const to = tabs.at((tabs.indexOf(document.activeElement) + step) % tabs.length);
    to.click();
    to.focus();
  });
  function choose(tab, make) {
    for (const one of tabs) {
      one.setAttribute("aria-selected", one === tab);
      one.tabIndex = one === tab ? 0 : -1;
    }
    const note = seen.truncated ? [el("p", { class: "note" }, "There is more in the mail than is shown.")] : [];
    panel.replaceChildren(...note, make());
  }
  panel.before(list);
  tabs[0].click();
  pane.setAttribute("aria-busy", false);
}

function frame(html) {
  const style = new URL("page/mail.css", document.baseURI).href;
  const made = el("iframe", { sandbox: "", referrerpolicy: "no-referrer", title: "The mail's HTML, without anything that acts or loads" });
  const policy = `default-src 'none'; style-src ${style}`;
  made.srcdoc = frames.createHTML(
    `<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${policy}">` +
      `<meta name="color-scheme" content="light dark"><link rel="stylesheet" href="${style}"><body>${html}`,
  );
  return made;
}

function parts(seen) {
  const made = seen.parts.map((part) =>
    el("tr", {}, el("td", {}, foreign(part.name || "–")), el("td", {}, foreign(part.type)), el("td", { class: "number" }, size(part.size))),
  );
  const titles = ["Name", "Type, as the sender says", "Size"].map((text) => el("th", { scope: "col" }, text));
  return el("table", { "aria-label": "Parts" }, el("thead", {}, el("tr", {}, ...titles)), el("tbody", {}, ...made));
}

async function download(id) {
  const content = await (await request("GET", held(id, "/raw"))).blob();
  const link = el("a", { download: `${clean(id.split("/").at(-1).replace(/\.gz$/, ""))}.eml` });
  link.href = URL.createObjectURL(new Blob([content], { type: "application/octet-stream" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
