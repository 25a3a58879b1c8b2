// Calls one part of the package with arguments of every wrong kind, in random combinations, and checks that each call
// either works or throws one proper error. That the process survives is the other half, which the test looks at.
//
//   node fuzz.mjs addon|objects|public SECONDS SEED
//
// Writes into the current folder, which has to be one that may be written to.
import { cpSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { Generator, InstructPix2PixError, loadSafetensors, saveSafetensors } from "../../../dist/index.js";
import { AutoencoderKL } from "../../../dist/models/autoencoder_kl.js";
import { CLIPTextModel } from "../../../dist/models/clip_text_model.js";
import { CLIPVisionModelWithProjection } from "../../../dist/models/clip_vision_model_with_projection.js";
import { ControlNetModel } from "../../../dist/models/controlnet.js";
import { PriorTransformer } from "../../../dist/models/prior_transformer.js";
import { VQModel } from "../../../dist/models/vq_model.js";
import { native, onOneThread, Tensor, tinyModel, UNet2DConditionModel } from "./package.mjs";

const [part, seconds, seed] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
await onOneThread();
const addon = native();

// A copy, since files are written too.
cpSync(tinyModel, "model", { recursive: true });
const model = (Class, folder) => Class.fromPretrained(`model/${folder}`);
const unet = await model(UNet2DConditionModel, "unet");
const vae = await model(AutoencoderKL, "vae");
const text = await model(CLIPTextModel, "text_encoder");
const controlNet = await ControlNetModel.fromConfig({
  ...{ block_out_channels: [8], down_block_types: ["DownBlock2D"], layers_per_block: 1, norm_num_groups: 4 },
  ...{ cross_attention_dim: 8, conditioning_embedding_out_channels: [4, 4, 4, 4], attention_head_dim: 2 },
});
const vision = await CLIPVisionModelWithProjection.fromConfig({
  ...{ hidden_size: 8, intermediate_size: 16, num_hidden_layers: 1, num_attention_heads: 2 },
  ...{ image_size: 16, patch_size: 8, projection_dim: 8 },
});
const vq = await VQModel.fromConfig({
  ...{ block_out_channels: [32], norm_type: "spatial", latent_channels: 4, num_vq_embeddings: 8 },
});
const prior = await PriorTransformer.fromConfig({
  ...{ num_attention_heads: 2, attention_head_dim: 4, num_layers: 1, embedding_dim: 8, num_embeddings: 5 },
});
const safetyChecker = await addon.createModel(
  ...["StableDiffusionSafetyChecker", { ...vision.config }, { device: "cpu", attention: "auto" }],
  new Generator("cpu", 0).handle,
);
const trainerOptions = {
  ...{ adamBeta1: 0.9, adamBeta2: 0.999, adamEpsilon: 1e-8, adamWeightDecay: 0, optimizer: "adamw" },
  ...{ useEma: true, gradientCheckpointing: false, shadowWeights: false, mixedPrecision: null },
  ...{ bfloat16Weights: false, weightsRounding: "stochastic", roundingSeed: 0, dropoutSeed: 0 },
  ...{ shardRank: 0, shardCount: 1, releaseGradients: false, offloadEma: false, traces: 2 },
};
const loss = { kind: "huber", deltas: Tensor.from([0.1]).handle, weights: Tensor.from([1]).handle };
const newAdapter = {
  name: "a",
  layers: ["encoder.layers.0.self_attn.q_proj"],
  rank: 2,
  alpha: 2,
  dropout: 0.1,
  inFull: [],
  likePeft: true,
};
const trainer = await addon.createTrainer(unet.handle, [], trainerOptions);
const store = await addon.openStore("127.0.0.1", 0, true, 10_000, false);
const processGroup = await addon.openProcessGroup(store, "fuzz", 0, 1, 10_000, "cpu");
await addon.storeSet(store, "key", "text");
await addon.trainerDistribute(trainer, processGroup, null);
const autoencoderTrainer = await addon.createAutoencoderTrainer(vae.handle, trainerOptions);

// ---- values ---------------------------------------------------------------------------------------------------------

const tensors = [
  Tensor.from([1, 2, 3, 4, 5, 6], [2, 3]),
  await Tensor.randn([1, 8, 8, 8]),
  await Tensor.randn([3, 8, 4, 6]),
  await Tensor.randn([2, 3, 16, 16]),
  await Tensor.randn([2, 4, 8, 8], { dtype: "bfloat16" }),
  await Tensor.randn([1, 7, 32]),
  await Tensor.zeros([0, 4]),
  await Tensor.full([], Number.NaN),
  Tensor.from(BigInt64Array.of(1n, 2n, 999n, 0n), [2, 2]),
  Tensor.from(BigInt64Array.of(-1n, 2n ** 62n), [1, 2]),
  Tensor.from(Uint8Array.of(0, 1, 255), [3], { dtype: "bool" }),
  await Tensor.full([3], 1e300, { dtype: "float64" }),
];
const timestep = Tensor.from(BigInt64Array.of(5n), [1]);
const target = await Tensor.randn([1, 4, 8, 8]);
const halfPicture = await Tensor.randn([2, 3, 16, 8]);
const latentNoise = await Tensor.randn([2, 4, 8, 8]);
const bias = await Tensor.zeros([8]);
const controlSample = await Tensor.randn([1, 4, 8, 8]);
const controlContext = await Tensor.randn([1, 3, 8]);
const controlPicture = await Tensor.rand([1, 3, 64, 64]);
const visionPixels = await Tensor.randn([1, 3, 16, 16]);
const vqLatents = await Tensor.randn([1, 4, 4, 4]);
const priorRow = await Tensor.randn([2, 8]);
const priorStates = await Tensor.randn([2, 5, 8]);
const lowRankUp = await Tensor.randn([8, 2]);
const disposed = Tensor.from([1]);
disposed.dispose();
const generator = new Generator("cpu", 0);
const savedState = await generator.getState();
const detached = new Float32Array(4);
structuredClone(detached.buffer, { transfer: [detached.buffer] });
const changing = [1, 2, 3];
Object.defineProperty(changing, 1, {
  get() {
    changing.length = 0;
    return 1;
  },
});
const throwing = Object.defineProperty([1, 2], 0, {
  get() {
    throw new RangeError("a getter that throws");
  },
});
const cyclic = {};
cyclic.self = cyclic;

const natives = () => [
  ...tensors.map((tensor) => tensor.handle),
  disposed.handle,
  generator.handle,
  unet.handle,
  vae.handle,
  text.handle,
  trainer,
  store,
  processGroup,
  new addon.CancelToken(),
  new addon.UNetCache([5]),
  new addon.NativeTensor(),
];
const classes = [addon.NativeTensor, addon.NativeGenerator, addon.CancelToken, addon.UNetCache];
const impostors = () => [
  ...classes.map((Class) => Object.create(Class.prototype)),
  ...natives().map((object) => new Proxy(object, {})),
  ...natives().map((object) => Object.setPrototypeOf({}, Object.getPrototypeOf(object))),
  Object.setPrototypeOf(new addon.CancelToken(), addon.NativeTensor.prototype),
  Object.setPrototypeOf(new addon.NativeGenerator("cpu", 0n), addon.NativeTensor.prototype),
];
const arrays = () => [
  new Float32Array([1, 2, 3]),
  new Float64Array(6),
  new BigInt64Array(4),
  new BigUint64Array(4),
  new Uint16Array(4),
  new Uint32Array(4),
  new Int8Array(4),
  new Uint8ClampedArray(192),
  new Uint8Array(5056),
  new Uint8Array(5056).fill(255),
  new Float32Array(new SharedArrayBuffer(24)),
  new Uint8Array(new ArrayBuffer(64), 60, 4),
  detached,
  new DataView(new ArrayBuffer(8)),
  new ArrayBuffer(8),
  new SharedArrayBuffer(8),
  Buffer.from("bytes"),
];
const words = [
  ...[
    "",
    "cpu",
    "cuda",
    "cuda:0",
    "cuda:99",
    "mps",
    "float32",
    "bfloat16",
    "int64",
    "bool",
    "complex64",
    "add",
    "clone",
  ],
  ...["UNet2DConditionModel", "AutoencoderKL", "CLIPTextModel", "auto", "math", "lanczos", "bilinear", "optimizer"],
  ...[
    "gradients",
    "ema",
    "constructor",
    "__proto__",
    "no/such/file.safetensors",
    "/",
    ".",
    "\0",
    "\ud800",
    "x".repeat(1e5),
  ],
];
const numbers = [
  ...[0, -0, 1, 2, 3, -1, 7, 0.5, 1e-320, 1e300, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  ...[2 ** 20, 2 ** 31, -(2 ** 31), 2 ** 32, 2 ** 40, 2 ** 53, -(2 ** 53), 2 ** 63, Number.MAX_VALUE],
];
const lists = () => [
  ...[
    [],
    [0],
    [1],
    [2, 3],
    [-1],
    [1, 8, 8, 8],
    [0.5],
    [Number.NaN],
    [2 ** 40],
    [2 ** 53, 2 ** 53],
    [0, 2 ** 53, 2 ** 53],
  ],
  ...[Array(63).fill(1), Array(1000).fill(1), Array(64).fill(2), [[1, 2], [3]], ["a"], [null], [undefined], [{}], [1n]],
  ...[new Array(2 ** 32 - 1), new Array(1000), changing, throwing, new Proxy([1], {}), { length: 3, 0: 1 }, cyclic],
  tensors.slice(0, 3).map((tensor) => tensor.handle),
  [tensors[0].handle, disposed.handle],
  [tensors[0].handle, {}],
];
const others = () => [
  ...[
    undefined,
    null,
    true,
    false,
    0n,
    -1n,
    2n ** 64n,
    2n ** 64n - 1n,
    Symbol("s"),
    () => {},
    class {},
    {},
    new Date(),
  ],
  ...[/x/, new Map(), new Error("e"), Promise.resolve(), { dtype: "float32" }, { dtype: "float32", device: "cpu" }],
  ...[
    { dtype: "float32", device: "cpu", attention: "auto" },
    { sampleMinSize: 8, latentMinSize: 4, overlap: 0.25 },
  ],
  ...[{ sampleMinSize: 1, latentMinSize: -1, overlap: 9 }, { length: 2 ** 32 }, trainerOptions],
];
for (const file of ["unet", "vae", "text_encoder"])
  words.push(`model/${file}/${file === "text_encoder" ? "model" : "diffusion_pytorch_model"}.safetensors`);
const configs = ["unet", "vae", "text_encoder"].map((folder) =>
  JSON.parse(readFileSync(`model/${folder}/config.json`, "utf8")),
);

/** Everything that can stand in a wrong place; made anew, since calls change some of it. */
const everything = () => [
  ...[...tensors, disposed, generator, unet, vae, text, ...arrays(), ...words, ...numbers, ...lists(), ...others()],
  ...configs,
  // Users never hold the addon's own objects.
  ...(part === "public" ? [] : [...natives(), ...impostors()]),
];

// ---- what is called -------------------------------------------------------------------------------------------------

const [small, sample, odd, picture, latents, context, , , ids] = tensors;
const h = (tensor) => tensor.handle;
// The native model without a projection.
const textConfig = { ...configs[2], projection_dim: 0 };
const load = [
  "CLIPTextModel",
  textConfig,
  [words.at(-1)],
  { dtype: "float32", device: "cpu", attention: "auto", quantization: "none", allowNonFinite: false, views: null },
  null,
];

/** Arguments with which each function works. */
const addonExamples = {
  systemInfo: () => [],
  memoryUsage: () => [],
  processEnds: () => [0],
  getThreads: () => [],
  setAllowWinograd: () => [true],
  raiseNiceness: () => [1],
  cudaVersions: () => [],
  cudaProperties: () => ["cuda:0"],
  deviceMemory: () => ["cuda:0"],
  resetPeakMemory: () => ["cuda:0"],
  emptyCache: () => ["cuda:0"],
  synchronize: () => ["cpu"],
  setAllowTf32: () => [false],
  setDeterministic: () => [false],
  tensorFromData: () => [new Float32Array(6), "float32", [2, 3]],
  tensorToData: () => [h(small)],
  full: () => [[2, 3], 1, "float32", "cpu"],
  cat: () => [[h(sample), h(sample)], 0],
  linearCombination: () => [[1, 2], [h(sample), h(sample)], "float32"],
  linearCombinationRows: () => [[[1, 2]], [h(small)]],
  combineChunks: () => [h(odd), [1, 2, 3]],
  binary: () => ["add", h(small), h(small)],
  unary: () => ["clone", h(small)],
  clamp: () => [h(small), 0, 1],
  clampRows: () => [h(small), [0, 0], [1, 1]],
  absQuantileRows: () => [h(small), 0.5],
  stdRows: () => [h(small)],
  to: () => [h(small), "int64", "cpu"],
  slice: () => [h(small), 1, 0, 2],
  reshape: () => [h(small), [3, 2]],
  repeat: () => [h(small), [2, 2]],
  repeatInterleave: () => [h(small), 2, 0],
  equal: () => [h(small), h(small)],
  isFinite: () => [h(small)],
  toChannelsLast: () => [h(picture)],
  isChannelsLast: () => [h(picture)],
  randn: () => [[2], "float32", "cpu", generator.handle],
  randnLike: () => [h(picture), generator.handle],
  rand: () => [[2], "float32", "cpu", null],
  randint: () => [0, 7, [2], generator.handle],
  randperm: () => [7, generator.handle],
  randomInt64: () => [generator.handle],
  generatorState: () => [generator.handle],
  setGeneratorState: () => [generator.handle, savedState],
  generatorSeed: () => [generator.handle],
  readSafetensors: () => [words.at(-1)],
  readSafetensorsHeader: () => [words.at(-1)],
  writeSafetensors: () => ["written.safetensors", ["a"], [h(small)], { key: "value" }],
  loadModel: () => load,
  createModel: () => ["CLIPTextModel", textConfig, { device: "cpu", attention: "auto" }, generator.handle],
  countModelParameters: () => ["CLIPTextModel", textConfig],
  modelStateDict: () => [text.handle],
  modelParameterShapes: () => [text.handle],
  declaredParameterShapes: () => ["CLIPTextModel", textConfig],
  changeModelWeights: () => [
    vision.handle,
    [
      {
        name: "visual_projection.weight",
        original: null,
        terms: [{ up: h(lowRankUp), down: h(priorRow), scale: 1e-3 }],
      },
    ],
  ],
  placeModelAdapters: () => [
    vision.handle,
    [
      {
        name: "style",
        byRow: true,
        terms: [{ name: "visual_projection.weight", up: h(lowRankUp), down: h(priorRow), scale: 1e-3 }],
      },
    ],
  ],
  setModelParameter: () => [vae.handle, "quant_conv.bias", h(bias)],
  moveModel: () => [vae.handle, "cpu"],
  unetForward: () => [
    ...[unet.handle, h(sample), [5]],
    { embeddings: h(context), sampleRows: [0], cache: new addon.UNetCache([5]), deepFeatures: "keep" },
    null,
  ],
  controlNetForward: () => [
    ...[controlNet.handle, h(controlSample), [5], { embeddings: h(controlContext) }],
    { picture: h(controlPicture), scale: 1, guessMode: false, zeroRowsBefore: 0, zeroRowsBehind: 0 },
    null,
  ],
  cannyEdges: () => [new Uint8Array(12), 2, 2, 50, 100, false, null],
  vaeEncode: () => [vae.handle, h(picture), true, { sampleMinSize: 8, latentMinSize: 4, overlap: 0.25 }, null],
  vaeDecode: () => [vae.handle, h(latents), false, null, null],
  clipTextForward: () => [text.handle, h(ids), true, null, 0, [], null],
  safetyCheckerForward: () => [safetyChecker, h(visionPixels), null],
  clipVisionForward: () => [vision.handle, h(visionPixels), null],
  vqEncode: () => [vq.handle, h(halfPicture), null],
  vqDecode: () => [vq.handle, h(vqLatents), true, null],
  priorForward: () => [prior.handle, h(priorRow), [5], h(priorRow), h(priorStates), null, null],
  priorPostProcess: () => [prior.handle, h(priorRow)],
  callOperator: () => ["geglu", [h(picture)], [], h(halfPicture)],
  replayOperator: () => ["geglu", [h(picture)], []],
  createTrainer: () => [unet.handle, [], trainerOptions],
  trainerMicroStep: () => [
    ...[trainer, h(sample), h(timestep), { embeddings: h(context) }, h(target)],
    ...[loss, 1, false, null, null],
  ],
  addTrainableAdapter: () => [text.handle, newAdapter, generator.handle],
  createAutoencoderTrainer: () => [vae.handle, trainerOptions],
  trainerAutoencoderStep: () => [autoencoderTrainer, h(picture), h(latentNoise), 1e-6, 1, null],
  trainerStep: () => [trainer, 1e-9, 1, 1, 0.9, null],
  storePort: () => [store],
  storeSet: () => [store, "key", "text"],
  storeAdd: () => [store, "number", 1],
  storeRemove: () => [store, "other"],
  groupSum: () => [processGroup, h(small), null],
  groupBroadcast: () => [processGroup, h(small), 0, null],
  trainerDistribute: () => [trainer, processGroup, null],
  trainerBorrowEma: () => [trainer, {}],
  trainerReduce: () => [trainer],
  startOperatorTrace: () => [],
  stopOperatorTrace: () => [],
  trainerUpdateEma: () => [trainer, 0.9],
  trainerUpdateTraces: () => [trainer, [0.5, 0.9]],
  trainerSwapEma: () => [trainer],
  trainerForgetGradients: () => [trainer],
  trainerState: () => [trainer, "ema"],
  copyTensors: () => [[h(small)], [h(small)]],
  selectRows: () => [[1, 0], h(small), h(small)],
  resize: () => [new Uint8Array(12), 2, 2, 3, 4, 4, "lanczos", false],
  resizeNearest: () => [h(picture), 4, 4],
  pictureToTensor: () => [new Uint8Array(12), 2, 2],
  picturesToTensor: () => [new Uint8Array(24), 2, 2, 2, [1, 0]],
  tensorToPictures: () => [h(picture)],
};
// setErrorClass has a part of its own, a thousand threads are allowed to setThreads, a niceness of 19 to raiseNiceness, and
// long time-outs are waited for.
const spared = ["setErrorClass", "setThreads", "raiseNiceness", "openStore", "storeGet", "openProcessGroup"];
// What cannot work on the CPU must fail well there.
const needingCuda = ["cudaProperties", "deviceMemory", "resetPeakMemory", "emptyCache", "replayOperator"];

function addonCalls() {
  return Object.keys(addon)
    .filter((name) => typeof addon[name] === "function" && !/^[A-Z]/.test(name) && !spared.includes(name))
    .map((name) => {
      if (!addonExamples[name]) throw new Error(`give the fuzzer an example of ${name}`);
      const fails = needingCuda.includes(name);
      return { name, run: (args) => addon[name](...args), example: addonExamples[name], fails };
    });
}

/** Constructors, accessors and methods of the addon's classes, on receivers of every kind. */
function objectCalls() {
  const calls = [];
  const prototypes = new Set(natives().map((object) => Object.getPrototypeOf(object)));
  for (const prototype of prototypes) {
    const genuine = natives().filter((object) => Object.getPrototypeOf(object) === prototype);
    const example = () => [genuine[0]];
    for (const [name, { get, value }] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
      if (get) calls.push({ name: `get ${name}`, run: ([self]) => get.call(self), example });
      else if (name === "constructor") {
        const given = value.name === "UNetCache" ? [[7]] : ["cpu", 7n];
        calls.push({ name: `new ${value.name}`, run: (args) => new value(...args), example: () => given });
        calls.push({ name: `call ${value.name}`, run: ([self]) => value.call(self), example, fails: true });
        calls.push({
          name: `construct ${value.name}`,
          run: ([target]) => Reflect.construct(value, given, target),
          example: () => [class {}],
        });
      } else {
        // The other calls need the genuine handles alive.
        const run = ([self]) => (genuine.includes(self) && name === "dispose" ? undefined : value.call(self));
        calls.push({ name: `${name}()`, run, example });
      }
    }
  }
  return calls;
}

/** What users call, with the objects that users have. */
function publicCalls() {
  const of = (target, name, example) => ({ name, run: (args) => target[name](...args), example });
  const on = (tensor, name, ...args) => ({
    name: `tensor.${name}`,
    // Now and then on another tensor than the fitting one.
    run: ([i, ...given]) => (tensors.at(Number.isInteger(i) ? i : 0) ?? tensor)[name](...given),
    example: () => [tensors.indexOf(tensor), ...args],
  });
  const float32 = { dtype: "float32" };
  return [
    of(Tensor, "from", () => [new Float32Array(6), [2, 3], float32]),
    of(Tensor, "full", () => [[2, 3], 1, float32]),
    of(Tensor, "zeros", () => [[2, 3], float32]),
    of(Tensor, "randn", () => [[2, 3], { generator: [generator, generator] }]),
    of(Tensor, "rand", () => [[2, 3], { generator }]),
    of(Tensor, "randint", () => [0, 7, [2], { generator }]),
    of(Tensor, "randperm", () => [7, { generator }]),
    of(Tensor, "cat", () => [[sample, sample], 0]),
    of(Tensor, "linearCombination", () => [[[1, small]], float32]),
    of(Tensor, "linearCombinationRows", () => [[[[1, 2], small]]]),
    { name: "linear terms", run: ([c, t]) => Tensor.linearCombination([[c, t]]), example: () => [1, small] },
    { name: "rows of terms", run: ([c, t]) => Tensor.linearCombinationRows([[c, t]]), example: () => [[1, 2], small] },
    on(small, "toArray"),
    on(tensors[7], "item"),
    on(small, "to", { dtype: "int64", device: "cpu" }),
    on(small, "slice", 0, 0, 1),
    on(small, "reshape", [3, -1]),
    on(small, "repeat", [1, 2]),
    on(small, "repeatInterleave", 2, 1),
    ...["add", "sub", "mul", "div"].map((name) => on(small, name, small)),
    ...["neg", "abs", "exp", "log", "sqrt", "round", "clone", "isFinite"].map((name) => on(small, name)),
    on(small, "clamp", 0, 1),
    on(small, "clampRows", [0, 0], [1, 1]),
    on(small, "scaleRows", [1, 2]),
    on(small, "absQuantileRows", 0.5),
    on(small, "stdRows"),
    on(small, "equal", small),
    { name: "new Generator", run: (args) => new Generator(...args), example: () => ["cpu", 7] },
    of(generator, "setState", () => [savedState]),
    of(generator, "getState", () => []),
    of(generator, "randomInt64", () => []),
    of(unet, "forward", () => [sample, 5, context, {}]),
    of(vae, "encode", () => [picture, {}]),
    of(vae, "decode", () => [latents, {}]),
    of(text, "forward", () => [ids, { hiddenStates: true }]),
    of({ loadSafetensors }, "loadSafetensors", () => [words.at(-1)]),
    of({ saveSafetensors }, "saveSafetensors", () => ["written.safetensors", { small }, { metadata: { a: "b" } }]),
  ];
}

// ---- the run --------------------------------------------------------------------------------------------------------

/** Why an error is not fit for a user, or nothing. */
function unfit(error) {
  if (!(error instanceof Error)) return `threw ${typeof error}`;
  if (!error.message || error.message.includes("\n")) return "the message is not one line";
  if (/frame #|Exception raised from|\.cpp:\d|C\+\+|std::|__cxx|0x[0-9a-f]{8}/.test(error.message))
    return "the message speaks of the implementation";
  // Public calls answer in the package's own words; JavaScript's are for calls that got no further than JavaScript.
  if (part === "public" && !(error instanceof InstructPix2PixError) && error.message !== "a getter that throws")
    return `${error.name} instead of an InstructPix2PixError`;
}

const calls = { addon: addonCalls, objects: objectCalls, public: publicCalls }[part]();
const random = fc.sample(fc.infiniteStream(fc.nat(2 ** 31 - 1)), { seed, numRuns: 1 })[0];
const below = (n) => random.next().value % n;

const outcomes = { worked: 0, refused: 0 };
const reached = new Set();
const failures = new Map();
const end = performance.now() + seconds * 1000;
for (let round = 0; performance.now() < end; round++) {
  const call = calls[round % calls.length];
  const args = call.example();
  // Each in turn as it should be, then with more and more of its arguments wrong, missing or too many.
  const wrong = Math.floor(round / calls.length) % 4;
  for (let i = 0; i < wrong && args.length > 0; i++) {
    const values = everything();
    args[below(args.length)] = values[below(values.length)];
  }
  if (wrong === 3 && below(4) === 0) args.length = below(args.length + 1);
  if (process.env.TRACE) console.error(call.name, args);
  try {
    const result = await call.run(args);
    outcomes.worked++;
    reached.add(call.name);
    if (result instanceof Tensor) result.dispose();
  } catch (error) {
    outcomes.refused++;
    const why = unfit(error);
    if (why) failures.set(`${call.name}: ${why}`, String(error?.stack ?? error).slice(0, 600));
  }
}
const untouched = calls.filter(({ name, fails }) => !fails && !reached.has(name)).map(({ name }) => name);
console.log(JSON.stringify({ ...outcomes, untouched, failures: [...failures].slice(0, 20) }));
