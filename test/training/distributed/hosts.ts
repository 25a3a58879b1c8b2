import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The network interface that connects each host with the other one. */
const CABLE = "eth0";
/** One that leads to no other host. */
export const NOWHERE = "eth1";

const NAMES = ["host-a", "host-b"] as const;
const ADDRESSES = ["10.77.0.1", "10.77.0.2"] as const;

function ip(...args: string[]): { status: number | null; said: string } {
  const { status, stdout, stderr, error } = spawnSync("ip", args, { encoding: "utf8" });
  return { status, said: error?.message ?? `${stdout}${stderr}`.trim() };
}

function mustIp(...args: string[]): string {
  const { status, said } = ip(...args);
  if (status !== 0) throw new Error(`ip ${args.join(" ")}: ${said}`);
  return said;
}

/** Two hosts: network namespaces of this machine, each with a name and an address of its own, that a cable connects. */
export class TwoHosts implements Disposable {
  readonly names = NAMES;
  readonly addresses = ADDRESSES;
  readonly #spaces: readonly [string, string];
  readonly #folder = mkdtempSync(join(tmpdir(), "ip2p-hosts-"));

  /** Why this machine cannot have any; undefined if it can. */
  static refusal(): string | undefined {
    if (process.platform !== "linux") return "network namespaces are Linux's";
    const name = `ip2p-${randomBytes(4).toString("hex")}`;
    const { status, said } = ip("netns", "add", name);
    if (status !== 0) return `network namespaces cannot be made: ${said}`;
    ip("netns", "del", name);
    return undefined;
  }

  constructor() {
    const id = randomBytes(4).toString("hex");
    this.#spaces = [`ip2p-${id}-a`, `ip2p-${id}-b`];
    const [a, b] = this.#spaces;
    try {
      for (const space of this.#spaces) mustIp("netns", "add", space);
      mustIp(...["link", "add", CABLE, "netns", a, "type", "veth", "peer", "name", CABLE, "netns", b]);
      for (const [host, space] of this.#spaces.entries()) {
        mustIp("-n", space, "link", "add", NOWHERE, "type", "veth", "peer", "name", "end");
        mustIp("-n", space, "address", "add", `${ADDRESSES[host]}/24`, "dev", CABLE);
        mustIp("-n", space, "address", "add", `10.78.${host}.1/24`, "dev", NOWHERE);
        for (const device of ["lo", CABLE, NOWHERE, "end"]) mustIp("-n", space, "link", "set", device, "up");
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * What goes before a program's arguments to run it on a host, in the same process.
   *
   * @param known the addresses by which the host knows names; by default each host's own
   */
  prefix(host: number, known: readonly [string, string] = ADDRESSES): string[] {
    const file = join(this.#folder, `hosts-${host}-${known.join("-")}`);
    writeFileSync(file, `127.0.0.1 localhost\n${NAMES.map((name, i) => `${known[i]} ${name}\n`).join("")}`);
    const script = 'hostname "$0" && mount --bind "$1" /etc/hosts && shift && exec "$@"';
    // `ip netns exec` gives the program mounts of its own.
    return [
      ...["ip", "netns", "exec", this.#spaces[host]!, "unshare", "--uts"],
      ...["sh", "-c", script, NAMES[host]!, file],
    ];
  }

  /** Pulls the cable out: both ends see that. */
  unplug(): void {
    mustIp("-n", this.#spaces[0], "link", "set", CABLE, "down");
  }

  /** Lets every packet be lost without a word. */
  losePackets(): void {
    for (const [host, space] of this.#spaces.entries()) {
      // For a network card that is not there.
      const nobody = ["lladdr", "02:00:00:00:00:99", "dev", CABLE, "nud", "permanent"];
      mustIp("-n", space, "neighbour", "replace", ADDRESSES[1 - host]!, ...nobody);
    }
  }

  [Symbol.dispose](): void {
    for (const space of this.#spaces) {
      // Of a test that failed.
      const { status, said } = ip("netns", "pids", space);
      for (const id of status === 0 ? said.split(/\s+/).filter(Boolean) : []) process.kill(Number(id), "SIGKILL");
      ip("netns", "del", space);
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
