import fc from "fast-check";

/** Pieces that break JSON, or mean something where configurations are read. */
const TOKENS = [
  ...'{}[],:"\\/-+.eE0123456789 \n\t\r\0\u001f\u2028\ufeff',
  "null",
  "true",
  "false",
  "NaN",
  "Infinity",
  "-Infinity",
  "1e999",
  "0x1",
  "01",
  "\\u00",
  "\\ud800",
  "__proto__",
  "constructor",
  "..",
  "../",
  "{}",
  "[[[[[[",
  "//",
  '""',
];

/** Any JSON value, as text or in place of a part of `seed`, and `seed` with pieces inserted, removed or replaced. */
export function mutatedText(seed: string): fc.Arbitrary<string> {
  const edit = fc.tuple(
    fc.nat(seed.length),
    fc.nat(12),
    fc.oneof(fc.constantFrom(...TOKENS), fc.string({ unit: "binary", maxLength: 4 }), fc.json({ maxDepth: 2 })),
  );
  const edited = fc
    .array(edit, { minLength: 1, maxLength: 4 })
    .map((edits) =>
      edits.reduce((text, [at, removed, piece]) => text.slice(0, at) + piece + text.slice(at + removed), seed),
    );
  return fc.oneof({ weight: 6, arbitrary: edited }, { weight: 1, arbitrary: fc.json() }, fc.string({ unit: "binary" }));
}
