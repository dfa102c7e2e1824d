import { PixelCanvas, readPalette } from "./colours";
import { loadNetworks, networks as descriptions, type Answer, type Network } from "./network";
import { Pad, RASTER } from "./pad";
import { digitFromDrawing } from "./pictures/character";
import { PictureError } from "./pictures/reading";
import { found, SEVERAL, type Found } from "./pictures/refusals";
import { PictureReader } from "./reader";
import samples from "./samples.json";
import { reasonOf, verdict, type Verdict } from "./verdict";
import { NetworkView, networkTable } from "./view";

/** What the event `answer` on the document carries, for tests and for the curious: exact pixels and exact logits. */
export interface AnswerDetail {
  /** 28 × 28, or null where there is no digit. */
  pixels: Uint8Array | null;
  answers: Record<string, Answer & Verdict>;
  /** From the event that caused it until the answer stood on the page, in ms. */
  latency: number;
}

const $ = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;

const pad = new Pad($<HTMLCanvasElement>("pad"));
const views = descriptions.map((description) => new NetworkView(description));
const digit = new PixelCanvas($<HTMLCanvasElement>("digit"), 28, 28);
const threshold = $<HTMLInputElement>("threshold");
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
let palette = readPalette(document.documentElement);
let networks: Network[] | null = null;

const [heads, ...layers] = networkTable(views);
$("heads").replaceWith(heads);
$("networks").append(...layers);

// -- from the pad to the page ----------------------------------------------------------------------------------------

let pending: number | null = null;
let busy = false;

pad.onchange = (since) => {
  pending = since;
  void answer();
};

/** Reads the pad; while that runs, any number of further changes make one more reading. */
async function answer(): Promise<void> {
  if (busy || !networks) return;
  busy = true;
  document.body.dataset.busy = ""; // for whoever waits for the last answer
  try {
    while (pending !== null) {
      const since = pending;
      pending = null;
      const digit = read();
      const { pixels } = digit;
      const answers = pixels ? await Promise.all(networks.map((network) => network.read(pixels))) : null;
      show(digit, answers, since);
    }
  } catch (error) {
    say(`The networks stopped: ${error instanceof Error ? error.message : error}`, true);
    throw error;
  } finally {
    busy = false;
    delete document.body.dataset.busy;
  }
}

function read(): Found {
  if (pad.empty) return { pixels: null, reason: "" };
  return pad.picture ?? found(() => digitFromDrawing(pad.grey(), RASTER, RASTER));
}

let shown: Found & { answers: Answer[] | null } = { pixels: null, reason: "", answers: null };

function show({ pixels, reason }: Found, answers: Answer[] | null, since: number): void {
  shown = { pixels, reason, answers };
  const said = paint();
  document.body.dataset.state = pixels ? "digit" : "empty";
  performance.mark("answer");
  const detail: AnswerDetail = { pixels, answers: {}, latency: performance.now() - since };
  networks!.forEach((network, i) => {
    if (answers) detail.answers[network.architecture] = { ...answers[i], ...said[i] };
  });
  document.dispatchEvent(new CustomEvent("answer", { detail }));
}

function paint(): Verdict[] {
  const { pixels, answers, reason } = shown;
  $<HTMLButtonElement>("undo").disabled = !pad.canUndo;
  $<HTMLButtonElement>("clear").disabled = pad.empty;
  $("pad-hint").hidden = !pad.empty;
  digit.draw(palette, pixels ?? new Uint8Array(784), 0, 255);
  if (!answers) {
    for (const view of views) view.showNothing(palette, reason === SEVERAL ? "several digits" : "no digit");
    const text = reason === SEVERAL ? "Several digits: the networks read one at a time." : sentence(reason);
    say(text);
    announce(text || "No digit: the pad is empty.");
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

function sentence(reason: string): string {
  return reason && `${reason[0].toUpperCase()}${reason.slice(1)}.`;
}

function say(text: string, alarm = false): void {
  const message = $("message");
  if (message.textContent !== text) message.textContent = text;
  message.classList.toggle("alarm", alarm);
}

let announcing: ReturnType<typeof setTimeout> | undefined;

/** For screen readers, once the pen rests: not every movement is worth a sentence. */
function announce(text: string): void {
  clearTimeout(announcing);
  announcing = setTimeout(() => ($("announcement").textContent = text), 600);
}

pad.onsay = (text) => ($("announcement").textContent = text);

// -- controls --------------------------------------------------------------------------------------------------------

$("undo").addEventListener("click", () => pad.undo());
$("clear").addEventListener("click", () => pad.clear());
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z") {
    event.preventDefault();
    pad.undo();
  }
});

threshold.addEventListener("input", () => {
  showThreshold();
  if (networks) paint();
});

function showThreshold(): void {
  const text = `${threshold.value} %`;
  $("threshold-value").textContent = text;
}

type Strokes = [number, number][][];

for (const { label, strokes } of samples) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-label", `Sample: ${label}`);
  const lines = strokes.map((stroke) => `M${stroke.map((point) => point.join(" ")).join("L")}`).join("");
  button.innerHTML = `<svg viewBox="0 0 1 1" aria-hidden="true"><path d="${lines}"/></svg>`;
  button.addEventListener("click", () => pad.write(strokes as Strokes, reducedMotion.matches ? 0 : 500));
  const item = document.createElement("li");
  item.append(button);
  $("samples").append(item);
}

const reader = new PictureReader();
pad.onact = () => reader.stop(); // what is done last is what stands on the pad

async function load(file: Blob): Promise<void> {
  const slow = setTimeout(() => say("Reading the picture…"), 300);
  try {
    const picture = await reader.read(file);
    if (picture) pad.show(picture);
  } catch (error) {
    if (!(error instanceof PictureError)) throw error;
    say(error.message, true);
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
  else say("Only picture files can be dropped here.", true);
});
document.addEventListener("paste", (event) => {
  const pasted = [...(event.clipboardData?.files ?? [])][0];
  if (pasted) void load(pasted);
});

// -- start -----------------------------------------------------------------------------------------------------------

function readColours(): void {
  palette = readPalette(document.documentElement);
  pad.setColours(palette.ink, palette.cursor);
  if (networks) paint();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readColours);
readColours();
showThreshold();
for (const view of views) view.showNothing(palette, "loading…");
// The page opens with an answer, so that nobody has to guess what it does.
pad.write(samples[3].strokes as Strokes, 0);

try {
  networks = await loadNetworks();
  await answer();
} catch (error) {
  say(`The networks could not be loaded: ${error instanceof Error ? error.message : error}`, true);
  for (const view of views) view.showNothing(palette, "not loaded");
  document.body.dataset.state = "failed";
}
