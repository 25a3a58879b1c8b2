import { InstructPix2PixError } from "../../core/errors.js";
import { parsePrompt } from "./grammar.js";
import type { PromptNode, PromptOption } from "./tree.js";

/** A piece of text that is tokenised by itself, and the weight of its tokens. */
export interface WeightedFragment {
  readonly text: string;
  readonly weight: number;
}

/** Fragments one behind the other, or several such prompts whose embeddings are averaged. */
export type FlatPart =
  | { readonly kind: "prompt"; readonly fragments: readonly WeightedFragment[] }
  | {
      readonly kind: "blend";
      readonly prompts: readonly (readonly WeightedFragment[])[];
      readonly weights: readonly number[];
      /** Whether the weights are divided by their sum. */
      readonly normalize: boolean;
    };

/** What a weighted prompt comes to: parts whose embeddings are put one behind the other. */
export interface WeightedPrompt {
  readonly parts: readonly FlatPart[];
  /** The weight of each part; 1 leaves a part as it is. */
  readonly weights: readonly number[];
  /** What the prompt asks for and an embedding cannot give, for a warning. */
  readonly unheeded: readonly string[];
}

/** Nobody writes a longer one, and its parts are looked at from every position. */
const MAX_LENGTH = 20_000;

/** White space as Python's `str` has it, which includes four separators of lines that JavaScript's has not. */
const PYTHON_SPACE = "\\s\\x1c-\\x1f\\x85";
const COMMA_BEFORE_TEXT = new RegExp(`,([^${PYTHON_SPACE}])`, "g");
const BLANK = new RegExp(`^[${PYTHON_SPACE}]*$`);

/**
 * Reads a prompt in Compel's grammar: `+` and `-` behind a word or parentheses multiply its weight by 1.1 and 0.9 each, a
 * number behind parentheses or quotation marks by itself; nested weights multiply. `("…", "…").and(weights)` puts
 * embeddings one behind the other, `.blend(weights)` averages them. `\(`, `\)` and `\"` are these characters.
 *
 * @throws `ERR_INVALID_ARGUMENT` for weights that are no finite numbers, or not as many as prompts, for a blend or
 *   conjunction with nothing in it, and for a prompt of more than 20,000 characters
 */
export function parseWeightedPrompt(prompt: string): WeightedPrompt {
  if (prompt.length > MAX_LENGTH)
    throw refused(`a weighted prompt has at most ${MAX_LENGTH} characters, not ${prompt.length}`);
  const text = prompt.replace(COMMA_BEFORE_TEXT, ", $1").replace(/[\v\f]/g, " ");
  if (BLANK.test(text)) return single([{ text: "", weight: 1 }]);

  const tree = parsePrompt(text);
  const unheeded = new Set<string>();
  if (tree.ignored) unheeded.add(`what stands behind .and(): ${JSON.stringify(tree.ignored.slice(0, 40))}`);
  const asked = weightsOf(tree.options, tree.parts.length, ".and()");
  const parts: FlatPart[] = [];
  const weights: number[] = [];
  for (const [i, part] of tree.parts.entries()) {
    const flat = part.kind === "blend" ? flatBlend(part, unheeded) : flatPrompt(part.nodes, unheeded);
    if (!flat) continue;
    parts.push(flat);
    weights.push(asked[i]!);
  }
  if (parts.length === 0) throw refused(`the prompt ${JSON.stringify(prompt.slice(0, 40))} holds no text`);
  return { parts, weights, unheeded: [...unheeded] };
}

function single(fragments: WeightedFragment[]): WeightedPrompt {
  return { parts: [{ kind: "prompt", fragments }], weights: [1], unheeded: [] };
}

function flatPrompt(nodes: readonly PromptNode[], unheeded: Set<string>): FlatPart | undefined {
  const fragments = flatten(nodes, unheeded);
  return fragments.length > 0 ? { kind: "prompt", fragments } : undefined;
}

function flatBlend(
  { prompts, options }: { prompts: readonly (readonly PromptNode[])[]; options: readonly PromptOption[] },
  unheeded: Set<string>,
): FlatPart {
  const last = options.at(-1);
  const normalize = last?.name !== "no_normalize";
  const weights = weightsOf(normalize ? options : options.slice(0, -1), prompts.length, ".blend()");
  if (normalize && weights.reduce((sum, weight) => sum + weight, 0) === 0)
    throw refused("the weights of a .blend() add up to 0");
  const flat = prompts.map((nodes) => flatten(nodes, unheeded));
  if (flat.some((fragments) => fragments.length === 0)) throw refused("one of the prompts of a .blend() holds no text");
  return { kind: "blend", prompts: flat, weights, normalize };
}

/** The weights among an operator's options: one for each prompt, or 1 for each if there are none. */
function weightsOf(options: readonly PromptOption[], count: number, operator: string): number[] {
  const weights = options.map(({ name, value }) => {
    const weight = Number(name);
    if (value === undefined && Number.isFinite(weight)) return weight;
    throw refused(`${operator} takes weights, not ${JSON.stringify(value === undefined ? name : `${name}=${value}`)}`);
  });
  if (weights.length === 0) return Array<number>(count).fill(1);
  if (weights.length === count) return weights;
  throw refused(`${operator} has ${weights.length} weights for ${count} prompts`);
}

/** Fragments with their weights multiplied out; neighbours of one weight are joined. */
function flatten(nodes: readonly PromptNode[], unheeded: Set<string>): WeightedFragment[] {
  const runs: WeightedFragment[][] = [[]];
  const visit = (nodes: readonly PromptNode[], weight: number) => {
    for (const node of nodes)
      switch (node.kind) {
        case "text":
          runs.at(-1)!.push({ text: node.text, weight });
          break;
        case "attention":
          visit(node.children, weight * node.weight);
          break;
        case "lora":
          unheeded.add(`withLora(${node.name}): load adapters with loadLoraWeights`);
          break;
        case "swap":
          unheeded.add(".swap(): the prompt before the exchange is used");
          // Its words are tokenised apart from their neighbours'.
          runs.push([]);
          visit(node.original, weight);
          runs.push([]);
      }
  };
  visit(nodes, 1);
  return runs.flatMap(joined);
}

function joined(fragments: readonly WeightedFragment[]): WeightedFragment[] {
  const result: { texts: string[]; weight: number }[] = [];
  for (const { text, weight } of fragments) {
    const last = result.at(-1);
    if (last?.weight === weight) last.texts.push(text);
    else result.push({ texts: [text], weight });
  }
  return result.map(({ texts, weight }) => {
    const plain = texts.map((text, i) => withoutEscapes(text, 2 + texts.length - Math.max(1, i)));
    return { text: plain.join(" "), weight };
  });
}

/** Compel drops a backslash before `(`, `)` and `"` each time that it copies a fragment: twice, and once for each join. */
function withoutEscapes(text: string, times: number): string {
  return text.replace(/(\\+)([()"])/g, (_, slashes: string, character: string) => slashes.slice(times) + character);
}

function refused(problem: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_INVALID_ARGUMENT", problem);
}
