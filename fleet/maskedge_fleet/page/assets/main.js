// Session, navigation and views.
import { byId, make, note, part } from "./kit.js";
import { connect, disconnect, get, listen, send, whenSignedOut } from "./api.js";
import { showAlerts } from "./alerts.js";
import { showAudit, showRejects, showTokens } from "./admin.js";
import { showDevice } from "./device.js";
import { showFleet } from "./fleet.js";
import { showModels } from "./models.js";
import { showRollout } from "./rollouts.js";
import { showSite, showSites } from "./sites.js";

const ROLES = ["viewer", "operator", "admin"];
// Views by the first part of the address: title, least role, function, and true if the menu has it.
const VIEWS = {
  "": ["Fleet", "viewer", showFleet, true],
  sites: ["Sites", "viewer", showSites, true],
  site: ["Site", "viewer", showSite, false],
  device: ["Device", "viewer", showDevice, false],
  alerts: ["Alerts", "viewer", showAlerts, true],
  models: ["Models", "admin", showModels, true],
  rollout: ["Roll-out", "admin", showRollout, false],
  tokens: ["Tokens", "admin", showTokens, true],
  audit: ["Audit", "admin", showAudit, true],
  rejects: ["Rejects", "operator", showRejects, true],
};

let session = null;
const can = (role) => ROLES.indexOf(session.role) >= ROLES.indexOf(role);

// ---- the view
let leave = () => {};
const parse = () => {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  try {
    const [name, ...names] = path.split("/").map(decodeURIComponent);
    return { name, names, query: new URLSearchParams(query) };
  } catch {
    return { name: "?", names: [], query: new URLSearchParams() }; // A malformed % in the address.
  }
};
const open = async () => {
  if (!session) return;
  leave();
  const { name, names, query } = parse();
  const undo = [];
  let left = false;
  const onLeave = (act) => { if (left) act(); else undo.push(act); };
  leave = () => {
    left = true;
    for (const act of undo) act();
  };
  const root = make("div", { class: "view", "aria-busy": "true" }, part("p", "lead loading", "Loading …"));
  const view = Object.hasOwn(VIEWS, name) && can(VIEWS[name][1]) ? VIEWS[name] : null;
  closeMenu();
  byId("main").replaceChildren(root);
  for (const item of byId("nav").querySelectorAll("a")) {
    const current = item.dataset.view === name || item.dataset.view === `${name}s` || (name === "device" && item.dataset.view === "") || (name === "rollout" && item.dataset.view === "models");
    if (current) item.setAttribute("aria-current", "page");
    else item.removeAttribute("aria-current");
  }
  const context = {
    names, query, can, root, onLeave,
    isLeft: () => left,
    setTitle: (title) => { if (!left) document.title = `${title} · maskedge fleet`; },
    listen: (act) => onLeave(listen(act)),
    every: (milliseconds, act) => {
      const timer = setInterval(() => { if (!document.hidden) act(); }, milliseconds);
      onLeave(() => clearInterval(timer));
    },
    // Changes the query of the address without a new view.
    remember: (changes) => {
      for (const [key, value] of Object.entries(changes)) {
        if (value) query.set(key, value);
        else query.delete(key);
      }
      history.replaceState(null, "", `#/${[name, ...names].map(encodeURIComponent).join("/")}${query.size ? `?${query}` : ""}`);
    },
  };
  context.setTitle(view ? view[0] : "Not found");
  try {
    if (!view) throw new Error("There is no such page, or your role does not show it.");
    await view[2](context);
    if (!left && (document.activeElement === document.body || !document.activeElement)) root.querySelector("h1")?.focus({ preventScroll: true });
  } catch (error) {
    root.replaceChildren(part("div", "heading", make("h1", { tabindex: "-1" }, view ? view[0] : "Not found")), make("p", { class: "banner", role: "alert" }, error.message, " ", make("span", {}, make("a", { href: "#/" }, "Back to the fleet"))));
  }
  root.removeAttribute("aria-busy");
};

// ---- the menu
const closeMenu = () => {
  byId("menu").setAttribute("aria-expanded", "false");
  byId("side").classList.remove("shown");
};
byId("menu").addEventListener("click", () => {
  const shown = byId("side").classList.toggle("shown");
  byId("menu").setAttribute("aria-expanded", String(shown));
});
addEventListener("keydown", (event) => { if (event.key === "Escape") closeMenu(); });
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  (byId("main").querySelector("h1") || byId("main")).focus();
});
const showMenu = () => byId("nav").replaceChildren(...Object.entries(VIEWS).filter(([, [, role, , listed]]) => listed && can(role)).map(([name, [title]]) => make("li", {},
  make("a", { href: `#/${name}`, "data-view": name }, title, name === "alerts" ? make("span", { class: "count", id: "alert-count", hidden: "" }) : null))));
const showAlertCount = (summary) => {
  const count = byId("alert-count");
  const open = summary.alerts.open;
  count.hidden = !open;
  count.textContent = open > 999 ? "999+" : String(open);
  count.setAttribute("aria-label", `${open} open`);
};
listen((name, content) => { if (name === "summary" && session) showAlertCount(content); });

// ---- the session
const signOut = (why) => {
  session = null;
  leave();
  leave = () => {};
  disconnect();
  byId("main").replaceChildren();
  byId("app").hidden = true;
  byId("sign-in").hidden = false;
  byId("sign-in-problem").textContent = why;
  document.title = "Sign in · maskedge fleet";
  byId("token").focus();
};
const start = async (answer) => {
  session = answer;
  byId("sign-in").hidden = true;
  byId("app").hidden = false;
  byId("who").textContent = session.name;
  byId("role").textContent = session.role;
  showMenu();
  connect();
  get("summary").then(showAlertCount, () => {});
  await open();
};
byId("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [submit, token] = [event.target.querySelector("button"), byId("token").value.trim()];
  byId("sign-in-problem").textContent = "";
  submit.disabled = true;
  try {
    const answer = await send("POST", "session", { token });
    byId("token").value = "";
    await start(answer);
  } catch (error) {
    byId("sign-in-problem").textContent = error.status === 401 ? "This token is unknown, expired or revoked." : error.message;
    byId("token").select();
  }
  submit.disabled = false;
});
byId("sign-out").addEventListener("click", async () => {
  try {
    await send("DELETE", "session");
    signOut("");
    note("Signed out.");
  } catch (error) {
    note(error.message, "bad");
  }
});
whenSignedOut(() => { if (session) signOut("You are signed out: the token has expired or was revoked."); });
addEventListener("hashchange", open);

if (document.body.dataset.session === "no") signOut("");
else {
  try {
    await start(await get("session"));
  } catch (error) {
    signOut(error.status === 401 ? "" : error.message);
  }
}
