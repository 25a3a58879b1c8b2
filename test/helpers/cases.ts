/** How many random cases to try: a tenth of them, and all in the slow tier, which runs the files of PROPERTIES again. */
export const someOf = (all: number): number => (process.env.ALL_CASES === "1" ? all : all / 10);
