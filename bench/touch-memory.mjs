// Writes once to some gigabytes of memory that is free, and ends. The host of a virtual machine provides pages when they are first used, ten
// times more slowly than the machine zeroes them afterwards, and whoever is measured first would wait for it.
//
//   node bench/touch-memory.mjs

import { spawnSync } from "node:child_process";
import os from "node:os";
import { fileURLToPath } from "node:url";

const PAGE = 4096;
const CHUNK = 64 << 20;
/** More than one side needs, and little enough that the files that both read stay in memory. */
const MOST = 8 * 1024 ** 3;

/** Touches the free memory from a process of its own, which gives it back. */
export function touchMemory() {
  spawnSync(process.execPath, [fileURLToPath(import.meta.url)], { stdio: "ignore" });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const chunks = [];
  for (let left = Math.min(os.freemem() / 2, MOST); left > 0; left -= CHUNK) {
    const chunk = Buffer.allocUnsafeSlow(CHUNK);
    for (let at = 0; at < CHUNK; at += PAGE) chunk[at] = 1;
    chunks.push(chunk);
  }
}
