// The page of the quarantine: buttons and keys.
import * as act from "./act.js";
import { hasToken, held, json, keepToken, request } from "./api.js";
import { $, ask, button, clean, el, mails, say, size } from "./dom.js";
import * as filters from "./filters.js";
import * as list from "./list.js";
import * as mail from "./mail.js";

const KINDS = ["spam", "virus", "banned", "bad-header"];
const DANGEROUS = new Set(["Delete", "#"]);

/** Runs what a key or a button stands for, and says what went wrong. */
const run = (work) => async (...what) => {
  try {
    await work(...what);
  } catch (error) {
    say(error.message, true);
  }
};

async function amounts() {
  const { kinds } = await json("GET", "v1/quarantine");
  const sums = KINDS.map((kind) => [kind, Object.values(kinds[kind] ?? {})]);
  $("#kinds").replaceChildren(
    ...sums.map(([kind, ages]) => {
      const count = ages.reduce((sum, one) => sum + one.messages, 0);
      const bytes = ages.reduce((sum, one) => sum + one.bytes, 0);
      const made = button("", () => search({ kind: filters.value("kind") === kind ? "" : kind }), {
        "aria-pressed": filters.value("kind") === kind,
        title: `Show ${kind} alone`,
      });
      made.append(el("span", { class: kind }, kind), el("b", {}, String(count)), el("span", { class: "quiet" }, size(bytes)));
      return made;
    }),
  );
}

const reload = run(async () => {
  await list.load();
  await amounts();
});

function search(change = {}) {
  for (const [name, value] of Object.entries(change)) filters.set(name, value);
  filters.keep(mail.opened()?.id);
  return run(async () => {
    await list.load(true);
    await amounts();
    say(`${$("#range").textContent.split(" of ")[1] ?? "0"} found`);
  })();
}

const open = run(async (id) => {
  const shown = await mail.show(id, {
    close,
    release: () => release([list.known(id) ?? mail.opened()]),
    remove: () => remove([list.known(id) ?? mail.opened()]),
  });
  if (!shown) return;
  list.marks(id);
  filters.keep(id);
  if (shown.broken) return;
  if (!shown.seen) {
    await request("PUT", held(id, "/seen"));
    list.seen(id);
  }
  await mail.look();
});

function close() {
  if (!mail.opened()) return;
  mail.close();
  list.marks(null);
  filters.keep(null);
  list.focus();
}

const release = run(async (chosen) => {
  if (!chosen.length) return;
  await act.release(chosen, async () => {
    await reload();
    if (mail.opened() && !list.known(mail.opened().id)) close();
  });
  list.unchoose();
});

const releaseAll = run(async () => {
  const selector = filters.selector();
  if (selector && list.count()) await act.releaseAll(selector, list.count(), reload);
});

const remove = run(async (chosen) => {
  if (!chosen.length || !(await act.remove(chosen))) return;
  if (chosen.some((one) => one.id === mail.opened()?.id)) close();
  list.unchoose();
  await reload();
});

const see = run(async (chosen) => {
  if (!chosen.length) return;
  await act.see(chosen);
  for (const one of chosen) list.seen(one.id);
  list.unchoose();
});

const KEYS = {
  j: () => list.move(1),
  ArrowDown: () => list.move(1),
  k: () => list.move(-1),
  ArrowUp: () => list.move(-1),
  Enter: () => list.current() && open(list.current().id),
  Escape: close,
  x: () => list.current() && list.choose(list.current().id),
  "*": () => list.chooseAll(),
  r: () => release(list.meant()),
  Delete: () => remove(list.meant()),
  "#": () => remove(list.meant()),
  s: () => see(list.meant()),
  n: run(() => list.turn(true)),
  p: run(() => list.turn(false)),
  g: reload,
  "/": () => $("#filters [name=subject]").focus(),
  "?": () => ask($("#help")),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || $("dialog[open]")) return;
  const within = event.target;
  if (within.matches("input:not([type=checkbox]), select, textarea")) {
    if (event.key === "Escape") list.focus();
    return;
  }
  // What has the focus has its own keys: a button is pressed, tabs are gone through, text is scrolled.
  if (within.closest("button, summary, a, .text") && !within.closest("#rows") && /^(Enter|Arrow|Delete)/.test(event.key)) return;
  if (event.repeat && DANGEROUS.has(event.key)) return;
  const wanted = KEYS[event.key];
  if (!wanted) return;
  event.preventDefault();
  wanted();
});

list.on("open", (one) => open(one.id));
list.on("changed", () => {
  const none = !list.meant().length;
  for (const id of ["#release", "#delete", "#see"]) $(id).disabled = none;
  $("#release-all").disabled = !list.count() || !filters.selector();
});
filters.changed(() => search());
$("#all").addEventListener("change", (event) => list.chooseAll(event.target.checked));
$("#release").addEventListener("click", () => release(list.meant()));
$("#release-all").addEventListener("click", releaseAll);
$("#delete").addEventListener("click", () => remove(list.meant()));
$("#see").addEventListener("click", () => see(list.meant()));
$("#newer").addEventListener("click", run(() => list.turn(false)));
$("#older").addEventListener("click", run(() => list.turn(true)));
$("#reload").addEventListener("click", reload);
$("#help-open").addEventListener("click", () => ask($("#help")));
$("#more").addEventListener("click", ({ target }) => target.setAttribute("aria-expanded", $("#filters").classList.toggle("all")));
$("#forget").addEventListener("click", () => {
  keepToken(null);
  location.reload();
});

function begin() {
  const { token, id } = filters.take();
  if (token) keepToken(token);
  $("#forget").hidden = !hasToken();
  return id;
}

const wanted = begin();
await reload();
list.focus();
if (wanted) await open(wanted);
document.title = clean(`Quarantine – ${location.hostname}`);
addEventListener("hashchange", async () => {
  const id = begin();
  await search();
  if (id) await open(id);
});
