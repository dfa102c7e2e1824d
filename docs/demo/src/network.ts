// The two networks: ONNX files with the input `pixels` (uint8, batch × 1 × 28 × 28) and, beside `logits`, the state of
// each layer and its weights as outputs.

import { env, InferenceSession, Tensor } from "onnxruntime-web/wasm";
import wasmUrl from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";

import classicUrl from "../models/lenet5_classic.onnx?url";
import modernUrl from "../models/lenet5_modern.onnx?url";
import descriptions from "./networks.json";
import type { Grid } from "./pictures/kernels";
import { texts } from "./texts";

export const LAYERS = ["C1", "S2", "C3", "S4", "C5", "F6"] as const;
export type LayerName = (typeof LAYERS)[number];

export interface Layer {
  name: string;
  kind: string;
  /** Shape for one picture: [maps, height, width], or [units]. */
  output: number[];
  parameters: number;
}

export interface Description {
  /** architecture.tag */
  name: string;
  parameters: number;
  layers: Layer[];
  /** Of MNIST's test digits, how many it reads right, and of how many. */
  correct: number;
  total: number;
  /** The classic's targets for F6: per class 84 characters 0 and 1, row by row, 7 wide. */
  bitmaps?: string[];
  confidence: Confidence;
  /** In how many places a picture is read; the answer is by the mean of the logits. */
  looks: number;
}

/** As in lenet_zoo.cards: what logits are divided by, and the penalty of the rubbish class, if there is one. */
export interface Confidence {
  temperature: number;
  j?: number;
  /** The temperature where a picture's edge cuts ink off, if that is another one. */
  edge_temperature?: number;
}

/** A layer's weights, row by row: maps × maps before × height × width, or units × units before. */
export interface Kernels {
  data: Float32Array;
  dims: readonly number[];
}

export interface Answer {
  /** Of the picture as it stands, like the states of the layers. */
  logits: Float32Array;
  probabilities: Float32Array;
  layers: Record<LayerName, Float32Array>;
}

const files: Record<string, string> = { lenet5_classic: classicUrl, lenet5_modern: modernUrl };

export class Network {
  readonly architecture: string;

  private constructor(
    readonly description: Description,
    private readonly session: InferenceSession,
  ) {
    this.architecture = architectureOf(description);
  }

  static async load(description: Description): Promise<Network> {
    return new Network(description, await loadSession(files[architectureOf(description)]));
  }

  /** 784 pixels, 0 background, 255 ink → the answer. `atEdge`: the picture's edge cuts ink off. */
  async read(pixels: Uint8Array, atEdge: boolean): Promise<Answer> {
    const { confidence, looks } = this.description;
    const result = await this.run(looksAt(pixels, looks), looks, ["logits", ...LAYERS]);
    const first = (name: string) => {
      const values = result[name].data as Float32Array;
      return values.slice(0, values.length / looks);
    };
    const layers = Object.fromEntries(LAYERS.map((name) => [name, first(name)])) as Answer["layers"];
    const mean = meanOf(result.logits.data as Float32Array, looks);
    return { logits: first("logits"), probabilities: probabilitiesOf(mean, confidence, atEdge), layers };
  }

  /** Pictures, one after the other → the mean logits of their looks and their probabilities, one after the other. */
  async readMany(pixels: Uint8Array, count: number): Promise<{ logits: Float32Array; probabilities: Float32Array }> {
    const { confidence, looks } = this.description;
    const [size, all] = [pixels.length / count, new Uint8Array(looks * pixels.length)];
    for (let at = 0; at < pixels.length; at += size)
      all.set(looksAt(pixels.subarray(at, at + size), looks), looks * at);
    const data = (await this.run(all, looks * count, ["logits"])).logits.data as Float32Array;
    const [logits, probabilities] = [new Float32Array(data.length / looks), new Float32Array(data.length / looks)];
    const classes = logits.length / count;
    for (let at = 0; at < logits.length; at += classes) {
      const mean = meanOf(data.subarray(looks * at, looks * (at + classes)), looks);
      logits.set(mean, at);
      probabilities.set(probabilitiesOf(mean, confidence, false), at);
    }
    return { logits, probabilities };
  }

