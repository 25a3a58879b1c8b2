// What every release of Node.js must be able to do with the compiled package, in one process:
//
//   node --expose-gc smoke.mjs FOLDER
//
// Loads the addon, edits, trains three steps and goes on from the checkpoint, edits in a worker thread and ends another
// in the middle of its work. Prints one line of JSON when the process ends by itself.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { builtInModel, InstructPix2PixPipeline, train } from "../../dist/index.js";
import { native } from "../../dist/runtime/native.js";

const fixture = (path) => fileURLToPath(new URL(`../fixtures/${path}`, import.meta.url));
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

async function edited(numInferenceSteps) {
  await native().setThreads(1);
  const pipe = await InstructPix2PixPipeline.fromPretrained(builtInModel, { device: "cpu" });
  const image = fixture("built-in/picture.png");
  const prompt = "change the background to peach";
  const onStep = () => parentPort?.postMessage("step");
  const { images } = await pipe.run({ image, prompt, seed: 1, numInferenceSteps, onStep });
  pipe.dispose();
  return sha256(images[0].data);
}

async function trained(outputDir, maxTrainSteps, resumeFromCheckpoint) {
  await train({
    pretrainedModelNameOrPath: fixture("script-full/base"),
    trainDataDir: fixture("script-full/dataset"),
    outputDir,
    resolution: 32,
    trainBatchSize: 2,
    seed: 3n,
    useEma: true,
    maxTrainSteps,
    checkpointingSteps: 2,
    resumeFromCheckpoint,
    reportTo: "none",
    device: "cpu",
  });
  return sha256(readFileSync(join(outputDir, "unet", "diffusion_pytorch_model.safetensors")));
}

function worker(steps) {
  const thread = new Worker(new URL(import.meta.url), { workerData: { steps } });
  const heard = (isIt) =>
    new Promise((resolve, reject) => {
      thread.on("error", reject).on("message", (message) => isIt(message) && resolve(message));
    });
  return { thread, heard };
}

if (!isMainThread) {
  parentPort.postMessage(await edited(workerData.steps));
} else {
  const folder = process.argv[2];
  const result = { warnings: [] };
  process.on("warning", ({ name, message }) => result.warnings.push(`${name}: ${message}`));
  process.on("exit", () => console.log(JSON.stringify(result)));

  result.edit = await edited(3);
  result.training = await trained(join(folder, "whole"), 3);
  await trained(join(folder, "resumed"), 2);
  result.resumed = await trained(join(folder, "resumed"), 3, "latest");

  const [whole, endless] = [worker(3), worker(1000)];
  result.worker = await whole.heard((message) => message !== "step");
  await endless.heard((message) => message === "step");
  await endless.thread.terminate();

  // A file that was left open ends the process here, or warns, depending on the release.
  for (let i = 0; i < 3; i++) {
    gc();
    await setTimeout(10);
  }
}
