// Trains a model on your own pairs, shows how far it is, and edits an image with it at the end:
//
//   node train.js pairs my-model --base ./base --steps 15000
//
// Ctrl-C saves a checkpoint and ends the program; started again, it goes on from there. `pairs` is a folder of images with a
// metadata.jsonl, or of parquet files: see docs/data-sets.md.

import { parseArgs } from "node:util";
import { checkDataset, InstructPix2PixPipeline, isInstructPix2PixError, train } from "instruct-pix2pix";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    base: { type: "string", default: "stable-diffusion-v1-5/stable-diffusion-v1-5" },
    steps: { type: "string", default: "15000" },
    resolution: { type: "string", default: "256" },
    batch: { type: "string", default: "4" },
    image: { type: "string" },
    prompt: { type: "string", default: "make it winter" },
  },
});
const [trainDataDir, outputDir] = positionals;
if (!trainDataDir || !outputDir) {
  console.error("usage: node train.js PAIRS OUTPUT [--base MODEL] [--steps N] [--image FILE --prompt TEXT]");
  process.exit(2);
}

const report = await checkDataset({ from: trainDataDir });
console.log(`${report.usableRows} of ${report.rows} pairs can be used`);
for (const { where, reason } of report.unusable.first) console.log(`  ${where}: ${reason}`);

const stop = new AbortController();
process.once("SIGINT", () => stop.abort());
try {
  const run = train({
    pretrainedModelNameOrPath: values.base,
    trainDataDir,
    outputDir,
    resolution: Number(values.resolution),
    trainBatchSize: Number(values.batch),
    maxTrainSteps: Number(values.steps),
    conditioningDropoutProb: 0.05,
    checkpointingSteps: 500,
    checkpointsTotalLimit: 2,
    resumeFromCheckpoint: "latest",
    reportTo: "none",
    signal: stop.signal,
  });
  for await (const { step, trainLoss, samplesPerSecond } of run)
    if (step % 10 === 0)
      console.log(`step ${step}: loss ${trainLoss.toFixed(4)}, ${samplesPerSecond.toFixed(1)} pairs/s`);
  await run;
} catch (error) {
  if (!isInstructPix2PixError(error, "ERR_ABORTED")) throw error;
  console.log("stopped; the same command goes on from the last checkpoint");
  process.exit(130);
}
console.log(`the model is in ${outputDir}`);

if (values.image !== undefined) {
  const pipe = await InstructPix2PixPipeline.fromPretrained(outputDir);
  const { images } = await pipe.run({ image: values.image, prompt: values.prompt, numInferenceSteps: 20, seed: 0 });
  await images[0]?.save("edited.png");
  pipe.dispose();
}
