import { describe, expect, it } from "vitest";
import { Secrets } from "../../lib/tracking/secrets.js";

const TOKEN = "hf_canaryCANARYcanaryCANARYcanary1234";
const KEY = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";

describe("secrets", () => {
  const declarations = {
    hub_token: { type: "string", secret: true },
    hub_model_id: { type: "string" },
    revision: { type: "string" },
    seed: { type: "bigint" },
  } as const;
  const options = { hubToken: TOKEN, hubModelId: `me/${TOKEN}`, revision: KEY, seed: 1n };
  const secrets = Secrets.of(options, declarations, { WANDB_API_KEY: KEY, HF_TOKEN: " env-token-canary \n" });

  it("are left out by their option's name, and replaced in all other values and names", () => {
    const config = {
      hub_token: "anything",
      hub_model_id: `me/${TOKEN}`,
      revision: KEY,
      note: `x env-token-canary y`,
      [`name ${KEY}`]: 1,
      flag: true,
      nothing: null,
    };
    expect(secrets.filterConfig(config)).toEqual({
      hub_model_id: "me/***",
      revision: "***",
      note: "x *** y",
      "name ***": 1,
      flag: true,
      nothing: null,
    });
  });

  it("are replaced everywhere, as in addresses", () => {
    const odd = new Secrets([], ["p&ss w/rd?", "p&ss w/rd?-and-more"]);
    expect(odd.redact("p&ss w/rd?-and-more, p&ss w/rd?")).toBe("***, ***");
    expect(odd.redact(`https://host/?token=${encodeURIComponent("p&ss w/rd?")}&a=1`)).toBe(
      "https://host/?token=***&a=1",
    );
    expect(secrets.redact(`${TOKEN}${TOKEN} and ${KEY}.`)).toBe("****** and ***.");
  });

  it("are found by their form: tokens of the hub, passwords in addresses", () => {
    const none = new Secrets([], []);
    expect(none.redact(`use ${TOKEN}!`)).toBe("use ***!");
    expect(none.redact("https://user:pass@host/a.png ftp://token@host")).toBe("https://***@host/a.png ftp://***@host");
    expect(none.redact("https://host/a@b.png?x=c@d mail me@host hf_short")).toBe(
      "https://host/a@b.png?x=c@d mail me@host hf_short",
    );
  });

  it("that are too short to be told from ordinary words are left alone in texts, not by name", () => {
    const short = Secrets.of({ hubToken: "abc" }, declarations, {});
    expect(short.redact("abcdef")).toBe("abcdef");
    expect(short.filterConfig({ hub_token: "abc", other: "abc" })).toEqual({ other: "abc" });
  });

  it("can become known later", () => {
    const later = new Secrets([], []);
    expect(later.redact("late-canary")).toBe("late-canary");
    later.add("late-canary");
    later.add(undefined);
    expect(later.redact("late-canary")).toBe("***");
  });
});
