// The page's languages: src/texts/en.ts and its like, one file each with all texts. Which one is shown: the one that was
// chosen here last, else the first of the browser's languages that there is, else English.

import type { Fault } from "./pictures/reading";
import { en } from "./texts/en";

export type Texts = typeof en;

/** To add a language: src/texts/xx.ts, and a line here. English is loaded with the page, the others when asked for. */
export const LANGUAGES: Record<string, { name: string; load: () => Promise<Texts> }> = {
  en: { name: "English", load: async () => en },
  ko: { name: "한국어", load: async () => (await import("./texts/ko")).ko },
};

const KEY = "lenet-5 language";

/** The texts of the language that is shown. */
export let texts: Texts = en;
export let language = "en";

export function wantedLanguage(): string {
  const wanted = [remembered(), ...navigator.languages].map((tag) => (tag ?? "").split("-")[0]);
  return wanted.find((code) => code in LANGUAGES) ?? "en";
}

/** Loads a language and puts its texts into what stands in index.html. */
export async function speak(code: string): Promise<void> {
  texts = await LANGUAGES[code].load();
  language = code;
  document.documentElement.lang = code;
  document.title = texts.page.title;
  const page: Record<string, string> = texts.page;
  for (const node of document.querySelectorAll<HTMLElement>("[data-text]")) {
    node.innerHTML = page[node.dataset.text!];
  }
  for (const node of document.querySelectorAll<HTMLElement>("[data-label]")) {
    node.setAttribute("aria-label", page[node.dataset.label!]);
  }
  for (const node of document.querySelectorAll<HTMLElement>("[data-role]")) {
    node.setAttribute("aria-roledescription", page[node.dataset.role!]);
  }
}

export function remember(code: string): void {
  try {
    localStorage.setItem(KEY, code);
  } catch {
    // Not allowed here: then the choice lasts as long as the page.
  }
}

function remembered(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** A reason of lenet_zoo's for there being no digit or number, as a sentence. */
export function sentence(reason: string): string {
  const text = texts.reasons[reason] ?? reason;
  return text && `${text[0].toUpperCase()}${text.slice(1)}.`;
}

/** What an error says. */
export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What is wrong with a picture, for the reader of the page. */
export function faultText(fault: Fault): string {
  const { said } = texts;
  if (fault.kind === "notAPicture") return said.notAPicture(fault.name ? said.quoted(fault.name) : said.that);
  if (fault.kind === "tooLarge") return said.tooLarge(fault.width, fault.height);
  return fault.kind === "unreadable" ? said.unreadable(fault.why) : said.noReader;
}
