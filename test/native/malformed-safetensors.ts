/** One hostile or broken file: a name for reports, its bytes, and what the error must say. */
export interface MalformedFile {
  title: string;
  bytes: Buffer;
  message: RegExp;
}

interface Entry {
  dtype: unknown;
  shape: unknown;
  data_offsets: unknown;
}

/** A file of this header (JSON text, bytes or a value) and data, with the length field right unless given. */
export function pack(header: unknown, data: Buffer | number = 0, length?: bigint): Buffer {
  const text =
    typeof header === "string"
      ? Buffer.from(header)
      : Buffer.isBuffer(header)
        ? header
        : Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length ?? BigInt(text.length));
  return Buffer.concat([prefix, text, typeof data === "number" ? Buffer.alloc(data, 7) : data]);
}

const entry = (begin: number, end: number, shape: unknown = [end - begin], dtype: unknown = "U8"): Entry => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

/** A header of one U8 tensor of 4 bytes, with the JSON of one of its fields replaced. */
const withField = (field: "dtype" | "shape" | "data_offsets", json: string): string => {
  const fields = { dtype: '"U8"', shape: "[4]", data_offsets: "[0,4]", [field]: json };
  return `{"x":{"dtype":${fields.dtype},"shape":${fields.shape},"data_offsets":${fields.data_offsets}}}`;
};

const good = withField("shape", "[4]");
const nested = (depth: number, open: string, close: string) => open.repeat(depth) + close.repeat(depth);

type Variation = [bytes: Buffer, message?: RegExp];

/**
 * Classes of malformed files, ten or more variations each. The message of a class is what all its variations must be
 * told, unless one names its own.
 */
