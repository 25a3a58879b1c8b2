// Prints the largest relative errors of attention's output and of its gradients, by type, against the matrix of scores in
// float64: for processors with fewer instructions (IP2P_CPU_CAPABILITY).
import { Tensor } from "../../../dist/index.js";
import { native } from "../../../dist/runtime/native.js";

const SHAPES = [
  [2, 3, 100, 77, 40],
  [1, 2, 77, 77, 64],
  [1, 1, 17, 15, 33],
  [1, 2, 130, 60, 160],
];

async function attention(tensors, causal, backend) {
  const [q, k, v, gradient] = tensors.map(({ handle }) => handle);
  const results = await native().callOperator("attention", [q, k, v], [causal, backend], gradient);
  return Promise.all(results.map((handle) => new Tensor(handle).toArray()));
}

function relativeError(actual, expected) {
  let [difference, size] = [0, 0];
  for (const [i, value] of expected.entries()) {
    difference += (actual[i] - value) ** 2;
    size += value ** 2;
  }
  return Math.sqrt(difference / size);
}

const errors = {};
for (const dtype of ["float32", "bfloat16"]) {
  errors[dtype] = [0, 0, 0, 0];
  for (const [batch, heads, queries, keys, channels] of SHAPES)
    for (const causal of [0, 1]) {
      const draw = (tokens) => Tensor.randn([batch, heads, tokens, channels], { dtype });
      const given = await Promise.all([queries, keys, keys, queries].map(draw));
      const exact = await Promise.all(given.map((tensor) => tensor.to({ dtype: "float64" })));
      const [actual, expected] = [await attention(given, causal, 0), await attention(exact, causal, 1)];
      for (const [i, values] of expected.entries())
        errors[dtype][i] = Math.max(errors[dtype][i], relativeError(actual[i], values));
    }
}
console.log(JSON.stringify(errors));
