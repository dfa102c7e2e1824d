import { readdirSync, readFileSync } from "node:fs";

import { expect, test } from "vitest";

import networks from "../../src/networks.json";
import { en } from "../../src/texts/en";
import { ko } from "../../src/texts/ko";

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

/** Every name in nested texts, and what stands there. */
function flat(texts: object, before = ""): [string, unknown][] {
  return Object.entries(texts).flatMap(([key, value]) =>
    typeof value === "object" ? flat(value, `${before}${key}.`) : [[before + key, value] as [string, unknown]],
  );
}

test("index.html asks for texts that there are", () => {
  const keys = [...read("index.html").matchAll(/data-(?:text|label|role)="(\w+)"/g)].map(([, key]) => key);
  expect(keys.length).toBeGreaterThan(20);
  for (const key of keys) expect(en.page, key).toHaveProperty(key);
});

test("Korean says everything in Korean", () => {
  const latin = new Set(["page.paper", "page.title", "numbers.none"]);
  for (const [key, text] of flat(ko)) {
    const said = typeof text === "function" ? text("1", "2", "3") : text;
    if (!latin.has(key) && key !== "said.quoted") expect(said, key).toMatch(/[가-힣]/);
  }
});

test("a text takes the same markup in both languages", () => {
  const markup = (text: unknown) => (String(text).match(/<\w+/g) ?? []).sort();
  const korean = new Map(flat(ko.page));
  for (const [key, text] of flat(en.page)) expect(markup(korean.get(key)), key).toEqual(markup(text));
});

test("every reason and every kind of layer has its Korean", () => {
  const sources = readdirSync(new URL("../../src/pictures", import.meta.url)).map((name) =>
    read(`src/pictures/${name}`),
  );
  const reasons = sources.flatMap((source) =>
    [...source.matchAll(/"(no (?:digit|number): [^"]*)"/g)].map(([, text]) => text),
  );
  expect(reasons.length).toBeGreaterThan(4);
  for (const reason of reasons) expect(ko.reasons, reason).toHaveProperty([reason]);
  for (const { kind } of networks.flatMap(({ layers }) => layers)) expect(ko.networks.kinds).toHaveProperty([kind]);
});
