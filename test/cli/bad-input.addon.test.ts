import { copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { editArguments, ip2p, ip2pHere, type Outcome, tinyModel, Workplace } from "./run-cli.js";

/** The one line on standard error; more output fails the test. */
function onlyLine({ status, stderr }: Outcome, expectedStatus: number): string {
  expect(stderr).toMatch(/^ip2p: [^\n]+\n$/);
  expect(stderr).not.toMatch(/internal error|undefined|\[object/);
  expect(status).toBe(expectedStatus);
  return stderr.slice("ip2p: ".length, -1);
}

const unet = "diffusion_pytorch_model.safetensors";

function edit(path: string, change: (config: Record<string, unknown>) => void): void {
  const config = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
  change(config);
  writeFileSync(path, JSON.stringify(config));
}

/** A safetensors file with this header and nothing behind it. */
function withHeader(path: string, header: string, length = BigInt(Buffer.byteLength(header))): void {
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length);
  writeFileSync(path, Buffer.concat([prefix, Buffer.from(header)]));
}

// Most cases run within this process; those behind them show that a process ends so.
describe("a model that is broken is refused in one line that says where:", () => {
  const cases: [what: string, breakIt: (model: string) => void, expected: RegExp][] = [
    [
      "an empty folder",
      (m) => {
        rmSync(m, { recursive: true });
        mkdirSync(m);
      },
      /model_index\.json: no such file/,
    ],
    [
      "a model index that is not JSON",
      (m) => writeFileSync(join(m, "model_index.json"), "{"),
      /model_index\.json: is not valid JSON: .*line 1/,
    ],
    [
      "a component class that is unknown",
      (m) =>
        edit(join(m, "model_index.json"), (c) => {
          c.unet = ["os", "system"];
        }),
      /model_index\.json: "unet" is a system of os, which is not supported; known: UNet2DConditionModel/,
    ],
    [
      "a scheduler class that is unknown",
      (m) =>
        edit(join(m, "model_index.json"), (c) => {
          c.scheduler = ["diffusers", "NoScheduler"];
        }),
      /NoScheduler/,
    ],
    [
      "a scheduler value that cannot be",
      (m) =>
        edit(join(m, "scheduler", "scheduler_config.json"), (c) => {
          c.beta_start = "low";
        }),
      /beta_start.*low/,
    ],
    ["a component that is missing", (m) => rmSync(join(m, "vae"), { recursive: true }), /vae.*no such file/],
    [
      "a block type that is unknown",
      (m) =>
        edit(join(m, "unet", "config.json"), (c) => {
          c.down_block_types = ["DownBlock2D", "TeleportBlock2D"];
        }),
      /unet\/config\.json: "down_block_types".*TeleportBlock2D/,
    ],
    [
      "a configuration that the weights do not fit",
      (m) =>
        edit(join(m, "unet", "config.json"), (c) => {
          c.layers_per_block = 3;
        }),
      /unet.*; missing: down_blocks/,
    ],
    [
      "configurations that do not fit together",
      (m) =>
        edit(join(m, "unet", "config.json"), (c) => {
          c.cross_attention_dim = 64;
        }),
      /text encoder's "hidden_size" is 32, but the UNet's "cross_attention_dim" 64/,
    ],
    [
      "weights that are missing",
      (m) => rmSync(join(m, "unet", unet)),
      /unet: holds neither diffusion_pytorch_model\.safetensors nor/,
    ],
    [
      "weights that are truncated",
      (m) => truncateSync(join(m, "unet", unet), 100_000),
      /unet.*diffusion_pytorch_model\.safetensors/,
    ],
    ["weights of another model", (m) => copyFileSync(join(m, "vae", unet), join(m, "unet", unet)), /unet.*missing/],
    [
      "weights with an endless header",
      (m) => withHeader(join(m, "vae", unet), "{}", 2n ** 63n),
      /vae\/diffusion_pytorch_model\.safetensors/,
    ],
    [
      "weights whose header overflows",
      (m) =>
        withHeader(join(m, "vae", unet), '{"a":{"dtype":"F64","shape":[9223372036854775807,9],"data_offsets":[0,8]}}'),
      /vae\/diffusion_pytorch_model\.safetensors/,
    ],
    [
      "weights with a name that would steer the terminal",
      (m) => withHeader(join(m, "vae", unet), '{"\\u001b[2Jevil\\n":{"dtype":"F32","shape":[],"data_offsets":[0,8]}}'),
      /vae\/diffusion_pytorch_model\.safetensors/,
    ],
    [
      "weights in a pickle",
      (m) => renameSync(join(m, "unet", unet), join(m, "unet", "diffusion_pytorch_model.bin")),
      /unet: holds no safetensors weights.*never read.*save_pretrained/,
    ],
    [
      "a vocabulary that is not JSON",
      (m) => writeFileSync(join(m, "tokenizer", "vocab.json"), "[1,2"),
      /tokenizer\/vocab\.json/,
    ],
  ];

  it.each(cases)("%s", async (_, breakIt, expected) => {
    using place = new Workplace();
    breakIt(place.copyOfModel());
    const before = place.list();
    const outcome = await ip2pHere(editArguments("--model", "model"), { cwd: place.folder });
    const line = onlyLine(outcome, 1);
    expect(line).toMatch(expected);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: none of them may reach the terminal
    expect(line).not.toMatch(/[\u0000-\u001f\u007f]/);
    expect(place.list()).toEqual(before);
  });
});

it("NaN weights are refused with the flag that allows them, also in JSON", async () => {
  using place = new Workplace();
  const model = place.copyOfModel();
  const path = join(model, "unet", unet);
  const bytes = readFileSync(path);
  bytes.writeFloatLE(Number.NaN, bytes.length - 4);
  writeFileSync(path, bytes);
  const run = (...more: string[]) => ip2p(editArguments("--model", model, ...more), { cwd: place.folder });
  const line = onlyLine(await run(), 1);
  expect(line).toMatch(/ holds NaN or infinity in float32: .*; pass --allow_non_finite to load it anyway$/);
  const { stdout } = await run("--json", "--quiet");
  expect(JSON.parse(stdout)).toEqual({ event: "error", code: "ERR_NOT_FINITE", message: line });
  expect(await run("--allow_non_finite")).toMatchObject({ status: 0, stderr: "" });
});

describe("an invalid argument is refused in one line:", () => {
  /** A PNG that announces 60000 × 60000 pixels. */
  const hugePicture = Buffer.from(
    [
      "89504e470d0a1a0a0000000d494844520000ea600000ea6008020000000fb0e2150000000b49444154789c6360800100000a",
      "00017f80745e0000000049454e44ae426082",
    ].join(""),
    "hex",
  );
  const cases: [what: string, args: string[], status: number, expected: RegExp][] = [
    [
      "an unknown flag",
      ["--num_inference_stepz", "5"],
      2,
      /^edit: unknown option --num_inference_stepz; did you mean --num_inference_steps\?$/,
    ],
    ["no steps", ["--num_inference_steps", "0"], 2, /--num_inference_steps takes a whole number of at least 1, not 0$/],
    ["more steps than the model has", ["--num-inference-steps", "1001"], 1, /num_inference_steps.*1001.*1\.\.1000/],
    ["a scale that is not a number", ["--guidance_scale", "abc"], 2, /--guidance_scale takes a number, not "abc"$/],
    [
      "an unknown scheduler",
      ["--scheduler", "Euler"],
      1,
      /unknown scheduler class "Euler"; known: .*EulerDiscreteScheduler/,
    ],
    ["an unknown quantization", ["--quantization", "int4"], 2, /--quantization takes one of none, int8, not "int4"$/],
    [
      "a quantization with an unsupported dtype",
      ["--model", "./nowhere", "--quantization", "int8", "--dtype", "float16"],
      1,
      /^quantization "int8" computes beside float32 or bfloat16, not with dtype float16$/,
    ],
    ["an unknown device", ["--device", "gpu"], 1, /device must be "auto", "cpu", "cuda" or "cuda:N", not "gpu"/],
    ["a missing device", ["--device", "cuda:99"], 1, /device "cuda:99" is not available/],
    [
      "a missing variant",
      ["--variant", "fp16"],
      1,
      /ip2p-tiny\/model: no component has the variant "fp16"; available: none/,
    ],
    ["a missing model", ["--model", "./nowhere"], 1, /nowhere: no such folder/],
    ["a model that is a file", ["--model", "file.txt"], 1, /file\.txt: .*not a safetensors file\? a model is a folder/],
    ["a folder as output", ["--output", "folder.png"], 1, /cannot write "folder\.png": it is a folder/],
    [
      "an output in a missing folder",
      ["--output", "absent/out.png"],
      1,
      /cannot write "absent\/out\.png": the folder "absent" does not exist/,
    ],
    [
      "an output below a file",
      ["--output", "file.txt/out.png"],
      1,
      /cannot write "file\.txt\/out\.png": "file\.txt" is not a folder/,
    ],
    ["an output without a format", ["--output", "out.xyz"], 2, /--output: .*"out\.xyz".*use \.png/],
    ["an image that is absent", ["--image", "absent.png"], 1, /the image "absent\.png" does not exist/],
    ["an image that is a folder", ["--image", "folder.png"], 1, /"folder\.png" is a folder/],
    ["an image that is a text file", ["--image", "file.txt"], 1, /"file\.txt" is not an image/],
    [
      "an image that is too large",
      ["--image", "huge.png"],
      1,
      /"huge\.png" has 60000×60000 pixels, more than the limit/,
    ],
    [
      "an image behind a closed port",
      ["--image", "http://127.0.0.1:1/a.png"],
      1,
      /cannot fetch http:\/\/127\.0\.0\.1:1\/a\.png: /,
    ],
  ];

  it.each(cases)("%s", async (_, args, status, expected) => {
    using place = new Workplace();
    mkdirSync(place.at("folder.png"));
    writeFileSync(place.at("file.txt"), "just a text");
    writeFileSync(place.at("huge.png"), hugePicture);
    const before = place.list();
    vi.stubEnv("http_proxy", "").stubEnv("HTTP_PROXY", "");
    expect(onlyLine(await ip2pHere(editArguments(...args), { cwd: place.folder }), status)).toMatch(expected);
    vi.unstubAllEnvs();
    expect(place.list()).toEqual(before);
  });

  it.runIf(process.platform === "linux")("an output in an unwritable folder", async () => {
    using place = new Workplace();
    const outcome = await ip2p(editArguments("--output", "/proc/out.png"), { cwd: place.folder });
    expect(onlyLine(outcome, 1)).toMatch(/^cannot write "\/proc\/out\.png": the folder "\/proc" is not writable/);
  });

  it.runIf(process.platform === "linux")("an output that the disk does not hold", async () => {
    using place = new Workplace();
    writeFileSync(place.at("out.tiff"), "what was there before");
    const outcome = await ip2p(editArguments("--output", "out.tiff"), { cwd: place.folder, fileSizeLimit: 1 });
    expect(onlyLine(outcome, 1)).toMatch(/^cannot write "out\.tiff": /);
    expect(place.list()).toEqual(["out.tiff"]);
    expect(readFileSync(place.at("out.tiff"), "utf8")).toBe("what was there before");
  });

  it("a missing libtorch, before anything else is looked at", async () => {
    using place = new Workplace();
    const outcome = await ip2p(
      editArguments("--model", "nowhere", "--image", "absent.png", "--output", "absent/x.png"),
      {
        cwd: place.folder,
        env: { LIBTORCH: "/nonexistent" },
      },
    );
    expect(onlyLine(outcome, 1)).toMatch(/^LIBTORCH is set to \/nonexistent, which does not exist; .*npx ip2p install/);
  });

  it("with its stack and its code if --verbose", async () => {
    using place = new Workplace();
    const { status, stderr } = await ip2p(editArguments("--image", "absent.png", "--verbose"), { cwd: place.folder });
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /^ip2p: the image "absent\.png" does not exist\n\[ERR_FILE_NOT_FOUND\] InstructPix2PixError: .*\n {4}at /,
    );
  });
});

it("the tiny model itself is good", async () => {
  // Otherwise the refusals above could have another reason than the one that was made.
  using place = new Workplace();
  place.copyOfModel();
  expect(tinyModel).toContain("ip2p-tiny");
  const { status, stderr } = await ip2p(editArguments("--model", "model", "--num_inference_steps", "1"), {
    cwd: place.folder,
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
});
