import { PixelCanvas, readPalette } from "./colours";
import { $, element, setText } from "./elements";
import { latest } from "./latest";
import type { Lessons } from "./lessons";
import { loadNetworks, networks as descriptions, type Answer, type Network } from "./network";
import type { NumberDesk } from "./numbers";
import { Pad, PEN_WIDTH, type Points } from "./pad";
import { digitFromDrawing } from "./pictures/character";
import { PictureError, type Picture } from "./pictures/reading";
import { found, SEVERAL, type Found } from "./pictures/refusals";
import { PictureReader } from "./reader";
import samples from "./samples.json";
import { faultText, language, LANGUAGES, remember, sentence, speak, texts, wantedLanguage, wordsOf } from "./texts";
import { reasonOf, verdict, type Verdict } from "./verdict";
import { NetworkView, networkTable } from "./view";

/** What the event `answer` on the document carries, for tests and for the curious: exact pixels and exact logits. */
export interface AnswerDetail {
  /** 28 × 28, or null where there is no digit. */
  pixels: Uint8Array | null;
  /** As `Found` has it. */
  atEdge: boolean;
  answers: Record<string, Answer & Verdict>;
  /** From the event that caused it until the answer stood on the page, in ms. */
  latency: number;
}

const pad = new Pad<Picture>($<HTMLCanvasElement>("pad"));
const digit = new PixelCanvas($<HTMLCanvasElement>("digit"), 28, 28);
const threshold = $<HTMLInputElement>("threshold");
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
let palette = readPalette(document.documentElement);
let networks: Network[] | null = null;
/** Why there are no networks, if they did not load. */
let failed = "";
let lessons: Lessons | null = null;
let numbers: NumberDesk | null = null;
let views: NetworkView[] = [];
let rows: HTMLElement[] = [$("heads")];

/** The views anew, in the language that is shown. */
function build(): void {
  views = descriptions.map((description) => new NetworkView(description));
  const [heads, ...layers] = networkTable(views);
  rows[0].replaceWith(heads);
  for (const row of rows.slice(1)) row.remove();
  $("networks").append(...layers);
  rows = [heads, ...layers];
  lessons?.attach(views);
}

// -- from the pad to the page ----------------------------------------------------------------------------------------

const answer = latest(async (since) => {
  if (!networks) return showNoNetworks();
  try {
    const digit = read();
    const { pixels, atEdge } = digit;
    const answers = pixels ? await Promise.all(networks.map((network) => network.read(pixels, atEdge))) : null;
    show(digit, answers, since);
  } catch (error) {
    stopped(error);
  }
});

pad.onchange = (since) => void answer(since);

const NOTHING: Found = { pixels: null, atEdge: false, reason: "" };

function read(): Found {
  if (pad.empty) return NOTHING;
  if (pad.picture) return pad.picture;
  const { data, height, width } = pad.grey();
  return found(() => ({ pixels: digitFromDrawing(data, height, width), atEdge: false }));
}

let shown: Found & { answers: Answer[] | null } = { ...NOTHING, answers: null };

function show({ pixels, atEdge, reason }: Found, answers: Answer[] | null, since: number): void {
  shown = { pixels, atEdge, reason, answers };
  const said = paint();
  lessons?.changed(answers);
  if (!numberMode()) document.body.dataset.state = pixels ? "digit" : "empty";
  performance.mark("answer");
  const detail: AnswerDetail = { pixels, atEdge, answers: {}, latency: performance.now() - since };
  networks!.forEach((network, i) => {
    if (answers) detail.answers[network.architecture] = { ...answers[i], ...said[i] };
  });
  document.dispatchEvent(new CustomEvent("answer", { detail }));
}

/** While they load and where they did not, which is said again after whatever else was said. */
function showNoNetworks(): void {
  const { loading, notLoaded, notLoadedBecause } = texts.said;
  showTools();
  for (const view of views) view.showNothing(palette, failed ? notLoaded : loading);
  if (!numberMode()) say(failed && notLoadedBecause(failed), failed !== "");
}

