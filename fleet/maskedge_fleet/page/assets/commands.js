// Commands to a device: a form with what the device allows, a question before sending, and the answers.
import { attempt, badge, button, confirm, empty, field, make, part, row, select, sentence, spaced, table, time } from "./kit.js";
import { all, at, get, send } from "./api.js";

const WAIT_S = 30;
const STATES = { waiting: ["Waiting for the broker", "wait"], sent: ["Sent", "wait"], progress: ["In progress", "wait"], done: ["Done", "open"], refused: ["Refused", "lost"], failed: ["Failed", "lost"], expired: ["Expired", "lost"] };
const OVER = ["done", "refused", "failed", "expired"];
const state = (command) => (Object.hasOwn(STATES, command.state) ? STATES[command.state] : [command.state, "wait"]);

// Commands by name: what they do, least role, and the form of their arguments: `fields` are elements,
// `read` returns the arguments.
const flag = (name) => select([["", "Keep"], ["true", "On"]].concat(name === "anonymize" ? [["false", "As in the file"]] : [["false", "As in the file"]]));
const COMMANDS = {
  reload: ["Reload the configuration", "The device reads its file again. Its cameras may be away for seconds.", "operator"],
  restart: ["Restart", "The device restarts its program. Its cameras are away until it is back.", "admin"],
  snapshot: ["Take a snapshot", "The device sends one picture of a camera.", "operator", (device) => {
    const camera = select(device.full_cameras.map((one) => [one.name, one.name]), device.full_cameras[0]?.name);
    return { fields: [field("Camera", camera)], read: () => ({ camera: camera.value }) };
  }],
  privacy: ["Set privacy", "Never weaker than the file of the device.", "operator", () => {
    const [anonymize, only] = [flag("anonymize"), flag("stats_only")];
    const value = (control) => (control.value === "" ? undefined : control.value === "true");
    return { fields: [field("Pixelate faces", anonymize), field("Only counts, no tracks", only)], read: () => ({ anonymize: value(anonymize), stats_only: value(only) }) };
  }],
  log_level: ["Set the log level", "Until the next restart.", "operator", () => {
    const level = select(["debug", "info", "warning", "error"].map((name) => [name, sentence(name)]), "info");
    return { fields: [field("Level", level)], read: () => ({ level: level.value }) };
  }],
  revert_model: ["Go back to the previous model", "The device loads the model that it had before.", "admin", () => {
    const kind = select([["classifier", "Classifier"], ["detector", "Detector"]], "classifier");
    return { fields: [field("Model", kind)], read: () => ({ kind: kind.value }) };
  }],
};
const allowed = (context, device) => Object.keys(COMMANDS).filter((name) => context.can(COMMANDS[name][2])
  && (device.commands.includes(name) || (name === "revert_model" && device.commands.includes("update_model"))));

const path = (device) => `${at("devices", device)}/commands`;
// Sends a command and waits for its answer.
export const sendCommand = async (context, device, command, args) => {
  const sent = await send("POST", path(device), { command, arguments: args });
  for (const end = Date.now() + 1000 * WAIT_S; Date.now() < end;) {
    await new Promise((resolve) => { setTimeout(resolve, 700); });
    const page = await get(path(device), { limit: 20 });
    const now = page.items.find((one) => one.id === sent.id);
    if (now && now.state === "done") return now;
    if (now && OVER.includes(now.state)) throw new Error((now.answer && now.answer.sentence) || `The command has ${state(now)[0].toLowerCase()}.`);
    if (context.isLeft()) break;
  }
  throw new Error("The device has not answered yet. The answer appears under Commands.");
};

const argumentsText = (command) => Object.entries(command.arguments || {}).filter(([, value]) => ["string", "number", "boolean"].includes(typeof value)).map(([key, value]) => `${spaced(key)} ${value}`).join(", ");
export const commandPanel = (context, device) => {
  const history = part("div", "");
  const COLUMNS = ["Command", "State", "Answer", "Sent", "By"];
  let waiting = false;
  const load = async () => {
    const { items } = await get(path(device.name), { limit: 20 });
    waiting = items.some((one) => !OVER.includes(one.state));
    history.replaceChildren(items.length ? table("Commands", COLUMNS, items.map((one) => [
      [sentence(spaced(one.command)), argumentsText(one) ? part("span", "note", ` ${argumentsText(one)}`) : ""],
      badge(state(one)[1], state(one)[0]),
      (one.answer && one.answer.sentence) || "–",
      time(one.created),
      one.created_by,
    ])) : empty("No commands yet."));
  };
  load().catch((error) => history.replaceChildren(part("p", "why bad", error.message)));
  context.every(2000, () => { if (waiting) load().catch(() => {}); });
  context.every(15000, () => load().catch(() => {}));
  if (!context.can("operator")) return [history];
  const names = allowed(context, device);
  if (!names.length) {
    return [part("p", "lead", device.commands.length ? "Your role may send none of the commands that the device allows." : "The device allows no commands: list them in [fleet] commands of its configuration."), history];
  }
  const buttons = names.map((name) => {
    const [title, explanation, , form] = COMMANDS[name];
    const one = button(title, async () => {
      const { fields, read } = form ? form(device) : { fields: [], read: () => ({}) };
      if (!(await confirm(`${title}: ${device.name}`, "Send", { content: [part("p", "", explanation), ...fields] }))) return;
      await attempt(one, async () => {
        await send("POST", path(device.name), { command: name, arguments: read() });
        await load();
      });
    });
    return one;
  });
  return [part("div", "actions start", ...buttons), history];
};
