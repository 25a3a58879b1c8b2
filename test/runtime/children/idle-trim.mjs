// Computes while the addon is returning unused memory to the system, in which `hold-trim.cc` holds it:
// node idle-trim.mjs FOLDER
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { RgbImage } from "../../../dist/images/index.js";
import { onOneThread, Tensor } from "./package.mjs";

const [folder] = process.argv.slice(2);
const MEGABYTE = 2 ** 20;

await onOneThread();
const unused = await Tensor.zeros([MEGABYTE]);
unused.dispose();
while (!existsSync(join(folder, "held"))) await setTimeout(50);

const tensor = await Tensor.full([2 * MEGABYTE], 3);
const sum = await tensor.add(tensor);
const elements = await sum.toArray();
tensor.dispose();
sum.dispose();
const picture = await new RgbImage(64, 64, new Uint8Array(64 * 64 * 3).fill(9)).resize(8, 8);
console.log(JSON.stringify({ element: elements.at(-1), pixel: picture.data[0] }));

writeFileSync(join(folder, "release"), "");