  /** By layer, of those that have any. */
  async kernels(): Promise<Partial<Record<LayerName, Kernels>>> {
    const names = this.session.outputNames.filter((name) => name.endsWith(".weight"));
    const result = await this.run(new Uint8Array(784), 1, names);
    return Object.fromEntries(
      names.map((name) => [name.split(".")[0], { data: result[name].data as Float32Array, dims: result[name].dims }]),
    );
  }

  private run(pixels: Uint8Array, count: number, outputs: string[]): ReturnType<InferenceSession["run"]> {
    return this.session.run({ pixels: pixelsOf(pixels, [count, 1, 28, 28]) }, outputs);
  }
}

const SIDE = 28;
/** Of the looks, the first where the picture stands: rows lower and columns further right. */
const PLACES = [
  [0, 0],
  [-1, 0],
  [1, 0],
  [0, -1],
  [0, 1],
];

/** The same picture so many rows lower and columns further right, over background. */
export function moved({ data, width, height }: Grid, down: number, right: number): Grid {
  const found = new Uint8Array(data.length);
  for (let y = Math.max(0, down); y < height + Math.min(0, down); y++)
    for (let x = Math.max(0, right); x < width + Math.min(0, right); x++)
      found[y * width + x] = data[(y - down) * width + x - right];
  return { data: found, height, width };
}

/** As lenet_zoo.classify.looks: the picture where it stands and, for five looks, a pixel to each side. */
export function looksAt(pixels: Uint8Array, looks: number): Uint8Array {
  const found = new Uint8Array(looks * pixels.length);
  const picture = { data: pixels, height: SIDE, width: SIDE };
  PLACES.slice(0, looks).forEach(([down, right], k) => {
    found.set(moved(picture, down, right).data, k * pixels.length);
  });
  return found;
}

/** The mean of a picture's logits over its looks, which are one after the other. */
function meanOf(logits: Float32Array, looks: number): Float32Array {
  const classes = logits.length / looks;
  return logits.slice(0, classes).map((_, i) => {
    let total = 0;
    for (let k = i; k < logits.length; k += classes) total += logits[k];
    return total / looks;
  });
}

/** As lenet_zoo.classify.confidence.probabilities. */
export function probabilitiesOf(logits: Float32Array, confidence: Confidence, atEdge: boolean): Float32Array {
  const { j, edge_temperature } = confidence;
  const temperature = (atEdge && edge_temperature) || confidence.temperature;
  const rubbish = j === undefined ? -Infinity : -j / temperature;
  const cooled = logits.map((logit) => logit / temperature);
  const top = Math.max(rubbish, ...cooled);
  const odds = cooled.map((logit) => Math.exp(logit - top));
  const total = odds.reduce((sum, each) => sum + each, Math.exp(rubbish - top));
  return odds.map((each) => each / total);
}

export const networks: Description[] = descriptions;

export function architectureOf(description: Description): string {
  return description.name.split(".")[0];
}

export function pixelsOf(
  pixels: Uint8Array,
  shape: [count: number, channels: 1, height: number, width: number],
): Tensor {
  return new Tensor("uint8", pixels, shape);
}

// A module with one function of 128-bit vectors (i8x16.splat, i8x16.popcnt): valid only for browsers that have them.
const SIMD = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
]);

export async function loadSession(url: string): Promise<InferenceSession> {
  const able = "WebAssembly" in globalThis && WebAssembly.validate(SIMD) && "DecompressionStream" in globalThis;
  if (!able) throw new Error(texts.said.oldBrowser);
  // One thread: networks of 0.4 million multiplications each gain nothing from more, and threads would need cross-origin
  // isolation, which is a server's setting.
  env.wasm.numThreads = 1;
  env.wasm.wasmPaths = { wasm: wasmUrl };
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${response.url}: ${response.status} ${response.statusText}`);
  let file = new Uint8Array(await response.arrayBuffer());
  if (file[0] === 0x1f && file[1] === 0x8b) {
    // As the build stores it (vite.config.ts).
    const plain = new Blob([file]).stream().pipeThrough(new DecompressionStream("gzip"));
    file = new Uint8Array(await new Response(plain).arrayBuffer());
  }
  return InferenceSession.create(file, { executionProviders: ["wasm"] });
}

export function loadNetworks(): Promise<Network[]> {
  return Promise.all(networks.map((description) => Network.load(description)));
}
