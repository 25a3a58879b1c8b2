import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { train } from "../../dist/index.js";
import { drawScene, lessonExample, worldExample } from "../../dist/world/index.js";

/** Training pairs; few, like a user's first data set. Trained on new edits only, a model forgets the old ones. */
const [NEW, KNOWN] = [200, 200];
export const PAIRS = NEW + KNOWN;
export const STEPS = 240;
const SEEDS = { teaching: 10, asking: 11 };

/** Unseen examples of the lesson come from this seed. */
export const ASKED = SEEDS.asking;

/** Writes a data set as a user would: images, and a line for each pair in metadata.jsonl. */
export async function writeLesson(folder) {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const lines = [];
  for (let i = 0; i < PAIRS; i++) {
    const { scene, edit } = i < NEW ? lessonExample(SEEDS.teaching, i) : worldExample(SEEDS.teaching, i);
    const [before, after] = [`${i}-before.png`, `${i}-after.png`];
    await (await drawScene(scene)).save(join(folder, before));
    await (await drawScene(edit.target)).save(join(folder, after));
    lines.push({ input_image_file_name: before, edit_prompt: edit.instruction, edited_image_file_name: after });
  }
  await writeFile(join(folder, "metadata.jsonl"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
}

/** How the lesson is taught, in the options of `train`. */
export const LESSON_OPTIONS = {
  resolution: 64,
  trainBatchSize: 16,
  maxTrainSteps: STEPS,
  learningRate: 3e-4,
  lrScheduler: "cosine",
  lrWarmupSteps: 20,
  conditioningDropoutProb: 0.05,
  trainTextEncoder: true,
  cacheLatents: true,
  checkpointingSteps: STEPS,
  reportTo: "none",
  seed: 1,
};

/**
 * Continues training a model on the lesson.
 *
 * @param onStep called after every step
 */
export async function teach(model, dataset, outputDir, onStep) {
  await rm(outputDir, { recursive: true, force: true });
  await train({
    pretrainedModelNameOrPath: model,
    trainDataDir: dataset,
    outputDir,
    ...LESSON_OPTIONS,
    onStep,
  });
  return outputDir;
}
