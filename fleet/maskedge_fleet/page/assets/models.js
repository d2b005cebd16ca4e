// Signed models and their roll-outs.
import { anchor, attempt, badge, button, bytes, card, confirm, empty, field, heading, localTime, make, note, number, part, problem, select, sentence, shortHash, table, time } from "./kit.js";
import { all, send } from "./api.js";
import { progress, rolloutBadge, target } from "./rollouts.js";

const upload = async (changed) => {
  const file = make("input", { type: "file", accept: ".onnx", required: "" });
  const signature = make("input", { type: "file", accept: ".sig", required: "" });
  const content = [part("p", "lead", "edge-export sign writes the signature beside the model."), field("Model (.onnx)", file), field("Signature (.onnx.sig)", signature)];
  if (!(await confirm("Upload a model", "Upload", { content }))) return;
  const form = new FormData();
  form.append("model", file.files[0]);
  form.append("signature", signature.files[0]);
  await send("POST", "models", form);
  note("The model is stored.");
  await changed();
};

// The stages as people write them: devices by name first, then percentages.
const begin = async (models, changed) => {
  const [sites, devices] = await Promise.all([all("sites"), all("devices", { limit: 2000 })]);
  const groups = [...new Set(devices.map((device) => device.group).filter(Boolean))].sort();
  const model = select(models.map((one) => [one.sha256, `${one.name} · release ${one.release} · ${shortHash(one.sha256)}`]), models[0].sha256);
  const scope = select([["", "All devices"], ...sites.filter((site) => site.name).map((site) => [`site/${site.name}`, `Site ${site.name}`]), ...groups.map((group) => [`group/${group}`, `Group ${group}`])]);
  const names = make("datalist", { id: "device-names" }, ...devices.map((device) => make("option", { value: device.name })));
  const canaries = make("input", { type: "text", list: "device-names", placeholder: "door-1, door-2" });
  const percents = make("input", { type: "text", value: "10, 50, 100", pattern: "[\\d.,\\s]*", title: "Numbers with commas between" });
  const wait = make("input", { type: "number", min: "0", max: "10080", value: "60" });
  const failed = make("input", { type: "number", min: "0", max: "100", value: "5" });
  const content = [
    field("Model", model), field("Devices", scope),
    field("First on these devices", canaries, "Names with commas between; empty for none"), names,
    field("Then on percent", percents, "Rising numbers; the last one is 100"),
    field("Minutes between stages", wait), field("Halt when this percentage fails", failed),
  ];
  if (!(await confirm("Start a roll-out", "Start", { content }))) return;
  const first = canaries.value.split(",").map((name) => name.trim()).filter(Boolean);
  const waits = { wait_s: 60 * Number(wait.value) };
  const [kind, ...rest] = scope.value.split("/");
  await send("POST", "rollouts", {
    model: model.value,
    stages: [...(first.length ? [{ devices: first, ...waits }] : []), ...percents.value.split(",").map(Number).filter((percent) => percent > 0).map((percent) => ({ percent, ...waits }))],
    scope: kind ? { [kind]: rest.join("/") } : {},
    limits: { failed_share: Number(failed.value) / 100 },
  });
  note("The roll-out has started.");
  await changed();
};

export const showModels = async (context) => {
  const { root } = context;
  const again = () => (context.isLeft() ? undefined : load());
  const act = (work) => async () => {
    try { await work(again); } catch (error) { problem(error); }
  };
  const load = async () => {
    const [models, rollouts] = await Promise.all([all("models"), all("rollouts")]);
    const start = button("Start a roll-out", act(() => begin(models, again)), "primary");
    const head = heading("Models and roll-outs", { actions: [button("Upload a model", act(upload)), models.length ? start : null].filter(Boolean) });
    root.replaceChildren(head,
      card("Roll-outs", "", rollouts.length ? table("Roll-outs", ["Model", "State", "Devices", "Progress", "Started", "By"], rollouts.map((rollout) => [
        anchor(`${rollout.model.name} · release ${rollout.model.release}`, "rollout", String(rollout.id)),
        rolloutBadge(rollout), target(rollout), progress(rollout), time(rollout.created), rollout.created_by,
      ])) : empty(models.length ? "No roll-outs yet: start one with the button above." : "No roll-outs yet: upload a signed model first.")),
      card("Models", "", models.length ? table("Models", ["Name", "Kind", "Release", "Size", "SHA-256", "Uploaded", "By"], models.map((model) => [
        model.name, sentence(model.kind), number(model.release), bytes(model.size), make("code", { title: model.sha256 }, shortHash(model.sha256)), time(model.created), model.created_by,
      ])) : empty("No models yet: sign one with edge-export sign, then upload it.")));
  };
  await load();
  context.every(5000, () => { if (!root.contains(document.activeElement) || document.activeElement.tagName === "H1") load().catch(() => {}); });
};
