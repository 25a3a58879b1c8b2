// The package in a node:vm context, as jest and vitest's vm pools load it: Node.js' own objects are of another realm than the
// program's. Needs --experimental-vm-modules and --experimental-import-meta-resolve.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import vm from "node:vm";

const context = vm.createContext({});
const builtins = new Set(vm.runInContext("Object.getOwnPropertyNames(globalThis)", context));
for (const name of Object.getOwnPropertyNames(globalThis))
  if (!builtins.has(name) && name !== "globalThis")
    Object.defineProperty(context, name, Object.getOwnPropertyDescriptor(globalThis, name));

const loaded = new Map();
async function load(specifier, parent) {
  const url = specifier.startsWith("node:") ? specifier : import.meta.resolve(specifier, parent);
  if (!loaded.has(url)) loaded.set(url, await make(url));
  return loaded.get(url);
}
async function make(url) {
  if (!url.startsWith("file:") || !url.includes("/dist/") || url.includes("/node_modules/")) {
    const outer = await import(url);
    const names = Object.keys(outer);
    const fill = function () {
      for (const name of names) this.setExport(name, outer[name]);
    };
    return new vm.SyntheticModule(names, fill, { context, identifier: url });
  }
  return new vm.SourceTextModule(readFileSync(fileURLToPath(url), "utf8"), {
    context,
    identifier: url,
    initializeImportMeta: (meta) => {
      meta.url = url;
      meta.resolve = (specifier) => import.meta.resolve(specifier, url);
    },
    importModuleDynamically: (specifier) => evaluate(specifier, url),
  });
}
async function evaluate(specifier, parent) {
  const module = await load(specifier, parent);
  await module.link((name, from) => load(name, from.identifier));
  await module.evaluate();
  return module;
}

const inner = (code) => vm.runInContext(code, context);
const url = new URL("../../../dist/index.js", import.meta.url).href;
const { namespace: ip2p } = await evaluate(url, import.meta.url);
const { Tensor, RgbImage, Generator } = ip2p;
const numbers = async (tensor) => Array.from(await tensor.toArray(), Number);
const picture = () => new RgbImage(64, 64, inner("new Uint8Array(64 * 64 * 3).fill(99)"));
const png = await picture().encode("png");
const foreignBytes = (name) =>
  inner(`(bytes) => { const copy = new Uint8Array(new ${name}(bytes.length)); copy.set(bytes); return copy; }`)(png);

const kinds = ["Float32", "Float64", "Int32", "Int16", "Int8", "Uint8", "Uint8Clamped", "BigInt64"];
if (typeof Float16Array === "function") kinds.push("Float16");
const attempts = {
  "a round trip": async () => numbers(Tensor.from(await (await Tensor.full([2], 3)).toArray())),
  "an array that is returned": async () =>
    (await (await Tensor.full([2], 3)).toArray()) instanceof inner("Float32Array"),
  "pixels, a Uint8Array": async () => (await RgbImage.load(foreignBytes("ArrayBuffer"))).width,
  "an ArrayBuffer": async () => (await RgbImage.load(foreignBytes("ArrayBuffer").buffer)).width,
  "a SharedArrayBuffer": async () => (await RgbImage.load(foreignBytes("SharedArrayBuffer").buffer)).width,
  "a Buffer": async () => (await RgbImage.load(Buffer.from(png))).width,
  "a URL": async () =>
    (await RgbImage.load(new URL(`data:image/png;base64,${Buffer.from(png).toString("base64")}`))).width,
  "a generator's state": async () => {
    const generator = new Generator("cpu", 5);
    const state = await generator.getState();
    await generator.setState(inner("(bytes) => Uint8Array.from(bytes)")(state));
    return Buffer.compare(await generator.getState(), state);
  },
  "a list of a scheduler": async () =>
    ip2p.DDPMScheduler.fromConfig({ trained_betas: inner("Float64Array.of(0.1, 0.2)"), num_train_timesteps: 2 }).config
      .trained_betas.length,
  "an edit": async () => {
    const pipeline = await ip2p.InstructPix2PixPipeline.fromPretrained(ip2p.builtInModel, inner('({ device: "cpu" })'));
    const options = inner(
      '(image, signal) => ({ image, signal, prompt: "make it night", numInferenceSteps: 1, seed: 1 })',
    );
    const { images } = await pipeline.run(options(picture(), new AbortController().signal));
    return images[0].width;
  },
  "an error's class": async () => {
    const errors = [
      await Tensor.cat([]).catch((error) => error),
      await RgbImage.load("/no/such.png").catch((error) => error),
    ];
    return errors.map((error) => error instanceof ip2p.InstructPix2PixError && ip2p.isInstructPix2PixError(error));
  },
  "using of both realms": async () => {
    const tensor = await Tensor.zeros([1]);
    const symbol = inner("Symbol.dispose");
    return [symbol === Symbol.dispose, typeof tensor[symbol], typeof inner("Symbol.asyncDispose")];
  },
  "no DataView": async () => Tensor.from(inner("new DataView(new ArrayBuffer(4))")),
};
for (const kind of kinds)
  for (const [where, run] of [
    ["inner", inner],
    ["outer", (code) => vm.runInThisContext(code)],
  ])
    attempts[`${kind} of the ${where} realm`] = () =>
      numbers(Tensor.from(run(`${kind}Array.of(${kind === "BigInt64" ? "1n, 2n" : "1, 2"})`)));

const outcomes = {};
for (const [name, attempt] of Object.entries(attempts))
  outcomes[name] = await attempt().catch((error) => `${error.code ?? error.name}: ${error.message}`);
console.log(JSON.stringify(outcomes));
