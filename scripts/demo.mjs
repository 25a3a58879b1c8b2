// `npm run demo`: edits images with the built-in model, trains it on an edit that it has never seen, and shows both in
// demo/index.html and demo/sheet.png.

import { mkdir, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { editorOf, scoreEdits, summarise, worldExamples } from "../dist/evaluation/world.js";
import { builtInModel, builtInPhotoModel, InstructPix2PixPipeline } from "../dist/index.js";
import { Album, findPhotos } from "../dist/photos/index.js";
import { judgedPhotos } from "../dist/photos/score.js";
import { lessonExample } from "../dist/world/index.js";
import { ASKED, PAIRS, STEPS, teach, writeLesson } from "./demo/lesson.mjs";
import { drawPage } from "./demo/page.mjs";
import { bar, bold, dim, green, line, red } from "./demo/terminal.mjs";
import { drawSheet } from "./model/sheet.mjs";
import { EDITING } from "./tiny/settings.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = join(root, "demo");
/** Seed of scenes and edits that the model was not trained on. */
const SEED = 20;
const EDITS = 20;
/** Edits of photographs, and the side of the crops. */
const PHOTO_EDITS = 10;
const PHOTO_SIDE = 192;
const QUESTIONS = 40;

const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;
const shown = (path) => relative(process.cwd(), path) || path;
const percent = (share) => `${Math.round(100 * share)} %`;

/** Edits and scores examples with a model. */
async function score(model, examples, total, what, batch = 4) {
  const since = performance.now();
  const pipeline = await InstructPix2PixPipeline.fromPretrained(model, { device: "auto" });
  const results = await scoreEdits(examples, editorOf(pipeline, EDITING), {
    batch,
    onProgress: ({ length }) => line(`  ${what.padEnd(42)} ${bar(length, total)} ${length}/${total}`, false),
  });
  pipeline.dispose();
  const success = results.filter((each) => each.score.success).length / total;
  line(`  ${what.padEnd(42)} ${bar(1, 1)} ${percent(success)} of ${total} succeed, ${seconds(since)}`);
  return { results, success, count: total };
}

async function demo() {
  const started = performance.now();
  console.log(bold("instruct-pix2pix: images edited by instruction\n"));
  await mkdir(folder, { recursive: true });

  const { usable } = await findPhotos(join(builtInPhotoModel, "examples"), PHOTO_SIDE);
  const album = new Album(join(builtInPhotoModel, "examples"), usable, PHOTO_SIDE);
  const asked = judgedPhotos(album, SEED, PHOTO_EDITS);
  const photos = await score(builtInPhotoModel, asked, PHOTO_EDITS, "edits of photographs", 1);
  for (const { example, score: one } of photos.results)
    line(`    ${one.success ? green("✓") : red("✗")} ${example.instruction}`);

  const world = await score(builtInModel, worldExamples(SEED, EDITS), EDITS, "edits of drawings");
  for (const { example, score: one } of world.results.slice(0, 10))
    line(`    ${one.success ? green("✓") : red("✗")} ${example.instruction}`);

  console.log(`\n  ${bold("training on a new edit:")} old photographs\n`);
  const lesson = (total) => worldExamples(ASKED, total, lessonExample);
  const before = await score(builtInModel, lesson(QUESTIONS), QUESTIONS, "before training");
  const dataset = join(folder, "lesson");
  await writeLesson(dataset);
  const losses = [];
  const teaching = performance.now();
  const taught = await teach(builtInModel, dataset, join(folder, "taught-model"), ({ step, trainLoss }) => {
    losses.push(trainLoss);
    const note = `${step}/${STEPS} ${dim(`loss ${trainLoss.toFixed(3)}`)}`;
    line(`  ${`training on ${PAIRS} pairs`.padEnd(42)} ${bar(step, STEPS)} ${note}`, false);
  });
  const taughtIn = (performance.now() - teaching) / 1000;
  line(`  ${`training on ${PAIRS} pairs`.padEnd(42)} ${bar(1, 1)} ${STEPS} steps in ${taughtIn.toFixed(1)} s`);
  const after = await score(taught, lesson(QUESTIONS), QUESTIONS, "after training");
  const known = await score(taught, worldExamples(SEED, EDITS), EDITS, "edits known before");

  const [sheet, page] = [join(folder, "sheet.png"), join(folder, "index.html")];
  const examples = [...world.results.slice(0, 16), ...after.results.slice(0, 8)];
  await writeFile(sheet, await drawSheet(examples, summarise([...world.results, ...after.results])));
  const all = { before, after, known, pairs: PAIRS, steps: STEPS, seconds: taughtIn };
  const elapsed = (performance.now() - started) / 1000;
  await writeFile(page, await drawPage({ photos, world, lesson: all, losses, seconds: elapsed }));

  console.log(`\n  ${green("✓")} ${bold(shown(page))} and ${bold(shown(sheet))}, in ${seconds(started)}\n`);
  console.log("  To train a model of your choice on your own edits:");
  console.log("    npx ip2p train --pretrained_model_name_or_path MODEL --train_data_dir PAIRS --output_dir mine\n");
}

try {
  await demo();
} catch (error) {
  console.error(error?.name === "InstructPix2PixError" ? `demo: ${error.message}` : error);
  process.exitCode = 1;
}