const CLASSES: Record<string, { message: RegExp; variations: Variation[] }> = {
  "a file shorter than its length field": {
    message: /too few for the header's length/,
    variations: [
      [Buffer.alloc(0), /is empty/],
      ...[1, 2, 3, 4, 5, 6, 7].map((size): Variation => [Buffer.alloc(size, 1)]),
      [Buffer.from("{}")],
      [Buffer.from([0x40, 0])],
    ],
  },
  "a header length above the limit": {
    message: /more than the allowed 100000000/,
    variations: [
      100_000_001n,
      1n << 27n,
      1n << 31n,
      (1n << 32n) - 1n,
      1n << 32n,
      1n << 48n,
      (1n << 63n) - 1n,
      1n << 63n,
      (1n << 64n) - 8n,
      (1n << 64n) - 1n,
    ].map((length) => [pack(good, 4, length)]),
  },
  "a header longer than the file": {
    message: /is the file truncated/,
    variations: [
      ...[1, 2, 8, 100, 99_000_000].map((more): Variation => [pack(good, 0, BigInt(good.length + more))]),
      ...[1, 5, 9, 20, 40].map((less): Variation => [pack(good).subarray(0, 8 + good.length - less)]),
    ],
  },
  "a header that does not start with a brace": {
    message: /does not start with '\{'/,
    variations: ["", " {}", "\n{}", "\ufeff{}", "[]", '"{}"', "null", "0", "\0{}", "}{"].map((text) => [pack(text)]),
  },
  "broken JSON": {
    message: /at byte \d+: /,
    variations: [
      ["{"],
      ["{]"],
      ["{,}"],
      ['{"x"}'],
      ['{"x":}'],
      ["{x:1}"],
      ["{'x':1}"],
      [good.replace(",", ",,")],
      [good.replace("]}", "],}")],
      [good.replace(":", "=")],
      [good.replace("[4]", "[4,]")],
      [good.replace("[4]", "[4 4]")],
      [good.replace('"shape"', '/* size */"shape"')],
      ['{"x'],
    ].map(([text]) => [pack(text, 4)]),
  },
  "something after the JSON": {
    message: /after the end of the JSON/,
    variations: ["}", "{}", ",", "\0", "x", " \0", "null", "\v", "\f", "]", "//"].map((tail) => [pack(good + tail, 4)]),
  },
  "malformed UTF-8": {
    message: /malformed UTF-8/,
    variations: [
      [0xff],
      [0x80],
      [0xc0, 0x80],
      [0xc1, 0xbf],
      [0xc3],
      [0xe0, 0x80, 0x80],
      [0xed, 0xa0, 0x80],
      [0xe2, 0x82],
      [0xf0, 0x80, 0x80, 0x80],
      [0xf4, 0x90, 0x80, 0x80],
      [0xf8, 0x88, 0x80, 0x80, 0x80],
    ].map((bytes) => [pack(Buffer.concat([Buffer.from('{"'), Buffer.from(bytes), Buffer.from(good.slice(3))]), 4)]),
  },
  "a string that JSON does not allow": {
    message: /at byte \d+: .*(string|escape|surrogate|hexadecimal|control)/,
    variations: [
      "\\x41",
      "\\u12",
      "\\u12g4",
      "\\ud800",
      "\\ud800\\u0041",
      "\\udc00",
      "\\ud800\\ud800",
      "\\q",
      "\n",
      "\0",
    ].map((text) => [pack(good.replace("x", text), 4)]),
  },
  "nesting without end": {
    message: /nested more than \d+ deep/,
    variations: [126, 127, 200, 1_000, 100_000].flatMap((depth): Variation[] => [
      [pack(good.replace('"U8"', `"U8","extra":${nested(depth, "[", "]")}`), 4)],
      [pack(good.replace('"U8"', `"U8","extra":${nested(depth, '{"a":', "}").replace(":}", ":1}")}`), 4)],
    ]),
  },
  "a name or key twice": {
    message: /appears twice/,
    variations: [
      '{"a":E,"a":E}',
      '{"a":E,"b":E,"a":E}',
      '{"a":E,"\\u0061":E}',
      '{"":E,"":E}',
      '{"é":E,"\\u00e9":E}',
      '{"__metadata__":{},"__metadata__":{}}',
      '{"__metadata__":{"k":"1","k":"2"}}',
      '{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
      '{"a":{"dtype":"U8","shape":[0],"shape":[0],"data_offsets":[0,0]}}',
      '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"data_offsets":[0,0]}}',
    ].map((text) => [pack(text.replaceAll("E", JSON.stringify(entry(0, 0))))]),
  },
  "sizes and offsets that are not whole numbers": {
    message: /tensor "x": /,
    variations: [
      ...[
        "-1",
        "4.0",
        "4.5",
        "4e0",
        "04",
        '"4"',
        "null",
        "true",
        "[4]",
        "{}",
        "18446744073709551616",
        "1e999",
        "NaN",
      ].map((value): Variation => [pack(withField("shape", `[${value}]`), 4)]),
      ...["-4", "4.0", "0x4", "+4", "99999999999999999999"].map(
        (value): Variation => [pack(withField("data_offsets", `[0,${value}]`), 4)],
      ),
    ],
  },
  "fields missing or of another kind": {
    message: /tensor "x": /,
    variations: [
      "{}",
      "null",
      "4",
      '"U8"',
      '["U8",[4],[0,4]]',
      '{"shape":[4],"data_offsets":[0,4]}',
      '{"dtype":"U8","data_offsets":[0,4]}',
      '{"dtype":"U8","shape":[4]}',
      '{"dtype":8,"shape":[4],"data_offsets":[0,4]}',
      '{"dtype":"U8","shape":4,"data_offsets":[0,4]}',
      '{"dtype":"U8","shape":{"0":4},"data_offsets":[0,4]}',
      '{"dtype":"U8","shape":[4],"data_offsets":{"begin":0,"end":4}}',
      '{"dtype":"U8","shape":[4],"data_offsets":[]}',
      '{"dtype":"U8","shape":[4],"data_offsets":[0]}',
      '{"dtype":"U8","shape":[4],"data_offsets":[0,4,4]}',
    ].map((json) => [pack(`{"x":${json}}`, 4)]),
  },
  "a dtype that does not exist": {
    message: /unknown dtype/,
    variations: [
      "",
      "u8",
      "F31",
      "float32",
      "FLOAT",
      "I128",
      "U8 ",
      "BF16\\u0000",
      "__metadata__",
      "U8".repeat(5000),
    ].map((dtype) => [pack(withField("dtype", `"${dtype}"`), 4)]),
  },
  "a shape whose size overflows": {
    message: /overflows|more than 2\^63-1/,
    variations: [
      [[2 ** 32, 2 ** 32]],
      [[2 ** 31, 2 ** 31, 2]],
      [[2 ** 53, 2 ** 11]],
      [[3, 2 ** 52, 2 ** 52]],
      [Array(64).fill(2)],
      [Array(20).fill(1000)],
      ["[9223372036854775807]"],
      ["[9223372036854775808]"],
      ["[18446744073709551615]"],
      ["[4294967296,4294967297]"],
      ["[0,9223372036854775807,4]"],
      ["[4294967296,0,4294967296]"],
    ].map(([shape]) => [pack(withField("shape", typeof shape === "string" ? shape : JSON.stringify(shape)), 4)]),
  },
  "offsets that disagree with shape and dtype": {
    message: /span \d+ bytes, but shape .* takes \d+/,
    variations: [
      [entry(0, 4, [3])],
      [entry(0, 4, [5])],
      [entry(0, 4, [])],
      [entry(0, 4, [4], "F32")],
      [entry(0, 4, [1], "F64")],
      [entry(0, 4, [4], "BF16")],
      [entry(0, 4, [2, 3])],
      [entry(0, 4, [0])],
      [entry(0, 4, [0, 4])],
      [entry(0, 4, [2 ** 40])],
      [entry(0, 0, [4])],
      [entry(0, 4, [4], "F4")],
    ].map(([x]) => [pack({ x }, 4)]),
  },
  "elements that do not fill their last byte": {
    message: /does not fill its last byte/,
    variations: [
      ...[[], [1], [3], [7], [3, 3]].map((shape): Variation => [pack({ x: entry(0, 4, shape, "F4") }, 4)]),
      ...[[], [1], [2], [3], [5, 5]].map((shape): Variation => [pack({ x: entry(0, 4, shape, "F6_E2M3") }, 4)]),
    ],
  },
  "offsets that end before they begin": {
    message: /end before they begin/,
    variations: [1, 2, 3, 4, 5, 100, 2 ** 31, 2 ** 32, 2 ** 53, "18446744073709551615"].map((begin) => [
      pack(withField("data_offsets", `[${begin},0]`), 4),
    ]),
  },
  "tensors that overlap": {
    message: /overlap/,
    variations: [
      [{ a: entry(0, 4), b: entry(0, 4) }],
      [{ a: entry(0, 3), b: entry(2, 4) }],
      [{ a: entry(0, 4), b: entry(1, 2) }],
      [{ b: entry(0, 4), a: entry(3, 4) }],
      [{ a: entry(2, 4), b: entry(0, 3) }],
      [{ a: entry(0, 4), b: entry(2, 2) }],
      [{ a: entry(0, 2), b: entry(2, 4), c: entry(1, 3) }],
      [{ a: entry(0, 1), b: entry(1, 4), c: entry(3, 4) }],
      [{ a: entry(0, 4), b: entry(0, 4), c: entry(0, 4) }],
      [{ a: entry(0, 4, [2], "F16"), b: entry(2, 4, [1], "BF16") }],
    ].map(([header]) => [pack(header, 4)]),
  },
  "holes between tensors": {
    message: /a hole of \d+ bytes/,
    variations: [
      [{ a: entry(1, 4) }],
      [{ a: entry(3, 4) }],
      [{ a: entry(4, 4) }],
      [{ a: entry(0, 1), b: entry(2, 4) }],
      [{ b: entry(0, 1), a: entry(2, 4) }],
      [{ a: entry(2, 4), b: entry(0, 1) }],
      [{ a: entry(0, 2), b: entry(3, 3), c: entry(3, 4) }],
      [{ a: entry(0, 0), b: entry(2, 4) }],
      [{ a: entry(0, 1), b: entry(1, 2), c: entry(3, 4) }],
      [{ a: entry(2, 4, [1], "F16") }],
    ].map(([header]) => [pack(header, 4)]),
  },
  "bytes after the last tensor": {
    message: /goes on for \d+ bytes/,
    variations: [
      [pack({}, 1)],
      [pack({}, 8)],
      [pack("{}      ", 1000)],
      [pack({ __metadata__: { format: "pt" } }, 3)],
      ...[1, 2, 3, 7, 8, 4096].map((more): Variation => [pack(good, 4 + more)]),
    ],
  },
  "data cut short": {
    message: /reach beyond the end of the file/,
    variations: [
      ...[0, 1, 2, 3].map((size): Variation => [pack(good, size)]),
      [pack({ a: entry(0, 4), b: entry(4, 8) }, 7)],
      [pack({ a: entry(0, 4), b: entry(4, 8) }, 4)],
      [pack({ a: entry(0, 4), b: entry(4, 8) }, 0)],
      [pack({ a: entry(0, 2 ** 32) }, 4)],
      [pack({ a: entry(0, 2 ** 52) }, 4)],
      [pack({ a: entry(4, 4), b: entry(0, 3) }, 3)],
      [pack({ a: entry(2 ** 53, 2 ** 53, [0]) }, 0)],
    ],
  },
  "metadata that is not text": {
    message: /__metadata__/,
    variations: [
      "1",
      "true",
      '"format"',
      "[]",
      '["format","pt"]',
      '{"a":1}',
      '{"a":null}',
      '{"a":{}}',
      '{"a":["b"]}',
      '{"a":true}',
      '{"a":"b","c":2}',
    ].map((json) => [pack(`{"__metadata__":${json}}`)]),
  },
  "sizes without measure": {
    message: /more than \d+|more tensors or metadata/,
    variations: [
      [pack(withField("shape", `[${Array(65).fill(1)}]`), 4)],
      [pack(withField("shape", `[${Array(100_000).fill(1)}]`), 4)],
      [pack(good.replace("x", "x".repeat(65_537)), 4)],
      [pack(good.replace("x", "\\u0041".repeat(20_000)), 4)],
      [pack(good.replace('"U8"', `"${"U".repeat(70_000)}"`), 4)],
      [pack(good.replace('"dtype"', `"${"d".repeat(70_000)}"`), 4)],
      [pack({ __metadata__: { ["k".repeat(70_000)]: "v" } })],
      [pack(`{"__metadata__":{${Array.from({ length: 2_000_000 }, (_, i) => `"${i}":""`)}}}`)],
      [
        pack(
          `{${Array.from({ length: 600_000 }, (_, i) => `"${i}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`)}}`,
        ),
      ],
      [pack(withField("data_offsets", `[${Array(1000).fill(0)}]`), 4), /has 1000 numbers/],
    ],
  },
  "files of another kind": {
    message: /./,
    variations: [
      [Buffer.from("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"), /Git LFS pointer/],
      [Buffer.from("PK\x03\x04\x00\x00\x08\x08\x00\x00\x00\x00archive/data.pkl", "latin1"), /pickle/],
      [Buffer.from("\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "latin1"), /pickle/],
      [Buffer.from("\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00", "latin1"), /too|pickle|truncated/],
      [Buffer.from("GGUF\x03\x00\x00\x00\x00\x00\x00\x01", "latin1"), /GGUF/],
      [Buffer.from("<!DOCTYPE html><html></html>"), /web page/],
      [Buffer.from("<html><body>404</body></html>"), /web page/],
      [Buffer.from('{"error":"Repository not found"}'), /not a safetensors file/],
      [Buffer.from("Access to model is restricted"), /not a safetensors file/],
      [Buffer.alloc(1000, 0xff), /not a safetensors file/],
      [Buffer.alloc(1000), /does not start with/],
    ],
  },
};

/** Every malformed file, by class. */
export const malformedClasses: readonly { name: string; files: readonly MalformedFile[] }[] = Object.entries(
  CLASSES,
).map(([name, { message, variations }]) => ({
  name,
  files: variations.map(([bytes, own], i) => ({ title: `${name} #${i + 1}`, bytes, message: own ?? message })),
}));
