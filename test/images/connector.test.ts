import type { lookup } from "node:dns";
import { createServer, type IncomingMessage } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Server } from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type FetchOptions, fetchBytes } from "../../lib/images/fetch.js";

// 127.0.0.1 plays the public internet, 127.0.0.2 and ::1 the private network. All listen on one port.
const PUBLIC = "127.0.0.1";
const PRIVATE = ["127.0.0.2", "::1"];
const NAMES: Record<string, string[]> = {
  "public.test": [PUBLIC],
  "private.test": ["127.0.0.2"],
  "six.test": ["::1"],
  "both.test": [PUBLIC, "127.0.0.2"],
  localhost: ["127.0.0.2"],
  "empty.test": [],
};
const resolver = ((name: string, _: unknown, callback: (error: Error | null, addresses: object[]) => void) => {
  const addresses = NAMES[name.replace(/\.$/, "")];
  const error = Object.assign(new Error(`getaddrinfo ENOTFOUND ${name}`), { code: "ENOTFOUND" });
  callback(
    addresses ? null : error,
    (addresses ?? []).map((address) => ({ address, family: address === "::1" ? 6 : 4 })),
  );
}) as unknown as typeof lookup;

let port: number;
let privateConnections = 0;
let publicConnections = 0;
/** What each request to the public server is answered with: where it is sent on to, or the end. */
let redirects: string[] = [];
let requests: IncomingMessage[] = [];
/** The addresses at which those arrived; a socket forgets its own when it is closed. */
let dialled: (string | undefined)[] = [];
const servers: Server[] = [];

beforeAll(async () => {
  const listen = (server: Server, host: string, at: number) =>
    new Promise<void>((resolve) => {
      servers.push(server);
      // Not every machine has IPv6.
      server.once("error", () => resolve()).listen(at, host, resolve);
    });
  const server = createServer((request, response) => {
    requests.push(request);
    dialled.push(request.socket.localAddress);
    const location = redirects.shift();
    if (location === undefined) response.end("end");
    else response.writeHead(302, { location }).end();
  });
  server.on("connection", () => publicConnections++);
  await listen(server, PUBLIC, 0);
  port = (server.address() as AddressInfo).port;
  for (const host of PRIVATE) {
    const inside = createTcpServer((socket) => {
      privateConnections++;
      socket.destroy();
    });
    await listen(inside, host, port);
  }
});
afterAll(() => {
  for (const server of servers) server.close();
});
beforeEach(() => {
  [privateConnections, publicConnections, redirects, requests, dialled] = [0, 0, [], [], []];
});

/** The addresses that the rule was asked about. */
let checked: string[] = [];
const options: FetchOptions = {
  maxBytes: 1000,
  timeoutMs: 20_000,
  allowPrivateAddresses: false,
  lookup: resolver,
  isAllowed: (address) => {
    checked.push(address);
    return address === PUBLIC;
  },
};

const outcomeOf = (url: URL, changed: Partial<FetchOptions> = {}) =>
  fetchBytes(url, { ...options, ...changed }).then(String, (error: Error) => error.message);

