// What is searched for: the form, and its copy in the address.
import { $ } from "./dom.js";

const form = $("#filters");
const MOMENTS = ["since", "until"];

const given = () => [...new FormData(form)].map(([name, value]) => [name, value.trim()]).filter(([, value]) => value);

/** Conditions as the API has them. Local times become those of the world. */
export function conditions() {
  return new URLSearchParams(given().map(([name, value]) => [name, MOMENTS.includes(name) ? new Date(value).toISOString() : value]));
}

/** The conditions as a release has them; null when there are none, or others than a release knows. */
export function selector() {
  const found = Object.fromEntries(conditions());
  if (!Object.keys(found).length || found.released || found.seen) return null;
  for (const name of ["minScore", "maxScore"]) if (name in found) found[name] = Number(found[name]);
  return found;
}

/** Writes the form into the address, so that it can be kept and reloaded. */
export function keep(open) {
  const hash = new URLSearchParams([...given(), ...(open ? [["id", open]] : [])]).toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

/** Takes the address into the form. Returns its token, which leaves the address at once, and the mail to open. */
export function take() {
  const found = new URLSearchParams(location.hash.slice(1));
  for (const field of form.elements) if (field.name) field.value = found.get(field.name) ?? "";
  keep(found.get("id"));
  return { token: found.get("token"), id: found.get("id") };
}

export const set = (name, value) => {
  form.elements[name].value = value;
};
export const value = (name) => form.elements[name].value;

/** Calls back when something else is searched for. */
export function changed(act) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act();
  });
  form.addEventListener("change", (event) => event.target.matches("select, [type=datetime-local]") && act());
  form.addEventListener("reset", () => setTimeout(act));
}
