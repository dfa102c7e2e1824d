// `npm run pictures`: the page as the README shows it, docs/images/demo-light.png and demo-dark.png.

import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { test } from "vitest";

import samples from "../../src/samples.json";
import { Site } from "../browser";

const FOLDER = fileURLToPath(new URL("../../../images/", import.meta.url));

test.each(["light", "dark"] as const)("%s", async (colorScheme) => {
  await mkdir(FOLDER, { recursive: true });
  const site = await Site.open({ colorScheme, viewport: { width: 1180, height: 1120 } });
  try {
    const visit = await site.visit();
    await visit.draw(samples[2].strokes);
    await visit.page.mouse.move(0, 0);
    await visit.page.evaluate(() => (document.activeElement as HTMLElement).blur());
    await visit.page.waitForTimeout(300);
    await visit.page.screenshot({ path: `${FOLDER}demo-${colorScheme}.png` });
  } finally {
    await site.close();
  }
});
