/** Whether a code point is in the set. */
export type CharacterTest = (codePoint: number) => boolean;

/** A character of a set, and whether it is literal: a hyphen that is not forms a range. */
interface Atom {
  readonly character: string;
  readonly literal: boolean;
}

const literal = (character: string): Atom => ({ character, literal: true });

/**
 * Cuts what is between `[` and `]` at the hyphens that make ranges, as Python's `fnmatch` does, and leaves out ranges
 * from a higher to a lower character.
 */
function rangeEnds(body: readonly string[]): string[][] {
  const chunks: string[][] = [];
  let from = 0;
  for (let at = body[0] === "!" ? 2 : 1; ; at += 3) {
    at = body.indexOf("-", at);
    if (at < 0) break;
    chunks.push(body.slice(from, at));
    from = at + 1;
  }
  if (from < body.length || chunks.length === 0) chunks.push(body.slice(from));
  else chunks.at(-1)!.push("-");
  for (let i = chunks.length - 1; i > 0; i--) {
    const [left, right] = [chunks[i - 1]!, chunks[i]!];
    if (left.at(-1)!.codePointAt(0)! <= right[0]!.codePointAt(0)!) continue;
    left.pop();
    left.push(...right.slice(1));
    chunks.splice(i, 1);
  }
  return chunks;
}

/**
 * The set between `[` and `]` as in Python's `fnmatch`: ranges, and a leading `!` for the complement. An empty set
 * matches nothing, its complement everything.
 *
 * @param body its characters, each one code point
 */
export function parseSet(body: readonly string[]): CharacterTest {
  const atoms: Atom[] = [];
  for (const [i, chunk] of rangeEnds(body).entries()) {
    if (i > 0) atoms.push({ character: "-", literal: false });
    atoms.push(...chunk.map(literal));
  }
  const negated = atoms[0]?.character === "!";
  const members = negated ? atoms.slice(1) : atoms;
  const ranges: (readonly [number, number])[] = [];
  for (let i = 0; i < members.length; i++) {
    const low = members[i]!.character.codePointAt(0)!;
    const range = i > 0 || members[0]!.literal ? members[i + 1]?.literal === false && members[i + 2] : undefined;
    ranges.push([low, range ? range.character.codePointAt(0)! : low]);
    if (range) i += 2;
  }
  const test = (codePoint: number) => ranges.some(([low, high]) => codePoint >= low && codePoint <= high) !== negated;
  const ofAscii = Array.from({ length: 128 }, (_, codePoint) => test(codePoint));
  return (codePoint) => ofAscii[codePoint] ?? test(codePoint);
}
