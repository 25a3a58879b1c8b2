import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { builtInModel, builtInPhotoModel, loadImage } from "../../lib/index.js";
import { native } from "../../lib/runtime/native.js";
import { createServer, type ImageServer } from "../../lib/server/index.js";
import { fixture } from "../helpers/fixtures.js";
import { endTraining } from "./end-training.js";
import * as inPage from "./in-page.mjs";

/** A browser of the system. */
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
/** Milliseconds after which something hangs, on a busy machine too. */
const HANGS_MS = 240_000;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

// Needs a browser, which is no package of npm.
describe.skipIf(!existsSync(executablePath))("the page in Chromium", () => {
  let server: ImageServer;
  let browser: Browser;
  let url = "";
  beforeAll(async () => {
    await native().setThreads(1);
    const models = { "built-in": builtInModel, text: fixture("text2img", "model"), photos: builtInPhotoModel };
    server = await createServer({ models, port: 0, logLevel: "silent", maxSteps: 1000, timeout: 600 });
    url = await server.listen();
    browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close();
  });

  let context: BrowserContext;
  let page: Page;
  /** What must not happen: errors, what the policy blocks, and requests to elsewhere. */
  let wrong: string[];
  beforeEach(async () => {
    wrong = [];
    context = await browser.newContext({ viewport: { width: 1200, height: 900 }, permissions: ["clipboard-write"] });
    page = await context.newPage();
    page.setDefaultTimeout(HANGS_MS);
    page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
    page.on("pageerror", (error) => wrong.push(String(error)));
    page.on("request", (request) => {
      if (!/^(blob|data):/.test(request.url()) && !request.url().startsWith(url)) wrong.push(request.url());
    });
    await page.goto(url);
    await page.getByRole("img", { name: "to change: example.png" }).waitFor();
  });
  afterEach(async () => {
    await context.close();
    expect(wrong).toEqual([]);
  });

  const button = (name: string, exact = true) => page.getByRole("button", { name, exact });
  const setNumber = async (label: string, value: number) => {
    await page.getByRole("spinbutton", { name: label }).fill(String(value));
    await page.keyboard.press("Tab");
  };
  const edit = async () => {
    await button("Edit").click();
    await page.getByRole("figure").waitFor();
  };
  const says = (text: string | RegExp) => page.getByRole("status").filter({ hasText: text }).waitFor();
  const findings = async () => {
    await page.evaluate(axe);
    return page.evaluate(inPage.findings);
  };
  const shown = () => page.getByRole("img", { name: "after" }).evaluate(inPage.bytesOf);

  it("has an example for each built-in model, in place of another's but not of one's own image", async () => {
    await page.getByText("drawings like this one").waitFor();
    const example = page.getByRole("img", { name: "to change: example.png" });
    const drawn = await example.getAttribute("src");
    await page.getByRole("combobox", { name: "Model" }).selectOption("photos");
    await page.getByText("the manner of photographs").waitFor();
    await expect.poll(() => example.getAttribute("src"), { timeout: HANGS_MS }).not.toBe(drawn);
    await setNumber("Steps", 2);
    await edit();
    await says("the image is ready");

    await page.getByLabel("Image file").setInputFiles(fixture("lora", "image0.png"));
    await page.getByRole("img", { name: "to change: image0.png" }).waitFor();
    await page.getByRole("combobox", { name: "Model" }).selectOption("built-in");
    await page.getByText("drawings like this one").waitFor();
    await page.getByRole("img", { name: "to change: image0.png" }).waitFor();
  });

  it("edits an example, compares, and has no serious findings in light, dark and on a phone", async () => {
    await setNumber("Steps", 4);
    await setNumber("Proposals", 2);
    await edit();
    await says("2 images are ready");
    await button("Proposal 2").click();
    expect(await button("Proposal 2").getAttribute("aria-pressed")).toBe("true");

    const slider = page.getByRole("slider", { name: "How much of the image before is shown" });
    const clip = () => page.getByRole("img", { name: "after" }).evaluate(inPage.clipOf);
    expect(await clip()).toContain("50%");
    await slider.focus();
    await page.keyboard.press("Home");
    expect(await clip()).toBe("inset(0px 0px 0px 0%)");
    await page.getByLabel("side by side").check();
    expect(await clip()).toBe("none");

    const themes = page.getByLabel("Colours");
    const ground = () => page.evaluate(inPage.groundOf);
    await themes.selectOption("light");
    const light = await ground();
    expect(await findings()).toEqual([]);
    await themes.selectOption("dark");
    expect(await ground()).not.toBe(light);
    expect(await findings()).toEqual([]);
    await page.setViewportSize({ width: 360, height: 740 });
    expect(await findings()).toEqual([]);
    expect(await page.evaluate(inPage.widthOf)).toBe(360);
  });

  it("tells the steps with previews, is cancelled by a key, and works by the keyboard alone", async () => {
    await setNumber("Steps", 1000);
    await page.getByRole("textbox", { name: "Instruction" }).fill("make it night");
    await page.keyboard.press("Control+Enter");
    await page.getByText(/^Step \d+ of 1000/).waitFor();
    await page.getByRole("img", { name: "so far" }).waitFor();
    await page.keyboard.press("Escape");
    await says("cancelled");
    await button("Edit").waitFor();
    expect(await page.getByRole("figure").count()).toBe(0);
    expect(await page.getByRole("alert").textContent()).toBe("");
    // The server has stopped, too: it is at the next request at once.
    await setNumber("Steps", 1);
    await edit();
  });

  it("keeps a history, and downloads files that tell their settings when they come back", async () => {
    await setNumber("Steps", 2);
    await page.getByLabel("another one each time").uncheck();
    await setNumber("Seed", 77);
    await page.getByRole("textbox", { name: "Instruction" }).fill("let it snow – ❄");
    await edit();
    const first = await shown();
    const downloading = page.waitForEvent("download");
    await button("Download").click();
    const file = await downloading;
    expect(file.suggestedFilename()).toBe("edit-77.png");
    const path = await file.path();
    // An intact PNG, of the same pixels.
    const { data } = await loadImage(path);
    expect(Buffer.from(data)).toEqual(Buffer.from((await loadImage(Buffer.from(first))).data));

    await page.reload();
    await page.getByRole("img", { name: "to change: example.png" }).waitFor();
    await setNumber("Seed", 5);
    await page.getByRole("button", { name: "let it snow – ❄", exact: true }).click();
    expect(await shown()).toEqual(first);
    const seed = page.getByRole("spinbutton", { name: "Seed" });
    expect(await seed.inputValue()).toBe("77");
    // The same image, settings and seed give the same image again.
    await edit();
    await says("the image is ready");
    expect(await shown()).toEqual(first);

    await setNumber("Seed", 5);
    await page.getByLabel("Image file").setInputFiles(path);
    await button("Use its settings").click();
    expect(await seed.inputValue()).toBe("77");
    expect(await page.getByRole("textbox", { name: "Instruction" }).inputValue()).toBe("let it snow – ❄");

    page.on("dialog", (dialog) => void dialog.accept());
    await button("Forget all").click();
    await page.getByRole("heading", { name: "History" }).waitFor({ state: "detached" });
  });

  it("takes images that are dropped and pasted, and says of a file that it is none", async () => {
    await page.evaluate(inPage.give, ["drop"] as const);
    await page.getByRole("img", { name: "to change: by drop.png" }).waitFor();
    await page.evaluate(inPage.give, ["paste"] as const);
    await page.getByRole("img", { name: "to change: by paste.png" }).waitFor();
    await says("100 by 50 pixels");
    await page.evaluate(inPage.give, ["paste", "text"] as const);
    await page.getByRole("alert").filter({ hasText: "by paste.png cannot be read as an image" }).waitFor();
  });

  it("paints a mask with undo, by pointer and keys, for models that take one; and makes images from text", async () => {
    await page.getByRole("combobox", { name: "Model" }).selectOption("text");
    await setNumber("Steps", 2);
    const canvas = page.getByRole("application");
    const painted = () => canvas.evaluate(inPage.paintedOf);
    const { x, y, width } = (await canvas.boundingBox())!;
    const stroke = async (from: number, to: number) => {
      await page.mouse.move(x + from * width, y + width / 2);
      await page.mouse.down();
      await page.mouse.move(x + to * width, y + width / 2, { steps: 4 });
      await page.mouse.up();
    };
    await stroke(0.2, 0.4);
    const drawn = () => expect.poll(painted, { timeout: HANGS_MS });
    await drawn().toBeGreaterThan(100);
    const one = await painted();
    await stroke(0.6, 0.8);
    await drawn().toBeGreaterThan(one);
    const two = await painted();
    await button("Undo").click();
    await drawn().toBe(one);
    await button("Redo").click();
    await drawn().toBe(two);
    await button("Eraser").click();
    await stroke(0.5, 0.9);
    await drawn().toBeLessThan(two);
    await canvas.focus();
    await page.keyboard.press("Control+z");
    await drawn().toBe(two);
    await button("Brush").click();
    await canvas.focus();
    for (const key of ["ArrowUp", "ArrowUp", "ArrowUp", "ArrowUp", "ArrowUp", "ArrowUp", " "])
      await page.keyboard.press(key);
    await page.keyboard.press("Tab");
    await drawn().toBeGreaterThan(two);
    expect(await findings()).toEqual([]);

    // The mask stays when the prompt changes, and is sent.
    await page.getByRole("textbox", { name: "Prompt" }).fill("a red star");
    await page.evaluate(inPage.recordForms);
    await edit();
    expect(await page.evaluate(inPage.recordedForms)).toEqual([expect.arrayContaining(["image", "mask", "strength"])]);

    await page.getByLabel("from text alone").check();
    await page.getByRole("textbox", { name: "Size" }).fill("64x64");
    await button("Make").click();
    await page.getByRole("img", { name: "a red star" }).first().waitFor();
    await says("the image is ready");
  });
});

