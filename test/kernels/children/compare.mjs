// Runs operators and their plain counterparts on the same random tensors, forward and backward, and prints how far each is
// from the plain operator in float64. In a separate process, since the instruction set is chosen once per process
// (IP2P_CPU_CAPABILITY). The cases come as JSON on standard input; see test/kernels/comparison.ts.
import { text } from "node:stream/consumers";
import { Generator } from "../../../dist/core/generator.js";
import { Tensor } from "../../../dist/core/tensor.js";
import { native } from "../../../dist/runtime/native.js";

async function call(name, tensors, numbers, gradient) {
  const handles = tensors.map(({ handle }) => handle);
  const results = await native().callOperator(name, handles, numbers, gradient?.handle ?? null);
  return results.map((handle) => new Tensor(handle));
}

const inLayout = async (tensor, layout) =>
  layout === "channels-last" ? (await call("channels_last", [tensor], []))[0] : tensor;

/** Random numbers of a type; `mean` is added to them. */
async function draw({ shape, dtype, mean = 0 }, generator) {
  const values = await (await Tensor.randn(shape, { generator })).add(mean);
  return values.to({ dtype });
}

/** ‖a − b‖ / ‖b‖, or ‖a − b‖ where b is nothing. */
function relativeError(a, b) {
  let [difference, size] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    difference += (a[i] - b[i]) ** 2;
    size += b[i] ** 2;
  }
  return Math.sqrt(difference / (size || 1));
}

const arrays = async (tensors) =>
  Promise.all(tensors.map(async (tensor) => (await tensor.to({ dtype: "float64" })).toArray()));

async function compare({ operator, numbers, inputs, layout, gradientLayout = layout, backward = true }, seed) {
  const generator = new Generator("cpu", seed);
  const tensors = [];
  for (const input of inputs) tensors.push(await draw(input, generator));
  tensors[0] = await inLayout(tensors[0], layout);
  const [output] = await call(operator, tensors, numbers);
  const random = await draw({ shape: output.shape, dtype: output.dtype }, generator);
  const gradient = backward ? await inLayout(random, gradientLayout) : undefined;
  const double = (tensor) => tensor?.to({ dtype: "float64" });

  const own = await call(operator, tensors, numbers, gradient);
  const plain = await call(`${operator}_plain`, tensors, numbers, gradient);
  const exact = await call(
    `${operator}_plain`,
    await Promise.all(tensors.map(double)),
    numbers,
    await double(gradient),
  );
  const [a, b, c] = [await arrays(own), await arrays(plain), await arrays(exact)];
  const maps = layout === undefined ? [] : own.slice(0, 2);
  const channelsLast = await Promise.all(
    maps.map(async (tensor) => (await (await call("is_channels_last", [tensor], []))[0].item()) === 1),
  );
  return {
    own: a.map((values, i) => relativeError(values, c[i])),
    plain: b.map((values, i) => relativeError(values, c[i])),
    identical: a.every((values, i) => values.every((value, j) => Object.is(value, b[i][j]))),
    dtypes: own.map(({ dtype }) => dtype),
    plainDtypes: plain.map(({ dtype }) => dtype),
    channelsLast,
  };
}

await native().setThreads(1);
const results = [];
for (const [i, one] of JSON.parse(await text(process.stdin)).entries()) results.push(await compare(one, i));
console.log(JSON.stringify(results));
