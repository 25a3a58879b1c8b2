import { Readable } from "node:stream";
import { clearTimeout, setTimeout } from "node:timers";

// Imported before anything that declares `[Symbol.dispose]()` or is compiled from `using`. Node.js 20 and 22 have the
// symbols in their own realm alone: the contexts of node:vm, in which jest and vitest's vm pools run programs, lack them.
// They are taken from Node.js' own objects where available, so that `using` outside of the context recognises them too.
const timer = setTimeout(() => {}, 0);
clearTimeout(timer);
define("dispose", Object.getPrototypeOf(timer));
define("asyncDispose", Readable.prototype);

function define(name: "dispose" | "asyncDispose", owner: object): void {
  if (Symbol[name] !== undefined) return;
  const description = `Symbol.${name}`;
  const names = [description, `nodejs.${name}`]; // the second is the description in Node.js 20 and 22
  const known = Object.getOwnPropertySymbols(owner).find((symbol) => names.includes(symbol.description ?? ""));
  const value = known ?? Symbol(description);
  Object.defineProperty(Symbol, name, { value });
}
