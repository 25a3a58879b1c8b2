// Gives the addon error classes of every wrong kind and has it report errors through them.
import { native, onOneThread } from "./package.mjs";

await onOneThread();
const addon = native();
const tensor = addon.tensorFromData(new Float32Array(4), "float32", [4]);
const classes = [
  () => {},
  () => 5,
  async () => {},
  function* () {},
  class extends Error {
    constructor() {
      throw new RangeError("an error class that throws");
    }
  },
  class {
    constructor() {
      // biome-ignore lint/correctness/noConstructorReturn: that is the point
      return 5;
    }
  },
  Symbol,
  BigInt,
  new Proxy(Error, {
    construct() {
      throw null;
    },
  }),
  Error,
];
let caught = 0;
for (const value of [undefined, null, 5, "Error", {}, Symbol("s")]) {
  try {
    addon.setErrorClass(value);
  } catch {
    caught++;
  }
}
for (const Class of classes) {
  addon.setErrorClass(Class);
  try {
    addon.tensorFromData(new Float32Array(4), "float32", [5]);
  } catch {
    caught++;
  }
  await addon.reshape(tensor, [5]).catch(() => caught++);
}
console.log(JSON.stringify({ caught, expected: 6 + 2 * classes.length }));
