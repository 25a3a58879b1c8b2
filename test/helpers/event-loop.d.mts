/**
 * What holds up this thread's event loop each time that `body` runs, in comparison with the loop of a thread that has nothing
 * to do; undefined if the loop was free for most of the time at least once.
 *
 * @param body has to last for a tenth of a second or so; it runs up to five times
 */
export declare function heldUpDuring(body: () => Promise<unknown>): Promise<string | undefined>;
