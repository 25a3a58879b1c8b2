// Prints the device that "auto" selects, the warnings, and the errors for missing devices.
import { resolveDevice } from "../../../dist/core/device.js";
import { Generator, InstructPix2PixPipeline } from "../../../dist/index.js";
import { Tensor, tinyModel } from "./package.mjs";

const warnings = [];
process.on("warning", ({ message }) => warnings.push(message));
const refusals = {};
async function refused(name, call) {
  try {
    await call();
    refusals[name] = "was granted";
  } catch (error) {
    refusals[name] = `${error.code} ${error.message}`;
  }
}

const auto = resolveDevice("auto");
for (const device of [undefined, "auto"])
  (await InstructPix2PixPipeline.fromPretrained(tinyModel, { device })).dispose();
await refused("resolveDevice", () => resolveDevice("cuda"));
await refused("fromPretrained", () => InstructPix2PixPipeline.fromPretrained(tinyModel, { device: "cuda:1" }));
await refused("zeros", () => Tensor.zeros([1], { device: "cuda" }));
await refused("to", () => Tensor.from([1]).to({ device: "cuda:1" }));
await refused("Generator", () => new Generator("cuda", 0));
await new Promise(setImmediate);
console.log(JSON.stringify({ auto, warnings, refusals }));
