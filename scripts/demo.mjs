// `npm run demo`: edits a picture with the tiny model of the tests and writes before and after side by side.

import { mkdir } from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { InstructPix2PixPipeline, imageGrid, RgbImage } from "../dist/index.js";
import { drawScene } from "./demo-scene.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const model = join(root, "test", "fixtures", "ip2p-tiny", "model");
const folder = join(root, "demo");
const instructions = ["make it winter", "turn it into a watercolour", "let the sun set"];
const steps = 8;
/** The model is far from fast for its size, so it gets a small picture. */
const editedSize = [96, 72];

const colourful = process.stdout.isTTY && !process.env.NO_COLOR;
const paint = (code) => (text) => (colourful ? `\x1b[${code}m${text}\x1b[0m` : text);
const [bold, dim, yellow, green] = [paint(1), paint(2), paint(33), paint(32)];
const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;
const shown = (path) => relative(process.cwd(), path) || path;

/** Rewrites the line on a terminal; elsewhere only finished lines are printed. */
function line(text, finished = true) {
  if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${text}${finished ? "\n" : ""}`);
  else if (finished) console.log(text);
}

function bar(done, total, width = 24) {
  const full = Math.round((width * done) / total);
  return `${"█".repeat(full)}${dim("░".repeat(width - full))}`;
}

async function demo() {
  console.log(bold("instruct-pix2pix: pictures edited by instruction\n"));
  const { width, height, data } = await drawScene();
  const original = new RgbImage(width, height, data);
  const small = await original.resize(...editedSize);
  line(`  ${"a picture, drawn for this demo".padEnd(42)} ${width}×${height}, edited at ${editedSize.join("×")}`);

  const begun = performance.now();
  const pipeline = await InstructPix2PixPipeline.fromPretrained(model, { device: "auto" });
  line(`  ${"a model, the tiny one of the tests".padEnd(42)} loaded in ${seconds(begun)} (${pipeline.unet.device})`);

  const pictures = [original];
  for (const prompt of instructions) {
    const name = `  “${prompt}”`.padEnd(44);
    const since = performance.now();
    const { images } = await pipeline.run({
      ...{ prompt, image: small, seed: 1, numInferenceSteps: steps },
      ...{ guidanceScale: 7.5, imageGuidanceScale: 1.5 },
      onStep: ({ step, totalSteps }) => line(`${name} ${bar(step + 1, totalSteps)} ${step + 1}/${totalSteps}`, false),
    });
    line(`${name} ${bar(1, 1)} ${steps} steps in ${seconds(since)}`);
    pictures.push(await images[0].resize(width, height, "bicubic"));
  }

  pipeline.dispose();

  await mkdir(folder, { recursive: true });
  const [before, after] = [join(folder, "original.png"), join(folder, "before-after.png")];
  await original.save(before);
  await imageGrid(pictures, { columns: 2, gap: 8 }).save(after);

  console.log(`\n  ${green("✓")} ${bold(shown(after))}`);
  console.log(`      ┌──────────────────────────────┬──────────────────────────────┐`);
  const cells = ["before", ...instructions].map((text) => text.padEnd(28));
  console.log(`      │ ${cells[0]} │ ${cells[1]} │`);
  console.log(`      │ ${cells[2]} │ ${cells[3]} │`);
  console.log(`      └──────────────────────────────┴──────────────────────────────┘`);
  console.log(
    `\n${yellow("  The weights of this model are random, so what it makes of the picture means nothing yet:")}`,
  );
  console.log(yellow("  the demo shows that everything works together. For a real edit, give a trained model:\n"));
  console.log("    node dist/cli/main.js edit --model timbrooks/instruct-pix2pix \\");
  console.log(`      --image ${shown(before)} --prompt "make it winter" --output winter.png\n`);
}

try {
  await demo();
} catch (error) {
  console.error(error?.name === "InstructPix2PixError" ? `demo: ${error.message}` : error);
  process.exitCode = 1;
}