describe("a guarded connection", () => {
  const host = fc.constantFrom(
    ...[
      "public.test",
      "PUBLIC.test",
      "public.test.",
      "public%2Etest",
      "ｐｕｂｌｉｃ.test",
      "public。test",
      "127.0.0.1",
    ],
    ...["127.1", "0x7f.1", "2130706433", "017700000001", "127.0.0.1.", "%31%32%37.0.0.1", "１２７.0.0.1"],
    ...[
      "127.0.0.2",
      "127.2",
      "0x7f000002",
      "2130706434",
      "0177.0.0.2",
      "127.0.0.2.",
      "%31%32%37.0.0.2",
      "127。0。0。2",
    ],
    ...["[::1]", "[0:0::1]", "[::ffff:127.0.0.2]", "[::ffff:7f00:2]", "[::127.0.0.2]", "[::1%25lo]", "[fe80::1%25lo]"],
    ...["private.test", "private.test.", "six.test", "both.test", "localhost", "empty.test", "unknown.test"],
  );
  const at = host.map((name) => `${name}:${port}`);
  const authority = fc.oneof(
    { weight: 9, arbitrary: at },
    host,
    at.map((text) => text.replace(/:(\d+)$/, ":00$1")),
  );
  const user = fc.oneof(
    ...["", "", "me:pw@", "me@", ":pw@", "%zz:%@", "a@b@", "a:b:c@"].map((text) => fc.constant(text)),
    ...[at.map((text) => `${text}@`), host.map((text) => `${text}@`), host.map((text) => `${text}%40@`)],
    ...[at.map((text) => `${text}\\@`), at.map((text) => `${text}#@`), at.map((text) => `${text}/@`)],
  );
  const piece = fc.oneof(
    fc.constantFrom(
      "/",
      "//",
      "///",
      "/\\",
      "\\",
      "\\\\",
      "/..",
      "/.",
      "/%2e%2e/",
      "/%2f%2f",
      "/%5c",
      "/@",
      "@",
      ":",
      ";",
    ),
    fc.constantFrom("a", "/a b", "%00", "%", "\t", "\n/", "http:", "/http://", "é", "*"),
    at,
    at.map((text) => `//${text}`),
    at.map((text) => `/\\${text}/`),
  );
  const rest = fc
    .tuple(
      fc.array(piece, { maxLength: 5 }),
      fc.oneof(
        fc.constant(""),
        at.map((text) => `?//${text}`),
        at.map((text) => `?u=http://me@${text}/`),
      ),
      fc.oneof(
        fc.constant(""),
        at.map((text) => `#@${text}`),
      ),
    )
    .map(([path, query, fragment]) => path.join("") + query + fragment);
  const scheme = fc.constantFrom(
    "http://",
    "http://",
    "HTTP://",
    "http:",
    "http:/",
    "http:///",
    "http:\\\\",
    " http://",
  );
  const absolute = fc
    .tuple(scheme, user, authority, fc.constantFrom("/", "", "\\"), rest)
    .map((parts) => parts.join(""));
  const location = fc
    .oneof(
      absolute,
      rest,
      fc.tuple(fc.constantFrom("//", "\\\\", "/\\", "///"), user, authority, rest).map((p) => p.join("")),
    )
    // What a header may hold.
    .map((text) => text.replace(/[^\x20-\x7e]+/g, encodeURIComponent));

  it("is made to the checked host of the URL, in any notation and after any redirect", async () => {
    let reached = 0;
    await fc.assert(
      fc.asyncProperty(absolute, fc.array(location, { maxLength: 2 }), async (text, locations) => {
        if (!URL.canParse(text)) return;
        [requests, dialled, checked, redirects] = [[], [], [], [...locations]];
        let hop = new URL(text);
        let previous = hop;
        await outcomeOf(hop);
        expect(privateConnections).toBe(0);
        for (const [i, request] of requests.entries()) {
          // Node says no more of the request's target and Host than what came over the wire.
          expect(request.url).toBe(hop.pathname + hop.search);
          expect(request.headers.host).toBe(hop.host);
          expect(checked).toContain(dialled[i]);
          const { authorization } = request.headers;
          const sent = authorization && Buffer.from(authorization.replace("Basic ", ""), "base64").toString();
          expect(sent !== undefined).toBe(hop.username !== "" || hop.password !== "");
          if (i > 0 && !locations[i - 1]!.includes("@") && sent !== undefined) expect(hop.origin).toBe(previous.origin);
          previous = hop;
          const next = locations[i] ?? "";
          if (URL.canParse(next, hop.href)) hop = new URL(next, hop);
          else expect(requests.length).toBe(i + 1);
        }
        reached += requests.length;
      }),
      { numRuns: 400 },
    );
    expect(reached).toBeGreaterThan(50);
  });

  it.each(["//H/x", "/\\H/x", "//me@H/", "/a//H", "/..//H", "/.//H", "//H:0@public.test"])(
    "a path %s is only a path",
    async (path) => {
      const url = new URL(`http://me:pw@public.test:${port}/`);
      url.pathname = path.replace("H", `127.0.0.2:${port}`);
      expect(await outcomeOf(url)).toBe("end");
      expect(requests.map(({ url: target }) => target)).toEqual([url.pathname]);
      expect(privateConnections).toBe(0);
    },
  );

  it("has its remote address checked before anything is sent", async () => {
    let asked = 0;
    expect(await outcomeOf(new URL(`http://${PUBLIC}:${port}/`), { isAllowed: () => ++asked === 1 })).toMatch(
      /cannot be connected to/,
    );
    expect({ asked, publicConnections, requests }).toEqual({ asked: 2, publicConnections: 1, requests: [] });
  });

  it("that is refused has the same message as one that fails, without addresses", async () => {
    const closed = createTcpServer().listen(0, PUBLIC);
    await new Promise((resolve) => closed.once("listening", resolve));
    const free = (closed.address() as AddressInfo).port;
    await new Promise((resolve) => closed.close(resolve));
    const urls = [
      `http://127.0.0.2:${port}/a`,
      `http://127.0.0.2:${free}/a`,
      `http://private.test:${port}/a`,
      `http://private.test:${free}/a`,
      `http://both.test:${free}/a`,
      `http://public.test:${free}/a`,
      `http://[::1]:${port}/a`,
      `http://unknown.test/a`,
      `http://empty.test/a`,
      `https://public.test:${port}/a`, // no TLS there
    ];
    for (const url of urls)
      expect(await outcomeOf(new URL(url))).toBe(
        `cannot fetch ${url}: its host is not on the public internet or cannot be connected to (private addresses are not allowed here)`,
      );
    expect(privateConnections).toBe(0);
    // Where private addresses are allowed, the reason for a failure is reported.
    expect(await outcomeOf(new URL(`http://public.test:${free}/a`), { allowPrivateAddresses: true })).toMatch(
      /ECONNREFUSED/,
    );
  });
});

it("credentials go to the origin that they were written for, and percent signs in them are taken as they are", async () => {
  const sent = () =>
    requests.map(({ headers }) =>
      Buffer.from(headers.authorization?.replace("Basic ", "") ?? "", "base64").toString("utf8"),
    );
  redirects = ["/same", `http://public.test.:${port}/other`, "/same-as-other"];
  expect(await outcomeOf(new URL(`http://m%C3%A9:100%25%@public.test:${port}/`))).toBe("end");
  expect(sent()).toEqual(["mé:100%%", "mé:100%%", "", ""]);

  [requests, redirects] = [[], ["//public.test:PORT/a", "http://other:own@public.test.:PORT/"]];
  redirects = redirects.map((each) => each.replace("PORT", String(port)));
  expect(await outcomeOf(new URL(`http://:pw@public.test:${port}/`))).toBe("end");
  expect(sent()).toEqual([":pw", "", "other:own"]);
});
