// Builds the server's web page: `node scripts/setup.mjs` calls it, and `npx vite web` serves it while it is changed,
// with the requests that it makes going to `ip2p serve`.

import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const target = "http://127.0.0.1:8080";

export default defineConfig({
  root: at("."),
  // Relative, so that the page also works below a path, behind a proxy or in another app.
  base: "./",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: at("../dist/web"),
    emptyOutDir: true,
    target: "es2022",
    // Everything is in one file; and nothing may be inlined, which the policy of the page forbids.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
  server: { proxy: { "/v1": target, "/examples": target, "/openapi.json": target } },
});
