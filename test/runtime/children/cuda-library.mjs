// Opens a CUDA libtorch whole, with the package's CUDA library, whether or not there is a driver, and calls everything that
// needs a device. argv: the addon, the preload module, the libraries in order.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const [addonPath, preloadPath, ...libraries] = process.argv.slice(2);
const { dlopen } = require(preloadPath);
for (const library of libraries) dlopen(library);
const addon = require(addonPath);

const x = addon.tensorFromData(new Float32Array([1, -2, 3, 4]), "float32", [1, 4]);
const calls = {
  cudaProperties: () => addon.cudaProperties("cuda:0"),
  deviceMemory: () => addon.deviceMemory("cuda"),
  resetPeakMemory: () => addon.resetPeakMemory("cuda"),
  emptyCache: () => addon.emptyCache("cuda"),
  synchronize: () => addon.synchronize("cuda"),
  full: () => addon.full([2], 1, "float32", "cuda"),
  to: () => addon.to(x, null, "cuda"),
  randn: () => addon.randn([2], "float32", "cuda", null),
  replayOperator: () => addon.replayOperator("geglu", [x], []),
};
const outcomes = {};
for (const [name, call] of Object.entries(calls))
  outcomes[name] = await (async () => call())().then(
    () => "works",
    (error) => `${error.code} ${error.message}`,
  );
// The CPU is as it was.
const [gate] = await addon.callOperator("geglu", [x], [], null);
const computed = Array.from(await addon.tensorToData(gate));
console.log(JSON.stringify({ outcomes, computed, system: addon.systemInfo(), versions: addon.cudaVersions() }));
