import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fixture } from "./fixtures.js";

/** Kandinsky 2.2's tiny decoder as a folder of one that paints in masks. */
export function copyInpaintingDecoder(folder: string): void {
  cpSync(fixture("kandinsky22", "decoder"), folder, { recursive: true });
  rmSync(join(folder, "unet"), { recursive: true });
  cpSync(fixture("kandinsky22-inpaint", "unet"), join(folder, "unet"), { recursive: true });
  const path = join(folder, "model_index.json");
  const index = { ...JSON.parse(readFileSync(path, "utf8")), _class_name: "KandinskyV22InpaintPipeline" };
  writeFileSync(path, JSON.stringify(index));
}