describe.skipIf(!existsSync(executablePath))("adapters and training in Chromium", () => {
  const folder = mkdtempSync(join(tmpdir(), "ip2p-page-jobs-"));
  let server: ImageServer;
  let browser: Browser;
  let page: Page;
  beforeAll(async () => {
    await native().setThreads(1);
    server = await createServer({
      ...{ models: { tiny: fixture("ip2p-tiny", "model") }, loras: { style: fixture("lora", "style.safetensors") } },
      ...{ port: 0, logLevel: "silent", jobsDir: folder, trainDir: fixture("script-full") },
    });
    const url = await server.listen();
    browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
    page = await browser.newPage({ viewport: { width: 1200, height: 900 } });
    page.setDefaultTimeout(HANGS_MS);
    await page.goto(url);
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close();
    await endTraining(folder);
    rmSync(folder, { recursive: true, force: true });
  });

  it("sends the adapters that are chosen", async () => {
    await page.getByLabel("Image file").setInputFiles(fixture("lora", "image0.png"));
    await page.getByRole("textbox", { name: "Instruction" }).fill("make it snow");
    await page.getByRole("spinbutton", { name: "Steps", exact: true }).fill("2");
    await page.getByLabel("style", { exact: true }).check();
    await page.getByRole("spinbutton", { name: "How much style counts" }).fill("0.5");
    await page.keyboard.press("Tab");
    await page.evaluate(inPage.recordForms);
    await page.getByRole("button", { name: "Edit", exact: true }).click();
    await page.getByRole("status").filter({ hasText: "the image is ready" }).waitFor();
    expect(await page.evaluate(inPage.recordedForms)).toEqual([expect.arrayContaining(["image", "loras"])]);
  });

  it("trains, with a plot of the loss and samples, and cancels", async () => {
    const form = page.getByRole("form", { name: "Training" });
    await form.getByLabel("Data set").selectOption("dataset");
    for (const [label, value] of [
      ["Training steps", "8"],
      ["Resolution", "32"],
      ["Batch size", "2"],
    ] as const)
      await form.getByLabel(label).fill(value);
    await form.getByLabel("Edit for samples").fill("make it snow");
    await form.getByLabel("Samples after every … epochs").fill("2");
    await form.getByRole("button", { name: "Train" }).click();
    // They come while it trains.
    await page.getByRole("img", { name: /^Sample 4 after step \d+/ }).waitFor({ timeout: HANGS_MS });
    await page.getByText("succeeded").waitFor({ timeout: HANGS_MS });
    await page.getByRole("img", { name: /^Loss from step 1 to 8/ }).waitFor();
    const sample = (step: number) => page.getByRole("img", { name: `Sample 1 after step ${step}`, exact: true });
    await sample(8).waitFor();
    const last = await sample(8).evaluate(inPage.bytesOf);
    await page.getByRole("slider", { name: "Samples of which step" }).focus();
    await page.keyboard.press("Home");
    const [first] = (await page.getByText(/^samples after step/).textContent())!.match(/\d+/)!;
    expect(Number(first)).toBeLessThan(8);
    await sample(Number(first)).waitFor();
    expect(await sample(Number(first)).evaluate(inPage.bytesOf)).not.toEqual(last);
    await page.setViewportSize({ width: 360, height: 740 });
    expect(await page.evaluate(inPage.widthOf)).toBe(360);
    await page.evaluate(axe);
    expect(await page.evaluate(inPage.findings)).toEqual([]);

    await form.getByLabel("Training steps").fill("1000");
    await form.getByRole("button", { name: "Train" }).click();
    await page.getByText(/^step \d+ of 1000/).waitFor({ timeout: HANGS_MS });
    await page.getByRole("button", { name: "Cancel training" }).click();
    await page.getByText("cancelled").waitFor({ timeout: HANGS_MS });
  }, 300_000);
});
