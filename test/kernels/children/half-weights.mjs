// Models with weights in half precision beside float32 ones with the same rounded weights and inputs: prints how far they
// are apart. In a separate process, since the instruction set is chosen once per process (IP2P_CPU_CAPABILITY).
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  AutoencoderKL,
  CLIPTextModel,
  CLIPVisionModelWithProjection,
  Generator,
  InstructPix2PixPipeline,
  Tensor,
  UNet2DConditionModel,
  VQModel,
} from "../../../dist/index.js";
import { native } from "../../../dist/runtime/native.js";

const fixtures = fileURLToPath(new URL("../../fixtures", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "ip2p-halves-"));

/** Random inputs that the type holds exactly. */
async function inputs(dtype, ...shapes) {
  const generator = new Generator("cpu", 3);
  const drawn = [];
  for (const shape of shapes) drawn.push(await (await Tensor.randn(shape, { generator })).to({ dtype }));
  return drawn;
}

const ids = (count) =>
  Tensor.from(
    BigInt64Array.from({ length: count }, (_, i) => BigInt(i % 50)),
    [1, count],
  );

const CASES = [
  [
    "ip2p-tiny/model/unet",
    UNet2DConditionModel,
    async (unet, dtype) => {
      const { in_channels: C, cross_attention_dim: D } = unet.config;
      const [x, text] = await inputs(dtype, [2, C, 16, 16], [2, 7, D]);
      return unet.forward(x, 17, text);
    },
  ],
  [
    "ip2p-tiny/model/vae",
    AutoencoderKL,
    async (vae, dtype) => {
      const [z] = await inputs(dtype, [1, vae.config.latent_channels, 8, 12]);
      return vae.decode(z);
    },
  ],
  [
    "ip2p-tiny/model/vae",
    AutoencoderKL,
    async (vae, dtype) => {
      const [x] = await inputs(dtype, [1, 3, 32, 16]);
      return (await vae.encode(x)).mean;
    },
  ],
  [
    "ip2p-tiny/model/text_encoder",
    CLIPTextModel,
    async (encoder) => (await encoder.forward(await ids(9))).lastHiddenState,
  ],
  [
    "kandinsky22/prior/image_encoder",
    CLIPVisionModelWithProjection,
    async (encoder, dtype) => {
      const { image_size: side } = encoder.config;
      const [pixels] = await inputs(dtype, [1, 3, side, side]);
      return (await encoder.forward(pixels)).imageEmbeds;
    },
  ],
  [
    "kandinsky22/decoder/movq",
    VQModel,
    async (movq, dtype) => {
      const [z] = await inputs(dtype, [1, movq.config.latent_channels, 6, 10]);
      return movq.decode(z, { forceNotQuantize: true });
    },
  ],
];

const values = async (tensor) => (await tensor.to({ dtype: "float64" })).toArray();

/** ‖a − b‖ / ‖b‖ */
function distance(a, b) {
  const sum = (of) => b.reduce((total, _, i) => total + of(i) ** 2, 0);
  return Math.sqrt(sum((i) => a[i] - b[i]) / sum((i) => b[i]));
}

const results = [];
for (const [folder, Model, compute] of CASES)
  for (const dtype of ["bfloat16", "float16"]) {
    const half = await Model.fromPretrained(join(fixtures, folder), { dtype });
    const given = await compute(half, dtype);
    const rounded = join(scratch, `${results.length}`);
    await half.savePretrained(rounded, { dtype: "float32" });
    const exact = await compute(await Model.fromPretrained(rounded), dtype);
    const [a, b] = [await values(given), await values(exact)];
    // The least that is possible in the type.
    const nearest = await values(await exact.to({ dtype }));
    const [error, rounding] = [distance(a, b), distance(nearest, b)];
    results.push({ model: folder, dtype, given: given.dtype, error, rounding });
  }
const auto = [
  (await UNet2DConditionModel.fromPretrained(join(fixtures, "ip2p-tiny/model/unet"), { dtype: "auto" })).dtype,
  (await InstructPix2PixPipeline.fromPretrained(join(fixtures, "ip2p-tiny/model"), { dtype: "auto", device: "cpu" }))
    .vae.dtype,
];
rmSync(scratch, { recursive: true });
console.log(JSON.stringify({ arithmetic: native().systemInfo().cpuArithmetic, results, auto }));
