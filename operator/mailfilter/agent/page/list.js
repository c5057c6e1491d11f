// The table: one page of held mail, what is chosen of it, and where the keyboard is.
import { json } from "./api.js";
import { $, clean, el, foreign, mails, say, score, size, time } from "./dom.js";
import * as filters from "./filters.js";

const LIMIT = 50;
const rows = $("#rows");
let items = [];
let chosen = new Set();
let here = -1;
let before = [null];
let next = null;
let loads = 0;
let total = 0;
const told = { open: () => {}, changed: () => {} };

export const on = (name, act) => (told[name] = act);
export const current = () => items[here] ?? null;
export const known = (id) => items.find((one) => one.id === id) ?? null;
/** How many mails meet the conditions, on all pages. */
export const count = () => total;
/** What an action is about: what is chosen, or else where the keyboard is. */
export const meant = () => (chosen.size ? items.filter((one) => chosen.has(one.id)) : current() ? [current()] : []);

/** Loads the first page, or the same page anew. */
export async function load(first = false) {
  const turn = ++loads;
  $("#list").setAttribute("aria-busy", true);
  if (first) before = [null];
  const query = filters.conditions();
  query.set("limit", LIMIT);
  const after = before.at(-1);
  if (after) query.set("after", after);
  const page = await json("GET", `v1/held?${query}`);
  // An answer that comes late is not what was asked for last.
  if (turn !== loads) return;
  const id = current()?.id;
  items = page.items;
  next = page.next;
  total = page.total;
  chosen = new Set(items.map((one) => one.id).filter((one) => chosen.has(one)));
  here = items.findIndex((one) => one.id === id);
  if (here < 0) here = items.length ? 0 : -1;
  draw(page);
  $("#list").setAttribute("aria-busy", false);
}

export async function turn(older) {
  if (older ? !next : before.length < 2) return;
  if (older) before.push(next);
  else before.pop();
  chosen.clear();
  here = 0;
  await load();
  focus();
}

function draw(page) {
  const focused = rows.contains(document.activeElement) || document.activeElement === document.body;
  rows.replaceChildren(...items.map(row));
  const start = (before.length - 1) * LIMIT;
  $("#range").textContent = page.total ? `${start + 1}–${start + items.length} of ${page.total}` : "";
  $("#newer").disabled = before.length < 2;
  $("#older").disabled = !next;
  $("#empty").hidden = items.length > 0;
  $("#empty").textContent = page.complete ? "No held mail that meets these conditions." : "The agent is still looking through the files.";
  marks();
  if (focused) focus();
}

function tags(one) {
  const found = [];
  if (one.infected) found.push(["infected", "infected"]);
  if (one.problem) found.push(["broken", "unreadable"]);
  if (one.released.length) found.push(["released", "released"]);
  return found.map(([name, text]) => el("span", { class: `tag ${name}` }, text));
}

function row(one, number) {
  const from = (one.author || one.sender || "<>").replace(/^"([^"<>]*)" </, "$1 <");
  const subject = one.problem ? one.problem : one.subject || "(no subject)";
  const cell = (name, ...children) => el("td", { class: name }, ...children);
  const box = el("input", { type: "checkbox", "aria-label": `Choose: ${clean(subject)}`, tabindex: "-1" });
  const made = el(
    "tr",
    { tabindex: "-1", class: [one.seen ? "" : "unseen", one.released.length ? "done" : ""].join(" ").trim() || null },
    cell("choice", box),
    cell("time", el("time", { datetime: one.time }, time(one.time))),
    el("td", { class: "kind" }, el("span", { class: one.kind }, one.kind)),
    cell("score", score(one.score)),
    el("td", { class: "from", title: `envelope sender: ${one.sender || "<>"}` }, foreign(from)),
    el("td", { class: "subject", title: subject }, ...tags(one), foreign(subject)),
    el("td", { class: "to", title: one.recipients.join(", ") }, foreign(one.recipients.join(", "))),
    cell("size", size(one.size)),
  );
  made.addEventListener("click", (event) => {
    here = number;
    if (event.target.closest(".choice")) choose(one.id, event.target === box ? box.checked : !chosen.has(one.id));
    else {
      marks();
      told.open(one);
    }
    focus();
  });
  return made;
}

/** Brings the table's marks up to date. */
export function marks(open) {
  if (open !== undefined) rows.dataset.open = open ?? "";
  [...rows.children].forEach((made, number) => {
    const { id } = items[number];
    made.setAttribute("aria-selected", chosen.has(id));
    made.classList.toggle("open", rows.dataset.open === id);
    made.tabIndex = number === here ? 0 : -1;
    $("input", made).checked = chosen.has(id);
  });
  const all = $("#all");
  all.checked = items.length > 0 && chosen.size === items.length;
  all.indeterminate = chosen.size > 0 && !all.checked;
  told.changed();
}

export function choose(id, yes = !chosen.has(id)) {
  if (yes) chosen.add(id);
  else chosen.delete(id);
  tell();
}

export function chooseAll(yes = chosen.size < items.length) {
  chosen = new Set(yes ? items.map((one) => one.id) : []);
  tell();
}

function tell() {
  marks();
  say(`${mails(chosen.size)} chosen`);
}

export function unchoose() {
  chosen.clear();
  marks();
}

export function focus() {
  rows.children[here]?.focus();
}

export function move(step) {
  if (!items.length) return;
  here = Math.max(0, Math.min(items.length - 1, here + step));
  marks();
  focus();
}

/** A mail has been looked at. */
export function seen(id) {
  const number = items.findIndex((one) => one.id === id);
  if (number < 0) return;
  items[number].seen = true;
  rows.children[number].classList.remove("unseen");
}
