/** Models that are not trained: loaded when they are needed, and freed while they are not. */
export class FrozenModels<T extends Readonly<Record<string, Disposable>>> implements Disposable {
  readonly #load: () => Promise<T>;
  #loaded: Promise<T> | undefined;

  /** @param load all of them, or none if it fails */
  constructor(load: () => Promise<T>) {
    this.#load = load;
  }

  /** @throws what loading throws; the next call tries again */
  async get(): Promise<T> {
    this.#loaded ??= this.#load();
    try {
      return await this.#loaded;
    } catch (error) {
      this.#loaded = undefined;
      throw error;
    }
  }

  /** Frees their memory until they are needed again. Nothing may be under way that uses them. */
  async release(): Promise<void> {
    const models = await this.#loaded?.catch(() => undefined);
    this.#loaded = undefined;
    for (const model of Object.values(models ?? {})) model[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    void this.release();
  }
}

/** Loads models one after the other; if one cannot be loaded, the others are freed. */
export async function loadAll<T extends Readonly<Record<string, Disposable>>>(
  loaders: {
    [K in keyof T]: () => Promise<T[K]>;
  },
): Promise<T> {
  const models: Partial<T> = {};
  try {
    for (const name of Object.keys(loaders) as (keyof T)[]) models[name] = await loaders[name]();
    return models as T;
  } catch (error) {
    for (const model of Object.values(models)) model?.[Symbol.dispose]();
    throw error;
  }
}
