// A roll-out: its stages, its devices, and what an admin may do.
import { anchor, badge, button, card, confirm, duration, empty, heading, make, number, part, percent, plural, problem, sentence, shortHash, spaced, table, time } from "./kit.js";
import { get, send } from "./api.js";

const STATES = { running: "open", paused: "wait", halted: "lost", rolling_back: "warn", rolled_back: "ended", done: "ended" };
const DEVICE_STATES = { waiting: "wait", sent: "wait", downloaded: "wait", trial: "wait", active: "open", failed: "lost", rolled_back: "ended" };
const WORDS = { waiting: "Waiting", sent: "Sent", downloaded: "Downloaded", trial: "On trial", active: "Active", failed: "Failed", rolled_back: "Rolled back" };
const ACTIONS = {
  pause: ["Pause", ["running"], "No further device is updated until the roll-out is resumed.", "primary"],
  resume: ["Resume", ["paused", "halted"], "The next devices are updated.", "primary"],
  halt: ["Halt", ["running", "paused"], "No further device is updated. Devices that have the model keep it.", "danger"],
  roll_back: ["Roll back all", ["running", "paused", "halted", "done"], "Every device of the roll-out goes back to the model that it had before.", "danger"],
};

export const rolloutBadge = (rollout) => badge(STATES[rollout.state] || "wait", sentence(spaced(rollout.state)));
export const memberBadge = (state) => badge(DEVICE_STATES[state] || "wait", WORDS[state] || spaced(state));
export const target = ({ scope }) => (scope.site ? `Site ${scope.site}` : scope.group ? `Group ${scope.group}` : scope.devices ? plural(scope.devices.length, "device") : "All devices");
const counts = (rollout) => rollout.devices_by_state || {};
const total = (rollout) => Object.values(counts(rollout)).reduce((sum, value) => sum + value, 0);
export const progress = (rollout) => {
  const all = total(rollout);
  if (!all) return "–";
  const bar = make("meter", { min: "0", max: String(all), "aria-hidden": "true" });
  bar.value = counts(rollout).active || 0;
  return part("span", "share", part("b", "", `${number(counts(rollout).active || 0)} of ${number(all)}`), bar);
};
const stageText = (stage) => (stage.devices ? stage.devices.join(", ") : `${number(stage.percent)}% of the devices`);
const stages = (rollout) => make("ol", { class: "stages" }, ...rollout.stages.map((stage, i) => {
  const over = i < rollout.stage || rollout.state === "done";
  const current = !over && i === rollout.stage;
  return make("li", { "data-state": over ? "open" : current ? (STATES[rollout.state] === "lost" ? "lost" : "current") : "wait", ...(current ? { "aria-current": "step" } : {}) },
    part("b", "", `Stage ${i + 1}`), part("span", "words", stageText(stage)), part("span", "note", `${over ? "Done" : current ? `Now${rollout.stage_started ? ", since " : ""}` : "Later"}`, current && rollout.stage_started ? time(rollout.stage_started) : "", stage.wait_s ? ` · watched for ${duration(stage.wait_s)}` : ""));
}));
const LIMITS = {
  failed_share: (value) => `more than ${percent(value)} of a stage fail`,
  share_change: (value) => `the share of masked faces changes by more than ${percent(value)}`,
  latency_ratio: (value) => `the latency grows to more than ${percent(value)}`,
};

export const showRollout = async (context) => {
  const { root, names: [id], can } = context;
  const act = (name) => async () => {
    const [title, , explanation, kind] = ACTIONS[name];
    if (!(await confirm(`${title}?`, title, { content: [part("p", "", explanation)], kind }))) return;
    try {
      await send("POST", `rollouts/${encodeURIComponent(id)}/${name}`);
      await load();
    } catch (error) { problem(error); }
  };
  let last = "";
  const load = async () => {
    const rollout = await get(`rollouts/${encodeURIComponent(id)}`);
    const key = JSON.stringify(rollout);
    if (context.isLeft() || key === last) return;
    last = key;
    const { model } = rollout;
    context.setTitle(`Roll-out of ${model.name}`);
    const actions = can("admin") ? Object.entries(ACTIONS).filter(([, [, states]]) => states.includes(rollout.state)).map(([name, [title, , , kind]]) => button(title, act(name), kind === "danger" ? "danger quiet" : "")) : [];
    const limits = Object.entries(rollout.limits || {}).filter(([key_]) => Object.hasOwn(LIMITS, key_)).map(([key_, value]) => LIMITS[key_](value));
    const tiles = Object.keys(WORDS).filter((state) => counts(rollout)[state]).map((state) => make("li", { "data-state": DEVICE_STATES[state] }, part("span", "number", number(counts(rollout)[state])), part("span", "word", WORDS[state])));
    root.replaceChildren(
      heading(`${model.name}, release ${model.release}`, { lead: [anchor("Models and roll-outs", "models"), ` · ${target(rollout)} · ${shortHash(model.sha256)} `, rolloutBadge(rollout)], actions }),
      ...(rollout.reason ? [make("p", { class: "banner" }, "Halted. ", make("span", {}, sentence(rollout.reason)))] : []),
      part("ul", "counts summary", ...tiles),
      card("Stages", "", stages(rollout), limits.length ? part("p", "lead", `Halts when ${limits.join(", or when ")}.`) : ""),
      card("Devices", "", rollout.devices.length ? table("Devices", ["Device", "Stage", "State", "Answer", "Changed"], rollout.devices.map((device) => [
        anchor(device.device, "device", device.device), number(device.stage + 1), memberBadge(device.state), device.sentence || "–", time(device.changed),
      ])) : empty("No devices take part yet.")));
  };
  await load();
  context.every(3000, () => load().catch(() => {}));
};
