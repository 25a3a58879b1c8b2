// Takes the screenshot of the server's page that docs/server.md shows: node scripts/page-screenshots.mjs [CHROMIUM]

import { chromium } from "playwright-core";
import sharp from "sharp";
import { builtInModel } from "../dist/index.js";
import { createServer } from "../dist/server/index.js";

const executablePath = process.argv[2] ?? "/usr/bin/chromium";

const server = await createServer({ models: { "built-in": builtInModel }, port: 0, logLevel: "silent" });
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
  const png = await page.screenshot();
  await sharp(png)
    .webp({ quality: 80 })
    .toFile(new URL(`../docs/${name}.webp`, import.meta.url).pathname);
  await page.close();
}

await shoot("page", { width: 1200, height: 800 }, "light", "make the background peach");
await browser.close();
await server.close();