function paint(): Verdict[] {
  const { pixels, answers, reason } = shown;
  showTools();
  digit.draw(palette, pixels ?? new Uint8Array(784), 0, 255);
  if (!answers) {
    const { several, noDigit, severalHere, emptyPad } = texts.said;
    for (const view of views) view.showNothing(palette, reason === SEVERAL ? several : noDigit);
    const text = reason === SEVERAL ? severalHere : sentence(reason);
    say(text);
    announce(text || emptyPad);
    return [];
  }
  say("");
  const said = answers.map(({ probabilities }) => verdict(probabilities, Number(threshold.value) / 100));
  views.forEach((view, i) => view.show(answers[i], said[i], palette));
  const spoken = said.map((each) => (each.label === null ? reasonOf(each) : `${each.label}, ${reasonOf(each)}`));
  announce(views.map(({ title }, i) => `${title}: ${spoken[i]}`).join(". "));
  return said;
}

// -- words -----------------------------------------------------------------------------------------------------------

function say(text: string, alarm = false): void {
  const message = $("message");
  setText(message, text);
  message.classList.toggle("alarm", alarm);
}

/** Says so on the page, and leaves the error itself to the console. */
function stopped(error: unknown): never {
  say(texts.said.stopped(wordsOf(error)), true);
  throw error;
}

let announcing: ReturnType<typeof setTimeout> | undefined;

/** For screen readers, once the pen rests: not every movement is worth a sentence. */
function announce(text: string): void {
  clearTimeout(announcing);
  announcing = setTimeout(() => ($("announcement").textContent = text), 600);
}

function sayAtOnce(text: string): void {
  clearTimeout(announcing);
  $("announcement").textContent = text;
}

pad.onlift = (down) => sayAtOnce(down ? texts.said.penDown : texts.said.penUp);

// -- controls --------------------------------------------------------------------------------------------------------

/** The pad that is on the page. */
const desk = () => (numberMode() && numbers ? numbers.pad : pad);

function showTools(): void {
  $<HTMLButtonElement>("undo").disabled = !desk().canUndo;
  $<HTMLButtonElement>("clear").disabled = desk().empty;
  $("pad-hint").hidden = !pad.empty;
}

$("undo").addEventListener("click", () => desk().undo());
$("clear").addEventListener("click", () => desk().clear());
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z") {
    event.preventDefault();
    desk().undo();
  }
});

threshold.addEventListener("input", () => {
  showThreshold();
  if (networks) paint();
});

function showThreshold(): void {
  const text = `${threshold.value} %`;
  $("threshold-value").textContent = text;
  threshold.setAttribute("aria-valuetext", text);
}

const pen = $<HTMLInputElement>("pen");
pen.value = String(100 * PEN_WIDTH);
pen.addEventListener("input", setPen);

function setPen(): void {
  for (const each of [pad, numbers?.pad]) if (each) each.penWidth = Number(pen.value) / 100;
}

for (const { strokes } of samples) {
  const button = element("button", { type: "button" });
  const lines = strokes.map((stroke) => `M${stroke.map((point) => point.join(" ")).join("L")}`).join("");
  button.innerHTML = `<svg viewBox="0 0 1 1" aria-hidden="true"><path d="${lines}"/></svg>`;
  button.addEventListener("click", () => pad.write(strokes as Points[], reducedMotion.matches ? 0 : 500));
  $("samples").append(element("li", {}, button));
}

const reader = new PictureReader();
pad.onact = () => reader.stop(); // what is done last is what stands on the pad

async function load(file: Blob): Promise<void> {
  const slow = setTimeout(() => say(texts.said.reading), 300);
  try {
    if (numberMode() && numbers) {
      const picture = await reader.readLine(file);
      if (picture) numbers.pad.show(picture);
    } else {
      const picture = await reader.read(file);
      if (picture) pad.show(picture);
    }
  } catch (error) {
    if (!(error instanceof PictureError)) throw error;
    say(faultText(error.fault), true);
  } finally {
    clearTimeout(slow);
  }
}

