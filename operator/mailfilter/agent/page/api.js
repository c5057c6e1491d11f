// The agent's API. A token of this page's own is sent if there is one; behind a proxy that adds it, there is none.
import { $, ask } from "./dom.js";

const KEY = "mailfilter-token";
let asking = null;

export class ApiError extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export const hasToken = () => sessionStorage.getItem(KEY) !== null;

export function keepToken(token) {
  if (token) sessionStorage.setItem(KEY, token);
  else sessionStorage.removeItem(KEY);
  $("#forget").hidden = !hasToken();
}

/** Where a held mail is. */
export const held = (id, what = "") => `v1/held/${id.split("/").map(encodeURIComponent).join("/")}${what}`;

/** The response to a request; asks for the token when it is wrong. Throws ApiError with the agent's words. */
export async function request(method, path, body) {
  for (;;) {
    const token = sessionStorage.getItem(KEY);
    const headers = {};
    if (token) headers.Authorization = `Bearer ${token}`;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(path, { method, headers, body: body && JSON.stringify(body), redirect: "manual", cache: "no-store" });
    } catch {
      throw new ApiError(0, "the agent does not answer");
    }
    if (response.ok) return response;
    if (response.type === "opaqueredirect") throw new ApiError(0, "you are signed out: reload the page");
    if (response.status === 401) {
      await askToken(token);
      continue;
    }
    const said = await response.json().catch(() => null);
    throw new ApiError(response.status, said?.error ?? `the agent answered ${response.status}`);
  }
}

/** The JSON of an answer. */
export const json = async (...what) => (await request(...what)).json();

/** One question, however many requests wait for the answer. */
function askToken(used) {
  if (used !== sessionStorage.getItem(KEY)) return null;
  asking ??= (async () => {
    const dialog = $("#token");
    $("#token-why").textContent = used ? "The token is wrong, or no longer right." : "";
    keepToken(null);
    $("form", dialog).reset();
    const given = await ask(dialog, (form) => {
      const token = form.get("token").trim();
      if (/^[\x21-\x7e]+$/.test(token)) return token;
      $("#token-why").textContent = "That is not a token.";
      return null;
    });
    asking = null;
    if (given === null) throw new ApiError(401, "without the token nothing is told");
    keepToken(given);
  })();
  return asking;
}
