import { Generator } from "../../dist/index.js";
import { drawScene, EDIT_FAMILIES, EditJudge, Random, summariseScores, worldExample } from "../../dist/world/index.js";
import { SIZE } from "./settings.mjs";

/** The first of a seed's random streams that is not used for its examples. */
const OTHER_STREAMS = 2 ** 52;

/**
 * @typedef {object} Example
 * @property {number} index
 * @property {string} family
 * @property {string} instruction
 * @property {import("../../dist/index.js").RgbImage} original
 * @property {import("../../dist/index.js").RgbImage} target
 * @property {EditJudge} judge
 * @property {number} noiseSeed of the noise that its edit starts from: its own, so that the rest of
 *   the batch has no influence
 */

/**
 * The first examples of a seed, ready to be edited and judged.
 *
 * @param source of the examples: `worldExample`, or `lessonExample`
 * @returns {AsyncGenerator<Example>}
 */
export async function* worldExamples(seed, count, source = worldExample) {
  for (let index = 0; index < count; index++) {
    const { scene, edit } = source(seed, index);
    const random = new Random(seed, OTHER_STREAMS + index);
    const noiseSeed = random.int(2 ** 32);
    const [original, target] = await Promise.all([scene, edit.target].map((shown) => drawScene(shown, SIZE)));
    const { family, instruction } = edit;
    yield { index, family, instruction, original, target, noiseSeed, judge: new EditJudge(scene, edit, random, SIZE) };
  }
}

/**
 * Edits examples with a pipeline, all of them in one batch.
 *
 * @param options of the pipeline's `run()`: steps and guidance
 * @returns {(examples: Example[]) => Promise<import("../../dist/index.js").RgbImage[]>}
 */
export function editorOf(pipeline, options) {
  return async (examples) => {
    const { images } = await pipeline.run({
      ...options,
      prompt: examples.map(({ instruction }) => instruction),
      image: examples.map(({ original }) => original),
      generator: examples.map(({ noiseSeed }) => new Generator("cpu", noiseSeed)),
    });
    return images;
  };
}

/**
 * Edits examples and scores the results.
 *
 * @param {Iterable<Example> | AsyncIterable<Example>} examples
 * @param edit makes the pictures of a list of examples, as {@link editorOf} does
 * @param {{ batch: number, onProgress?: (results: Result[]) => void }} options `batch` examples are edited together;
 *   `onProgress` gets all results so far after each batch
 * @returns {Promise<Result[]>}
 * @typedef {{ example: Example, picture: import("../../dist/index.js").RgbImage, score: import("../../dist/world/score.js").EditScore }} Result
 */
export async function evaluate(examples, edit, { batch, onProgress = () => {} }) {
  const results = [];
  let waiting = [];
  const flush = async () => {
    const pictures = await edit(waiting);
    for (const [i, example] of waiting.entries())
      results.push({ example, picture: pictures[i], score: example.judge.score(pictures[i]) });
    waiting = [];
    onProgress(results);
  };
  for await (const example of examples) if (waiting.push(example) === batch) await flush();
  if (waiting.length > 0) await flush();
  return results;
}

/** The scores of all results, and of each family that occurs in them. */
export function summarise(results) {
  const summaryOf = (some) => summariseScores(some.map(({ score }) => score));
  const families = EDIT_FAMILIES.map((family) => [family, results.filter(({ example }) => example.family === family)]);
  const occurring = families.filter(([, some]) => some.length > 0);
  return {
    ...summaryOf(results),
    families: Object.fromEntries(occurring.map(([family, some]) => [family, summaryOf(some)])),
  };
}
