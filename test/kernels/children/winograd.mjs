// Hashes of what a model gives with Winograd's convolutions as the environment has them, forbidden, and allowed, and
// whether its weights stayed the same.
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import { AutoencoderKL, allowWinograd, Generator, Tensor } from "../../../dist/index.js";

const folder = fileURLToPath(new URL("../../fixtures/ip2p-tiny/model/vae", import.meta.url));
const vae = await AutoencoderKL.fromPretrained(folder);
const shape = [1, vae.config.latent_channels, 8, 12];
const latents = await Tensor.randn(shape, { generator: new Generator("cpu", 1) });
const hash = async (tensor) =>
  createHash("sha256")
    .update(new Uint8Array((await tensor.toArray()).buffer))
    .digest("hex");
const decode = async () => hash(await vae.decode(latents));
const weights = async (model) =>
  JSON.stringify(await Promise.all(Object.entries(await model.stateDict()).map(async ([k, v]) => [k, await hash(v)])));

const allowed = await decode();
allowWinograd(false);
const forbidden = await decode();
allowWinograd(true);
const again = await decode();
const fresh = await AutoencoderKL.fromPretrained(folder);
console.log(JSON.stringify({ allowed, forbidden, again, weights: (await weights(vae)) === (await weights(fresh)) }));