const file = $<HTMLInputElement>("file");
$("choose").addEventListener("click", () => file.click());
file.addEventListener("change", () => {
  if (file.files?.[0]) void load(file.files[0]);
  file.value = ""; // the same file may be chosen again
});

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
for (const type of ["dragleave", "dragend", "drop"]) {
  document.addEventListener(type, () => document.body.classList.remove("dragging"));
}
document.addEventListener("drop", (event) => {
  event.preventDefault();
  const dropped = event.dataTransfer?.files[0];
  if (dropped) void load(dropped);
  else say(texts.said.onlyPictures, true);
});
document.addEventListener("paste", (event) => {
  const pasted = [...(event.clipboardData?.files ?? [])][0];
  if (pasted) void load(pasted);
});

// -- a digit or a number ---------------------------------------------------------------------------------------------

function numberMode(): boolean {
  return document.body.dataset.mode === "number";
}

for (const radio of document.querySelectorAll<HTMLInputElement>("input[name=mode]")) {
  radio.addEventListener("change", () => void enter(radio.value));
}

async function enter(mode: string): Promise<void> {
  reader.stop();
  say("");
  document.body.dataset.mode = mode;
  lessons?.hide();
  if (!numberMode()) return answer(performance.now());
  if (!numbers) {
    try {
      const { NumberDesk } = await import("./numbers");
      // Meanwhile it may have been left, and entered again. A pad that is not on the page has no size to write in.
      if (!numberMode() || numbers) return;
      numbers = new NumberDesk(() => palette, say, announce, stopped, showTools);
    } catch (error) {
      if (!numberMode()) return;
      document.querySelector<HTMLInputElement>("input[name=mode][value=digit]")!.checked = true;
      await enter("digit");
      return say(texts.said.notLoadedBecause(wordsOf(error)), true);
    }
    numbers.pad.setColours(palette.ink, palette.cursor);
    numbers.pad.onact = pad.onact;
    numbers.pad.onlift = pad.onlift;
    setPen();
  }
  await numbers.open();
}

// -- languages -------------------------------------------------------------------------------------------------------

const languages = $<HTMLSelectElement>("language");
for (const [code, { name }] of Object.entries(LANGUAGES)) languages.append(new Option(name, code));
languages.addEventListener("change", () => void choose(languages.value));

async function choose(code: string): Promise<void> {
  try {
    await translate(code);
    remember(code);
  } catch (error) {
    languages.value = language;
    say(texts.said.languageNotLoaded(wordsOf(error)), true);
  }
}

async function translate(code: string): Promise<void> {
  await speak(code);
  languages.value = language;
  [...$("samples").querySelectorAll("button")].forEach((button, i) =>
    button.setAttribute("aria-label", texts.said.sample(samples[i].label)),
  );
  build();
  if (networks) paint();
  else showNoNetworks();
  lessons?.repaint(palette);
  numbers?.paint();
}

// -- start -----------------------------------------------------------------------------------------------------------

function readColours(): void {
  palette = readPalette(document.documentElement);
  for (const each of [pad, numbers?.pad]) each?.setColours(palette.ink, palette.cursor);
  if (networks) paint();
  lessons?.repaint(palette);
  numbers?.paint();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readColours);
readColours();
showThreshold();
const loading = loadNetworks();
loading.catch(() => {}); // it is waited for below
await translate(wantedLanguage()).catch(() => translate("en"));
// The page opens with an answer, so that nobody has to guess what it does.
pad.write(samples[3].strokes as Points[], 0);

try {
  networks = await loading;
  await answer(performance.now());
} catch (error) {
  failed = wordsOf(error);
  showNoNetworks();
  document.body.dataset.state = "failed";
}

if (networks) {
  try {
    const { Lessons } = await import("./lessons");
    lessons = new Lessons(networks, () => ({ pixels: shown.pixels, palette }), sayAtOnce, stopped);
    lessons.attach(views);
    lessons.changed(shown.answers);
    document.body.dataset.lessons = "ready";
  } catch (error) {
    say(texts.said.lessonsNotLoaded(wordsOf(error)), true);
  }
}

// Without a network the page is there again, from the second time on.
if (import.meta.env.PROD && "serviceWorker" in navigator) {
  await navigator.serviceWorker.register("./service-worker.js").catch(() => {}); // not from here: then only with one
}
