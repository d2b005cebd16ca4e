// Requests to the API and its live messages. Addresses are relative, so that the page works below any
// path of a proxy. The session is a cookie that scripts cannot read.
import { byId } from "./kit.js";

const ROOT = "api/v1";
const TIMEOUT = 30000;
const RETRY = 2000;

export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let onSignedOut = () => {};
export const whenSignedOut = (act) => { onSignedOut = act; };

export const address = (path, query = {}) => {
  const fields = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  return `${ROOT}/${path}${fields.size ? `?${fields}` : ""}`;
};
export const at = (...parts) => parts.map(encodeURIComponent).join("/");

const request = async (method, url, body) => {
  // Another site cannot send this header.
  const options = { method, signal: AbortSignal.timeout(TIMEOUT), headers: { "X-Requested-With": "page" } };
  if (body instanceof FormData) options.body = body;
  else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    throw new Problem(0, "The server does not answer. Check the network, then try again.");
  }
  const content = (response.headers.get("Content-Type") || "").includes("json") ? await response.json().catch(() => null) : null;
  if (response.ok) return content;
  if (response.status === 401) onSignedOut();
  throw new Problem(response.status, (content && typeof content.error === "string" && content.error) || `The server answered with the status ${response.status}.`);
};
export const get = (path, query) => request("GET", address(path, query));
export const send = (method, path, body) => request(method, address(path), body);

// Reads all pages of a list. `each` gets the items so far after every page but the last.
export const all = async (path, query = {}, each = () => {}) => {
  const items = [];
  let cursor = null;
  do {
    const page = await get(path, { ...query, cursor });
    items.push(...page.items);
    cursor = page.next;
    if (cursor) each(items);
  } while (cursor);
  return items;
};

// ---- live messages
const MESSAGES = ["device", "alert", "summary", "reload"];
const listeners = new Set();
let source = null;
let lost = false;
const showState = (state, text) => {
  byId("live").dataset.state = state;
  if (byId("live").textContent !== text) byId("live").textContent = text;
};
export const connect = () => {
  disconnect();
  source = new EventSource(address("live"));
  source.addEventListener("open", () => {
    showState("open", "Live");
    if (lost) for (const listener of listeners) listener("reload", null);
    lost = false;
  });
  source.addEventListener("error", () => {
    lost = true;
    showState("lost", "Reconnecting");
    // The browser does not try again after a refusal. If the session has ended, so does the page's.
    if (source && source.readyState === EventSource.CLOSED) {
      setTimeout(() => get("session").catch(() => {}).then(() => { if (source && source.readyState === EventSource.CLOSED) connect(); }), RETRY);
    }
  });
  for (const name of MESSAGES) {
    source.addEventListener(name, (event) => {
      const content = JSON.parse(event.data);
      for (const listener of listeners) listener(name, content);
    });
  }
};
export const disconnect = () => {
  if (source) source.close();
  source = null;
};
// A hidden page needs no messages, and a browser has few connections to a server.
document.addEventListener("visibilitychange", () => {
  if (!source) return;
  if (document.hidden) {
    lost = true;
    source.close();
  } else connect();
});
export const listen = (act) => {
  listeners.add(act);
  return () => listeners.delete(act);
};
