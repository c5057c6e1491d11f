// What changes something: releases, which go on while the page is open, and deletions.
import { ApiError, held, json, request } from "./api.js";
import { $, ask, button, el, foreign, mails, say } from "./dom.js";

const LISTED = 5;
const AT_ONCE = 4;
const RETRY_SECONDS = 5;
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

/** Asks, then releases. Resolves when it has begun; `done` is called after it has ended. */
export async function release(chosen, done) {
  const dialog = $("#releasing");
  const form = $("form", dialog);
  const infected = chosen.filter((one) => one.infected || one.kind === "virus");
  const before = chosen.filter((one) => one.released.length);
  form.reset();
  $("h2", dialog).textContent = `Release ${mails(chosen.length)}`;
  $(".chosen", dialog).replaceChildren(...listed(chosen));
  $(".problem", dialog).textContent = "";
  for (const [name, found, text] of [
    ["#infected", infected, "infected. Without the tick they stay here."],
    ["#again", before, "given out before. Without the tick they are left out."],
  ]) {
    $(name, dialog).hidden = !found.length;
    $(`${name} p`, dialog).textContent = `${found.length} of ${chosen.length}: ${text}`;
  }
  const wanted = await ask(dialog, (given) => {
    const recipients = given.get("recipients").split(/[\s,;]+/).filter(Boolean);
    const allowVirus = given.has("allowVirus");
    const left = (one) => (!allowVirus && infected.includes(one)) || (!given.has("again") && !recipients.length && before.includes(one));
    const messages = chosen.filter((one) => !left(one)).map((one) => one.id);
    if (messages.length) return { messages, recipients, allowVirus, deleteAfter: given.has("deleteAfter") };
    $(".problem", dialog).textContent = "Nothing is left to release: see above.";
    return null;
  });
  if (!wanted) return;
  const subjects = new Map(chosen.map((one) => [one.id, one.subject]));
  work({ key: newKey(), ...wanted }, subjects).finally(done);
}

/** Goes on with a release until nothing is left to do. */
async function work(wanted, subjects) {
  const count = wanted.messages.length;
  const bar = el("progress", { max: count, value: 0, "aria-label": "Release" });
  const words = el("span", {}, `Releasing ${mails(count)}`);
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
        if (!(error instanceof ApiError) || (error.status && error.status !== 503)) throw error;
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

function tell({ counts, messages, nextSeconds }, words, bar, failures, subjects) {
  const rest = counts.total - counts.released - counts.failed;
  bar.value = counts.released + counts.failed;
  const said = [`${counts.released} of ${counts.total} released`];
  if (counts.failed) said.push(`${counts.failed} failed`);
  if (rest) said.push(counts.retrying ? `${rest} to be tried again` : `${rest} to go`);
  if (nextSeconds) said.push(`next try in ${Math.ceil(nextSeconds)} s`);
  words.textContent = said.join(", ");
  const wrong = messages.filter((one) => ["Failed", "Retrying"].includes(one.result));
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
