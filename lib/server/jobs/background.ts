/** What nobody waits for until the server stops. */
export class Background {
  readonly #failed: (error: unknown) => void;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #pending = new Set<Promise<void>>();
  #stopping = false;

  /** @param failed told of errors */
  constructor(failed: (error: unknown) => void) {
    this.#failed = failed;
  }

  get stopping(): boolean {
    return this.#stopping;
  }

  do(work: Promise<void>): void {
    const done = work.catch(this.#failed).finally(() => this.#pending.delete(done));
    this.#pending.add(done);
  }

  after(milliseconds: number, work: () => void): void {
    if (this.#stopping) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, milliseconds);
    this.#timers.add(timer.unref());
  }

  /** Does something again and again, one at a time, until it stops that. */
  every(milliseconds: number, work: (stop: () => void) => Promise<void>): void {
    let over = false;
    const again = () =>
      this.after(milliseconds, () => {
        const done = work(() => {
          over = true;
        });
        this.do(done.finally(() => !over && again()));
      });
    again();
  }

  /** Begins nothing more, and waits for what is under way. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const timer of this.#timers) clearTimeout(timer);
    while (this.#pending.size > 0) await Promise.all(this.#pending);
  }
}
