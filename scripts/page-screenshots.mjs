// Takes the screenshots of the server's page that docs/server.md shows: node scripts/page-screenshots.mjs [CHROMIUM]

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import sharp from "sharp";
import { builtInModel, builtInPhotoModel } from "../dist/index.js";
import { createServer } from "../dist/server/index.js";

const executablePath = process.argv[2] ?? "/usr/bin/chromium";

const fixtures = fileURLToPath(new URL("../test/fixtures", import.meta.url));
const jobs = mkdtempSync(join(tmpdir(), "ip2p-page-jobs-"));
const server = await createServer({
  models: { photos: builtInPhotoModel, world: builtInModel, tiny: join(fixtures, "ip2p-tiny/model") },
  ...{ port: 0, logLevel: "silent" },
  ...{ loras: { style: join(fixtures, "lora/style.safetensors") } },
  ...{ jobsDir: jobs, trainDir: join(fixtures, "script-full") },
});
const url = await server.listen();
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });

/** Edits the same example, as it looks on a screen. */
async function shoot(name, viewport, colorScheme, instruction) {
  const page = await browser.newPage({ viewport, colorScheme, deviceScaleFactor: 1 });
  await page.addInitScript(() => {
    Math.random = () => 0.000042;
  });
  // Machines may be slow.
  page.setDefaultTimeout(150_000);
  await page.goto(url);
  await page.getByRole("img", { name: /to change/ }).waitFor();
  await page.getByLabel("another one each time").uncheck();
  await page.getByRole("spinbutton", { name: "Seed" }).fill("3");
  await page.getByRole("textbox", { name: "Instruction" }).fill(instruction);
  await page.keyboard.press("Control+Enter");
  await page.getByRole("img", { name: "after" }).waitFor();
  await page.waitForTimeout(500);
  await page.evaluate(() => scrollTo(0, 0));
  await keep(name, await page.screenshot());
  await page.close();
}

async function keep(name, png) {
  const path = fileURLToPath(new URL(`../docs/${name}.webp`, import.meta.url));
  await sharp(png).webp({ quality: 80 }).toFile(path);
}

/** A training job with its samples, while it runs. */
async function shootTraining(name) {
  const page = await browser.newPage({ viewport: { width: 900, height: 900 }, colorScheme: "light" });
  await page.addInitScript(() => {
    Math.random = () => 0.000042;
  });
  page.setDefaultTimeout(150_000);
  await page.goto(url);
  await page.getByRole("img", { name: /to change/ }).waitFor();
  // Samples are edits of the example, which has to be one of its drawings.
  await page.getByRole("combobox", { name: "Model" }).selectOption("world");
  await page.getByText("knows drawings like this one only").waitFor();
  const form = page.getByRole("form", { name: "Training" });
  await form.getByLabel("Data set").selectOption("dataset");
  await form.getByLabel("Start from").selectOption("world");
  for (const [label, value] of Object.entries({
    ...{ "Training steps": "20", Resolution: "64", "Batch size": "2" },
    ...{ "Edit for samples": "make the background peach", "Samples after every … epochs": "1" },
  }))
    await form.getByLabel(label).fill(value);
  await form.getByRole("button", { name: "Train" }).click();
  await page.getByText(/^step 1\d of 20/).waitFor();
  await page.getByRole("img", { name: /^Sample 4 after step/ }).waitFor();
  await keep(name, await page.getByRole("region", { name: "Training" }).screenshot());
  await page.getByRole("button", { name: "Cancel training" }).click();
  await page.getByText("cancelled").waitFor();
  await page.close();
}

await shoot("page", { width: 1200, height: 800 }, "light", "make it black and white");
await shoot("page-phone", { width: 390, height: 844 }, "dark", "make it a pencil sketch");
await shootTraining("page-training");
await browser.close();
await server.close();
rmSync(jobs, { recursive: true, force: true });
