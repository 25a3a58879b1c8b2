import { expect, test, vi } from "vitest";
import { checkNetwork } from "../../lib/distributed/network.js";

vi.mock("node:os", async (original) => ({
  ...(await original<object>()),
  networkInterfaces: () => ({
    lo: [{ address: "127.0.0.1", internal: true }],
    eth0: [{ address: "10.0.0.5", internal: false }],
  }),
}));
const names: Record<string, string> = { b: "10.0.0.5", loop: "127.0.1.1" };
vi.mock("node:dns/promises", () => ({
  lookup: async (host: string) => {
    if (!names[host]) throw new Error("ENOTFOUND");
    return { address: names[host] };
  },
}));

const member = (host: string) => ({ host, pid: 1, versions: "" });

/** What `host` says of its network beside another host, if `GLOO_SOCKET_IFNAME` is `named`. */
async function check(host: string, named?: string, others = [member("a")]): Promise<string> {
  vi.stubEnv("GLOO_SOCKET_IFNAME", named);
  try {
    return await checkNetwork(host, [...others, member(host)]);
  } finally {
    vi.unstubAllEnvs();
  }
}

test("a host listens at the interface that is named, or at its name's address", async () => {
  expect(await check("b", "eth0")).toBe("eth0 (10.0.0.5)");
  expect(await check("b")).toBe("10.0.0.5");
  // Alone it need not be reached.
  for (const host of ["loop", "nameless"]) expect(await check(host, undefined, [])).toBeTruthy();
  expect(await check("b", "lo", [])).toBe("lo (127.0.0.1)");
});

test.each([
  ["b", "eth9", 'GLOO_SOCKET_IFNAME names "eth9", but b has lo, eth0'],
  ["b", "eth0,lo", /names "lo", where other hosts cannot reach b; set GLOO_SOCKET_IFNAME to .* \(eth0\)$/],
  ["loop", undefined, /^loop knows itself as 127\.0\.1\.1, where other hosts cannot reach it; .* \(eth0\)$/],
  ["nameless", undefined, /^nameless cannot resolve its own name/],
])("%s with the interface %s is refused by name", async (host, named, message) => {
  await expect(check(host, named)).rejects.toThrow(message);
});
