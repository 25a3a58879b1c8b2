// Shows that a dataset larger than memory trains in bounded memory, and how fast images are prepared:
//
//   node scripts/measure-data.mjs [--gigabytes 2] [--codec SNAPPY|UNCOMPRESSED] [--rows 100] [--resolution 256]
//                                 [--workers 2] [--batches 50]
//
// Writes --gigabytes of parquet files, each a row group of --rows pairs of images, opens them, and loads random
// batches. Prints the peak of resident memory beside the size of the data, times, and the event loop's delay.

import { mkdtempSync, rmSync, statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { parquetWriteFile } from "hyparquet-writer";
import sharp from "sharp";
import { createLoader, openDataset } from "../dist/data/index.js";

const { values } = parseArgs({
  options: {
    gigabytes: { type: "string", default: "2" },
    codec: { type: "string", default: "SNAPPY" },
    rows: { type: "string", default: "100" },
    resolution: { type: "string", default: "256" },
    workers: { type: "string", default: "2" },
    batches: { type: "string", default: "50" },
  },
});
const rowsPerFile = Number(values.rows);
const scratch = mkdtempSync(join(tmpdir(), "ip2p-measure-data-"));
let peak = 0;
const watch = setInterval(() => {
  peak = Math.max(peak, process.memoryUsage().rss);
}, 10);

/** An image that does not compress well, as photographs do not. */
async function drawPicture(seed) {
  const noise = Buffer.alloc(96 * 96 * 3);
  let state = seed * 2654435761 + 1;
  for (let i = 0; i < noise.length; i++) noise[i] = (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 24;
  const small = sharp(noise, { raw: { width: 96, height: 96, channels: 3 } });
  return small.resize(768, 768, { kernel: "cubic" }).png({ compressionLevel: 1 }).toBuffer();
}

async function writeFiles(folder) {
  const pictures = await Promise.all(Array.from({ length: 16 }, (_, seed) => drawPicture(seed)));
  const pick = (i) => Buffer.concat([pictures[i % 16], Buffer.from(`${i}`)]);
  let bytes = 0;
  let rows = 0;
  for (let file = 0; bytes < Number(values.gigabytes) * 1e9; file++) {
    const filename = join(folder, `train-${String(file).padStart(5, "0")}.parquet`);
    const numbers = Array.from({ length: rowsPerFile }, (_, i) => rows + i);
    parquetWriteFile({
      filename,
      codec: values.codec,
      rowGroupSize: rowsPerFile,
      columnData: [
        { name: "input_image", data: numbers.map(pick), type: "BYTE_ARRAY" },
        { name: "edited_image", data: numbers.map((i) => pick(i + 5)), type: "BYTE_ARRAY" },
        { name: "edit_prompt", data: numbers.map((i) => `instruction ${i}`), type: "STRING" },
      ],
    });
    rows += rowsPerFile;
    bytes += statSync(filename).size;
  }
  return { bytes, rows };
}

async function measured(what, work) {
  globalThis.gc?.();
  peak = process.memoryUsage().rss;
  const before = peak;
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const start = performance.now();
  const result = await work();
  const seconds = (performance.now() - start) / 1000;
  delay.disable();
  const late = `event loop p99 ${(delay.percentile(99) / 1e6).toFixed(1)} ms, max ${(delay.max / 1e6).toFixed(1)} ms`;
  const memory = `memory ${megabytes(before)} → peak ${megabytes(peak)}`;
  console.log(`${what}: ${seconds.toFixed(2)} s; ${memory}; ${late}`);
  return { result, seconds };
}

function megabytes(bytes) {
  return `${Math.round(bytes / 1e6)} MB`;
}

try {
  const folder = join(scratch, "data");
  await mkdir(folder);
  const { bytes, rows } = await writeFiles(folder);
  console.log(`${rows} pairs, ${megabytes(bytes)} of ${values.codec} parquet, row groups of ${rowsPerFile}`);
  const options = { trainDataDir: folder, cacheDir: join(scratch, "cache") };
  const { result: dataset } = await measured("first open", () => openDataset(options));
  await measured("second open", async () => (await openDataset(options)).close());
  const batches = Array.from({ length: Number(values.batches) }, (_, b) => ({
    rows: Array.from({ length: 4 }, (_, i) => ((b * 4 + i) * 7919) % rows),
  }));
  const loader = createLoader(dataset, { resolution: Number(values.resolution), workers: Number(values.workers) });
  // The first image loads the native library.
  await loader.load([0]);
  const { seconds } = await measured("loaded", async () => {
    for await (const batch of loader.prefetched(batches))
      for (const [i, prompt] of batch.prompts.entries())
        if (prompt !== `instruction ${batch.indices[i]}`) throw new Error(`row ${batch.indices[i]} holds ${prompt}`);
  });
  console.log(`${((batches.length * 4) / seconds).toFixed(1)} pairs per second at ${values.resolution}²`);
  await dataset.close();
} finally {
  clearInterval(watch);
  rmSync(scratch, { recursive: true, force: true });
}
