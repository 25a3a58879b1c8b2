import { expect, test } from "vitest";
import { ComponentHold, leaveToCaller } from "../../lib/components/shared.js";

/** A component that counts how often it was disposed of. */
function component() {
  return {
    disposals: 0,
    [Symbol.dispose]() {
      this.disposals++;
    },
  };
}

function holding(...components: unknown[]): ComponentHold {
  const hold = new ComponentHold();
  for (const part of components) hold.add(part);
  return hold;
}

test("a component is freed once, with the last pipeline that holds it", () => {
  const [shared, own, several] = [component(), component(), [component(), component()]];
  const first = holding(shared, own, several);
  const second = holding(shared);
  const third = holding(several);
  first.dispose();
  first.dispose();
  expect([shared.disposals, own.disposals, several[0]!.disposals]).toEqual([0, 1, 0]);
  second.dispose();
  third.dispose();
  expect([shared, own, ...several].map(({ disposals }) => disposals)).toEqual([1, 1, 1, 1]);
});

test("a component that occurs twice in a pipeline is freed once", () => {
  const twice = component();
  const hold = holding(twice, twice);
  const other = holding(twice);
  hold.dispose();
  expect(twice.disposals).toBe(0);
  other.dispose();
  expect(twice.disposals).toBe(1);
});

test("a component that is taken out is not freed, and one that is put in is", () => {
  const [first, second, kept] = [component(), component(), component()];
  const hold = holding(first, kept);
  hold.update([second, kept]);
  hold.remove(component());
  hold.dispose();
  expect([first.disposals, second.disposals, kept.disposals]).toEqual([0, 1, 1]);
  // Whoever took it out may put it elsewhere.
  holding(first).dispose();
  expect(first.disposals).toBe(1);
});

test("what its caller keeps is never freed, unless a pipeline had it first", () => {
  const [callers, pipelines] = [component(), component()];
  const loader = holding(pipelines);
  for (const part of [callers, pipelines]) leaveToCaller(part);
  const borrower = holding(callers, pipelines);
  loader.dispose();
  expect(pipelines.disposals).toBe(0);
  borrower.dispose();
  holding(callers).dispose();
  expect([callers.disposals, pipelines.disposals]).toEqual([0, 1]);
});

test("what has nothing to free is ignored", () => {
  const hold = holding(null, undefined, {}, "text", [null]);
  hold.remove(null);
  expect(() => hold.dispose()).not.toThrow();
});
