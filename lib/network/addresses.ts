import { BlockList, isIP } from "node:net";

const blocked = new BlockList();
// IANA's special-purpose registries (ranges that are not globally reachable), and multicast.
for (const [network, prefix] of [
  ["0.0.0.0", 8], // this network
  ["10.0.0.0", 8], // private
  ["100.64.0.0", 10], // carriers' address translation
  ["127.0.0.0", 8], // loopback
  ["169.254.0.0", 16], // link-local, which holds clouds' metadata services
  ["172.16.0.0", 12], // private
  ["192.0.0.0", 24], // protocol assignments
  ["192.0.2.0", 24], // documentation
  ["192.88.99.0", 24], // 6to4 relays
  ["192.168.0.0", 16], // private
  ["198.18.0.0", 15], // benchmarks
  ["198.51.100.0", 24], // documentation
  ["203.0.113.0", 24], // documentation
  ["224.0.0.0", 4], // multicast
  ["240.0.0.0", 4], // reserved, broadcast
] as const)
  blocked.addSubnet(network, prefix, "ipv4");
for (const [network, prefix] of [
  ["2001::", 23], // protocol assignments, Teredo among them
  ["2001:db8::", 32], // documentation
  ["2002::", 16], // 6to4, which carries IPv4 addresses
  ["3fff::", 20], // documentation
] as const)
  blocked.addSubnet(network, prefix, "ipv6");

// Everything else in IPv6 is refused: IPv4-compatible and IPv4-translated addresses, local NAT64, site-local, SRv6, …
const globalUnicast = new BlockList();
globalUnicast.addSubnet("2000::", 3, "ipv6");
const carriesIpv4 = new BlockList();
carriesIpv4.addSubnet("::ffff:0:0", 96, "ipv6"); // IPv4-mapped
carriesIpv4.addSubnet("64:ff9b::", 96, "ipv6"); // NAT64

/**
 * Whether an IP address belongs to the public internet: not private, loopback, link-local, carrier-internal, multicast
 * or otherwise special. An IPv6 address that embeds an IPv4 address (mapped, NAT64) is judged by the latter. Anything
 * that is not an IP address is not public.
 */
export function isPublicAddress(address: string): boolean {
  switch (isIP(address)) {
    case 4:
      return !blocked.check(address, "ipv4");
    case 6: {
      const bare = address.replace(/%.*$/, "");
      if (carriesIpv4.check(bare, "ipv6")) return isPublicAddress(embeddedIpv4(bare));
      return globalUnicast.check(bare, "ipv6") && !blocked.check(bare, "ipv6");
    }
    default:
      return false;
  }
}

/** The last 32 bits of an IPv6 address, as an IPv4 address. */
function embeddedIpv4(address: string): string {
  // As the host of a URL an address is written in hexadecimal groups only, with one run of zeros left out.
  const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const [head, tail] = canonical.split("::").map((part) => (part === "" ? [] : part.split(":")));
  const groups = [...Array<string>(8).fill("0"), ...(tail ?? head ?? [])].slice(-2);
  const bits = groups.map((group) => Number.parseInt(group, 16));
  return bits.flatMap((group) => [group >> 8, group & 255]).join(".");
}
