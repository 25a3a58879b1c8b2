// Two installed copies of the package in one process. argv: the folders of the first and of the second, and what the second
// is to do: "thread", "worker" or "libtorch" (another one, whose folder is the last argument).
import { Worker } from "node:worker_threads";

const [first, second, what, otherLibtorch] = process.argv.slice(2);
const job = new URL("two-copies-job.mjs", import.meta.url);
const { edit, foreign } = await import(job);
const load = (folder) => import(`${folder}/dist/index.js`);
const inWorker = (folder) =>
  new Promise((resolve, reject) => {
    const worker = new Worker(job, { workerData: { folder } });
    worker.once("message", resolve);
    worker.once("error", reject);
    worker.once("exit", (code) => reject(new Error(`the worker ended with ${code} and no word`)));
  });

const one = await load(first);
const result = { first: await edit(one) };
if (what === "worker") {
  [result.second, result.again] = await Promise.all([inWorker(second), edit(one)]);
} else {
  if (what === "libtorch") process.env.LIBTORCH = otherLibtorch;
  const two = await load(second);
  try {
    result.second = await edit(two);
    [result.again, result.beside] = await Promise.all([edit(one), edit(two)]);
    result.foreign = await foreign(one, two);
  } catch (error) {
    result.error = { code: error.code, message: error.message };
    result.again = await edit(one);
  }
}
console.log(JSON.stringify(result));
