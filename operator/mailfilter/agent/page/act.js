// What changes something: releases, which go on while the page is open, and deletions.
import { held, json, request } from "./api.js";
import { $, ask, button, el, foreign, mails, say } from "./dom.js";

const LISTED = 5;
const AT_ONCE = 4;
const MOST = 10000;
const RETRY_SECONDS = 5;
// No answer, the agent's "not now", and what a proxy says when the agent takes long.
const AWAY = [0, 502, 503, 504];
let working = 0;

addEventListener("beforeunload", (event) => working && event.preventDefault());

/** A name that no other release has. */
function newKey() {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return `page-${[...random].map((one) => one.toString(16).padStart(2, "0")).join("")}`;
}

function listed(chosen) {
  const named = chosen.slice(0, LISTED).map((one) => el("li", {}, foreign(one.subject || one.id)));
  const more = chosen.length - LISTED;
  return more > 0 ? [...named, el("li", {}, `and ${more} more`)] : named;
}

/** Shows a part of the question, or not. */
function part(dialog, name, text) {
  $(name, dialog).hidden = !text;
  $(`${name} p`, dialog).textContent = text;
}

/** The question of a release: to whom, and what else is allowed. `answer` adds the mails, or returns null. */
function question(title, items, infected, again, answer) {
  const dialog = $("#releasing");
  $("form", dialog).reset();
  $("h2", dialog).textContent = title;
  $(".chosen", dialog).replaceChildren(...items);
  $(".problem", dialog).textContent = "";
  part(dialog, "#infected", infected);
  part(dialog, "#again", again);
  return ask(dialog, (given) => {
    const recipients = given.get("recipients").split(/[\s,;]+/).filter(Boolean);
    const wanted = { recipients, allowVirus: given.has("allowVirus"), deleteAfter: given.has("deleteAfter") };
    return answer(wanted, given.has("again"), (problem) => ($(".problem", dialog).textContent = problem));
  });
}

/** Asks, then releases. Resolves when it has begun; `done` is called after it has ended. */
export async function release(chosen, done) {
  const infected = chosen.filter((one) => one.infected || one.kind === "virus");
  const before = chosen.filter((one) => one.released.length);
  const wanted = await question(
    `Release ${mails(chosen.length)}`,
    listed(chosen),
    infected.length ? `${infected.length} of ${chosen.length}: infected. Without the tick they stay here.` : "",
    before.length ? `${before.length} of ${chosen.length}: given out before. Without the tick they are left out.` : "",
    (given, again, refuse) => {
      const left = (one) => (!given.allowVirus && infected.includes(one)) || (!again && !given.recipients.length && before.includes(one));
      const messages = chosen.filter((one) => !left(one)).map((one) => one.id);
      return messages.length ? { messages, ...given } : (refuse("Nothing is left to release: see above."), null);
    },
  );
  if (!wanted) return;
  const subjects = new Map(chosen.map((one) => [one.id, one.subject]));
  work({ key: newKey(), ...wanted }, mails(wanted.messages.length), subjects).finally(done);
}

/** The same with all that conditions find, on all pages. */
export async function releaseAll(selector, count, done) {
  const limit = Math.min(count, MOST);
  const rest = count > limit ? ` The newest ${limit}: then do it again.` : "";
  const until = selector.until ?? new Date().toISOString();
  const wanted = await question(
    `Release all ${mails(count)} found`,
    [el("li", {}, `Who has a mail already does not get it again.${rest}`)],
    "Without the tick infected mail stays here.",
    "",
    (given) => ({ selector: { ...selector, until, limit }, ...given }),
  );
  if (wanted) work({ key: newKey(), ...wanted }, mails(limit), new Map()).finally(done);
}

/** Goes on with a release until nothing is left to do. */
async function work(wanted, amount, subjects) {
  const bar = el("progress", { "aria-label": "Release" });
  const words = el("span", {}, `Releasing ${amount}`);
  const failures = el("ul");
  const stop = new AbortController();
  const end = button("Stop", () => stop.abort());
  const job = el("div", { class: "job", role: "group", "aria-label": "Release" }, words, end, bar, failures);
  $("#jobs").hidden = false;
  $("#jobs").append(job);
  working++;
  let said = "";
  try {
    for (let pause = 0; pause !== null && !stop.signal.aborted; ) {
      await wait(pause, stop.signal);
      if (stop.signal.aborted) break;
      try {
        const progress = await json("POST", "v1/releases", wanted);
        pause = progress.nextSeconds;
        said = tell(progress, words, bar, failures, subjects);
      } catch (error) {
        // It may come back, and goes on then: the agent knows what is done.
        if (!AWAY.includes(error.status)) throw error;
        words.textContent = `Waiting: ${error.message}`;
        pause = RETRY_SECONDS;
      }
    }
    if (stop.signal.aborted) said = `Stopped. ${said}`;
  } catch (error) {
    said = `The release ended: ${error.message}`;
    words.textContent = said;
  } finally {
    working--;
    bar.remove();
    end.replaceWith(
      button("Dismiss", () => {
        job.remove();
        $("#jobs").hidden = !$("#jobs").childElementCount;
      }),
    );
  }
  words.textContent = said;
  say(said, failures.childElementCount > 0);
}

function tell({ counts, messages, failures: first, nextSeconds }, words, bar, failures, subjects) {
  const rest = counts.total - counts.released - counts.failed;
  bar.max = Math.max(counts.total, 1);
  bar.value = counts.released + counts.failed;
  const said = [`${counts.released} of ${counts.total} released`];
  if (counts.failed) said.push(`${counts.failed} failed`);
  if (rest) said.push(counts.retrying ? `${rest} to be tried again` : `${rest} to go`);
  if (counts.infected) said.push(`${counts.infected} infected left out`);
  if (nextSeconds) said.push(`next try in ${Math.ceil(nextSeconds)} s`);
  words.textContent = said.join(", ");
  // Of a release by conditions the first alone are known.
  const wrong = messages.length ? messages.filter((one) => ["Failed", "Retrying"].includes(one.result)) : first;
  failures.replaceChildren(
    ...wrong.map((one) =>
      el("li", {}, foreign(subjects.get(one.id) || one.id), ` – ${one.result === "Failed" ? "failed" : "to be tried again"}: `, foreign(one.reply || one.reason || "")),
    ),
  );
  return words.textContent;
}

const wait = (seconds, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });

/** Does the same with each, some at a time. Resolves to the errors. */
async function each(chosen, act) {
  const queue = [...chosen];
  const errors = [];
  const worker = async () => {
    for (let one = queue.shift(); one; one = queue.shift()) {
      // Gone already is what was wanted.
      await act(one).catch((error) => error.status !== 404 && errors.push(error));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return errors;
}

function tellAll(chosen, errors, what) {
  const done = chosen.length - errors.length;
  say(`${mails(done)} ${what}${errors.length ? `, ${errors.length} not: ${errors[0].message}` : ""}`, errors.length > 0);
}

/** Asks, then deletes for good. Resolves to whether it did. */
export async function remove(chosen) {
  const dialog = $("#deleting");
  $("h2", dialog).textContent = `Delete ${mails(chosen.length)}`;
  $(".chosen", dialog).replaceChildren(...listed(chosen));
  if (!(await ask(dialog))) return false;
  say(`Deleting ${mails(chosen.length)}`);
  tellAll(chosen, await each(chosen, (one) => request("DELETE", held(one.id))), "deleted");
  return true;
}

/** Notes that somebody has looked. */
export async function see(chosen) {
  tellAll(chosen, await each(chosen, (one) => request("PUT", held(one.id, "/seen"))), "marked as seen");
}
