/** Turns of two event loops in the same time. */
export interface Turns {
  /** Of this thread's. */
  busy: number;
  /** Of the loop of a thread that has nothing to do. */
  idle: number;
  /** The most turns of the idle loop between two of this one. */
  longest: number;
}

/** Counts how often the event loops turn while `body` runs, which has to last for a tenth of a second or so. */
export declare function turnsDuring(body: () => Promise<unknown>): Promise<Turns>;

/** What is wrong with these turns; undefined if the loop was free for most of the time. */
export declare function heldUp(turns: Turns): string | undefined;
