// Tokens, audit log and rejected messages.
import { attempt, badge, bytes, button, card, confirm, empty, field, heading, make, note, part, problem, select, sentence, table, time, toggle } from "./kit.js";
import { address, all, at, get, send } from "./api.js";

// ---- tokens
const ROLES = [["viewer", "Viewer: sees everything but pictures"], ["operator", "Operator: also acknowledges, edits and sends commands"], ["admin", "Admin: also models, roll-outs and tokens"]];
const EXPIRY = [["", "Never"], ["7", "In 7 days"], ["30", "In 30 days"], ["90", "In 90 days"], ["365", "In a year"]];
const showSecret = (name, secret) => {
  const box = make("input", { type: "text", readonly: "", value: secret, class: "secret", "aria-label": `Token of ${name}` });
  box.addEventListener("focus", () => box.select());
  const copy = button("Copy", async () => {
    try {
      await navigator.clipboard.writeText(secret);
      note("Copied.");
    } catch {
      box.select();
      note("The browser does not allow copying: copy the selected text.", "bad");
    }
  });
  return confirm(`The token of ${name}`, "Done", { cancel: "", content: [part("p", "", "Copy it now: the server keeps only its hash, and it is not shown again."), part("div", "secret-row", box, copy)] });
};
const tokenState = (token) => (token.revoked ? ["ended", "Revoked"] : token.expires && Date.parse(token.expires) < Date.now() ? ["ended", "Expired"] : ["open", "Valid"]);

export const showTokens = async (context) => {
  const { root } = context;
  const tokens = await all("tokens");
  const add = button("New token", async () => {
    const name = make("input", { type: "text", maxlength: "200", required: "" });
    const [role, days] = [select(ROLES, "viewer"), select(EXPIRY, "90")];
    const content = [field("Name", name, "Of the person or program; it is in the audit log"), field("Role", role), field("Expires", days)];
    if (!(await confirm("New token", "Create", { content }))) return;
    try {
      const made = await send("POST", "tokens", { name: name.value.trim(), role: role.value, ...(days.value ? { days: Number(days.value) } : {}) });
      await showSecret(made.name, made.token);
      await showTokens(context);
    } catch (error) { problem(error); }
  }, "primary");
  const rows = tokens.map((token) => {
    const revoke = button("Revoke", async () => {
      if (!(await confirm(`Revoke the token ${token.name}?`, "Revoke", { content: [part("p", "", "Whoever uses it is signed out at once.")], kind: "danger" }))) return;
      await attempt(revoke, async () => {
        await send("DELETE", at("tokens", token.name));
        note(`The token ${token.name} is revoked.`);
        await showTokens(context);
      });
    }, "danger quiet");
    revoke.setAttribute("aria-label", `Revoke ${token.name}`);
    return [token.name, sentence(token.role), badge(...tokenState(token)), time(token.used) === "–" ? "Never" : time(token.used), token.expires ? time(token.expires) : "Never", token.revoked ? "" : revoke];
  });
  root.replaceChildren(heading("Tokens", { lead: "Each person and program has a token of its own.", actions: [add] }),
    part("div", "card", rows.length ? table("Tokens", ["Name", "Role", "State", "Last used", "Expires", ""], rows) : empty("No tokens yet.")));
};

// ---- logs
const logPage = async (context, { title, lead, source, none, columns, cells }) => {
  const body = part("div", "card");
  let rows = [];
  let next = null;
  const grow = async () => {
    const page = await get(source, { cursor: next, limit: 100 });
    next = page.next;
    rows = rows.concat(page.items.map(cells));
    const older = button("Older", () => attempt(older, grow));
    body.replaceChildren(rows.length ? table(title, columns, rows) : empty(none), ...(next ? [part("p", "", older)] : []));
  };
  await grow();
  context.root.replaceChildren(heading(title, { lead }), body);
};
const detailText = (details) => Object.entries(details || {}).map(([key, value]) => `${key}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join(", ");
export const showAudit = (context) => logPage(context, {
  title: "Audit", lead: "Every command and every change, and whose token made it.", source: "audit", none: "Nothing has been changed yet.",
  columns: ["Time", "Token", "Action", "Target", "Details", "Address"],
  cells: (entry) => [time(entry.time), entry.token, entry.action, entry.target, detailText(entry.details), entry.address],
});
export const showRejects = (context) => logPage(context, {
  title: "Rejects", lead: "Messages that were not accepted, and why.", source: "rejects", none: "No rejects: every message was accepted.",
  columns: ["Time", "Topic", "Reason", "Size", "Beginning"],
  cells: (entry) => [time(entry.received), part("code", "", entry.topic), entry.reason, bytes(entry.size), part("code", "", entry.payload)],
});
