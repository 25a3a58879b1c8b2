/** What can be held: models, and anything else with native memory. */
type Component = Disposable & object;

/** How many holds each component has. Components without native memory need none. */
const holds = new WeakMap<Component, number>();

/** Components that their callers dispose of themselves. */
const callers = new WeakSet<Component>();

/**
 * A pipeline's hold on its components. A component that several pipelines hold is freed with the last of them, so that
 * they can share it without copies.
 */
export class ComponentHold implements Disposable {
  readonly #held: Component[] = [];

  /** Holds a component; one that occurs twice in a pipeline is held twice. Values that cannot be disposed of are ignored. */
  add(component: unknown): void {
    for (const part of disposables(component)) {
      holds.set(part, (holds.get(part) ?? 0) + 1);
      this.#held.push(part);
    }
  }

  /** Lets go of a component without freeing it, as when another takes its place: it belongs to whoever took it out. */
  remove(component: unknown): void {
    for (const part of disposables(component)) {
      const position = this.#held.indexOf(part);
      if (position < 0) continue;
      this.#held.splice(position, 1);
      letGo(part);
    }
  }

  /** Makes these the components held: those that took others' places are held, the others let go of. */
  update(components: Iterable<unknown>): void {
    const before = [...this.#held];
    for (const component of components) this.add(component);
    for (const part of before) this.remove(part);
  }

  /** Lets go of everything, and frees what nothing else holds and no caller keeps. Calling it again does nothing. */
  dispose(): void {
    for (const part of this.#held.splice(0)) if (letGo(part) === 0 && !callers.has(part)) part[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/**
 * Leaves a component to its caller, who loaded it and passes it to a pipeline: no pipeline frees it. What a pipeline
 * holds already remains shared by pipelines.
 */
export function leaveToCaller(component: unknown): void {
  for (const part of disposables(component)) if (!holds.has(part)) callers.add(part);
}

/** @returns the holds that are left */
function letGo(part: Component): number {
  const left = (holds.get(part) ?? 0) - 1;
  if (left > 0) holds.set(part, left);
  else holds.delete(part);
  return Math.max(left, 0);
}

/** The components of a list, or of a single one, that can be disposed of. */
function disposables(component: unknown): Component[] {
  return [component]
    .flat()
    .filter(
      (part): part is Component =>
        typeof part === "object" && part !== null && typeof (part as Component)[Symbol.dispose] === "function",
    );
}
