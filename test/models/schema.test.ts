import { expect, test } from "vitest";
import {
  type Field,
  integer,
  integerOrList,
  integers,
  LIMITS,
  listOfOne,
  parseConfig,
} from "../../lib/models/schema.js";

const { levels, layers } = LIMITS;
const read = (field: Field<unknown>, key: unknown) => parseConfig({ key: field }, { key }, "config.json").key;

test("a value at its limit is read, one beyond it is refused with its key and the limit", () => {
  const cases: [Field<unknown>, unknown, unknown][] = [
    [integer(1, layers), layers, layers + 1],
    [integer(1, 3, 2), 2, 1],
    [integerOrList(1, layers), new Array(levels).fill(layers), new Array(levels + 1).fill(1)],
    [integerOrList(1, layers), layers, [1, layers + 1]],
    [integers([1], layers), new Array(levels).fill(layers), new Array(levels + 1).fill(1)],
    [listOfOne(["a"], ["a", "b"]), new Array(levels).fill("b"), new Array(levels + 1).fill("b")],
  ];
  for (const [field, accepted, refused] of cases) {
    expect(read(field, accepted)).toEqual(accepted);
    for (const value of [refused, 1.5, 2 ** 60, -1, [], {}, null])
      expect(() => read(field, value), JSON.stringify(value)).toThrow(
        expect.objectContaining({ code: "ERR_CONFIG", message: expect.stringMatching(/"key" is .*, expected .*\d/) }),
      );
  }
});
