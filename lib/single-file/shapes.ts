import { InstructPix2PixError } from "../core/errors.js";
import { quote } from "../core/quote.js";
import { type Component, componentOf, type Shape, type SingleFile } from "./file.js";
import type { ComponentName } from "./layout.js";

/** The shapes of a model's tensors, from which its configuration is inferred. */
export class ShapeReader {
  readonly #path: string;
  readonly #component: Component;

  constructor(file: SingleFile, component: ComponentName) {
    this.#path = file.path;
    this.#component = componentOf(file, component);
  }

  get names(): IterableIterator<string> {
    return this.#component.shapes.keys();
  }

  has(name: string): boolean {
    return this.#component.shapes.has(name);
  }

  /**
   * Size of a tensor along a dimension.
   *
   * @throws `ERR_STATE_DICT` if there is no such tensor or dimension
   */
  size(name: string, dimension: number): number {
    const size = this.shape(name)[dimension];
    if (size === undefined || size < 1)
      throw this.problem(`the tensor ${quote(this.#component.prefix + name)} has another shape`);
    return size;
  }

  shape(name: string): Shape {
    const shape = this.#component.shapes.get(name);
    if (shape === undefined) throw this.problem(`it has no tensor ${quote(this.#component.prefix + name)}`);
    return shape;
  }

  /** How many numbers from 0 on are in use where the pattern has its first group. */
  count(pattern: RegExp): number {
    const seen = new Set<number>();
    for (const name of this.names) {
      const index = pattern.exec(name)?.[1];
      if (index !== undefined) seen.add(Number(index));
    }
    let count = 0;
    while (seen.has(count)) count++;
    return count;
  }

  /** The error for a model whose configuration does not show in its tensors. */
  problem(what: string): InstructPix2PixError {
    return new InstructPix2PixError(
      "ERR_STATE_DICT",
      `${this.#path}: ${what}, so its configuration cannot be inferred: pass the option config, a folder or repository in diffusers' format of the model it was made from`,
    );
  }
}
