// Every text of the page in English. A text may hold markup where the page puts it in as such (`Page`).

/** What stands in index.html as data-text="…" or, for what only screen readers say, as data-label="…" or data-role="…". */
const page = {
  title: "LeNet-5 in the browser",
  lede: "Draw a digit. Two networks read it while you draw: LeNet-5 as printed in 1998, and its modern form. Both run here, in your browser.",
  language: "Language",
  manual: "Manual",
  why: "Why LeNet-5 looks like this",
  mode: "What to read",
  digitMode: "A digit",
  numberMode: "A number",
  drawing: "Drawing",
  padRole: "drawing pad",
  padLabel: "Draw a digit here",
  padHint: "Draw a digit here<br />or drop a picture",
  padHelp:
    "Mouse, pen or finger. A picture can be dropped or pasted anywhere on the page. With the keyboard, in the pad: arrow keys move the pen, space puts it down and lifts it.",
  undo: "Undo",
  clear: "Clear",
  choose: "Picture…",
  fileLabel: "Picture of a digit or a number",
  pen: "Pen",
  samples: "Handwritten samples",
  networks: "The networks",
  answerFrom: "Least probability of an answer",
  thresholdHelp: "A network that is less sure of its best class gives no answer.",
  input: "Input <small>28 × 28 pixels</small>",
  inputLabel: "The 28 × 28 pixels that the networks see",
  inputText:
    'What both networks see: the ink scaled into a box of 20&nbsp;×&nbsp;20 and centred by its mass, as MNIST’s digits are. In the layers below, <b class="positive">ink</b> is positive and <b class="negative">blue</b> negative.',
  changes: "What would change the answer",
  changesText:
    'By occlusion: each square of 5 × 5 pixels is erased in turn. <b class="positive">Ink</b>: without it the second best class comes nearer; at its strongest, the answer changes. <b class="negative">Blue</b>: without it the answer is surer. It shows what an answer rests on in this picture, not how the network comes to it.',
  units: "Point at a unit below, tap it, or go to it with the keyboard: its kernel and its part of the input appear.",
  numberLede:
    "Write a number. One network goes over the whole line and answers every two pixels: the paper’s space displacement network.",
  linePadLabel: "Write a number here",
  linePadHint: "Write a number here, or drop a picture of one",
  lineText:
    "Each column is one answer of the network, to the 28 pixels around it; the stronger the ink, the more probable. Repeated answers count once and “none” (–) counts nothing: so the row above becomes the number, as in Fig. 25 of the paper.",
  line: "The line as the network sees it <small>28 pixels high; under it the eleven outputs along it</small>",
  paper:
    "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, <cite>Gradient-Based Learning Applied to Document Recognition</cite>, Proc. IEEE 86(11), 1998.",
  sources:
    "Samples traced from <cite>Optical Recognition of Handwritten Digits</cite>, E. Alpaydin and C. Kaynak, UCI, CC BY 4.0. The networks are ONNX files, run by onnxruntime-web; no picture leaves this page.",
};

/** What the page says in answer to something. */
const said = {
  fromDisk:
    "Browsers do not run this page from a file. Serve its folder, for instance by “python -m http.server” in it, and open http://localhost:8000.",
  loading: "loading…",
  notLoaded: "not loaded",
  notLoadedBecause: (why: string) => `The networks could not be loaded: ${why}`,
  oldBrowser:
    "this browser has no WebAssembly with SIMD, or it is switched off; Chrome and Edge from 91, Firefox from 113 and " +
    "Safari from 16.4 have it.",
  languageNotLoaded: (why: string) => `The language could not be loaded: ${why}`,
  lessonsNotLoaded: (why: string) => `What explains the layers could not be loaded: ${why}`,
  stopped: (why: string) => `The networks stopped: ${why}`,
  noDigit: "no digit",
  several: "several digits",
  severalHere: "Several digits: the networks read one at a time.",
  emptyPad: "No digit: the pad is empty.",
  noneOfThese: (share: string) => `none of these: ${share}`,
  notSure: (best: number, share: string) => `not sure: ${best} at ${share}`,
  penDown: "pen down",
  penUp: "pen up",
  sample: (label: number) => `Sample: ${label}`,
  reading: "Reading the picture…",
  onlyPictures: "Only picture files can be dropped here.",
  notAPicture: (name: string) => `${name} is not a picture that this browser can read. PNG, JPEG, WebP and GIF are.`,
  that: "That",
  quoted: (name: string) => `“${name}”`,
  tooLarge: (width: number, height: number) => `The picture has ${width} × ${height} pixels: 64 million are the most.`,
  unreadable: (why: string) => `The picture cannot be read: ${why}`,
  noReader: "The part of the page that reads pictures did not load.",
};

const networks = {
  classic: "1998",
  modern: "modern",
  parameters: (count: string) => `${count} parameters`,
  facts: (parameters: string, accuracy: string) => `${parameters} parameters · ${accuracy} % on MNIST`,
  probabilities: (network: string) => `Probabilities, ${network}`,
  maps: (count: number, height: number, width: number) => `${count} maps of ${height} × ${width}`,
  units: (count: number) => `${count} units`,
  bitmap: "F6: the state of its 84 units as a bitmap, 7 × 12",
  bitmapDistances: "Distance of F6 from each digit’s bitmap",
  nearest: "the nearest bitmap wins",
  noChange: "No single square changes the answer.",
  change: (label: string) => `Without the marked square: ${label}.`,
  none: "none of these",
  changesLabel: (network: string) => `${network}: which squares the answer rests on`,
  /** Kinds of layers, as src/networks.json names them, in this language; those left out stay as they are. */
  kinds: {} as Record<string, string>,
  layers: {
    C1: "Each of six kernels looks for one small pattern, an edge or a stroke’s end, in the same way everywhere.",
    S2: "Each map becomes half as high and wide: what was found stays, where exactly matters less.",
    C3: "Sixteen kernels join what several maps of S2 found to larger shapes: corners, arcs, crossings.",
    S4: "Halved again: a shape may now lie a few pixels to any side.",
    C5: "Each unit sees the whole picture at once, by a kernel as large as the maps of S4.",
    F6: "84 units, each joined to all of C5. In 1998 they draw a bitmap of the digit; today they are what the last layer tells classes by.",
  } as Record<string, string>,
};

const unit = {
  place: (layer: string, map: number, row: number, column: number) =>
    `${layer}, map ${map}, row ${row}, column ${column}`,
  flat: (layer: string, unit: number) => `${layer}, unit ${unit}`,
  value: (value: string) => `value ${value}`,
  sees: (height: number, width: number) => `sees ${height} × ${width} pixels of the input`,
  seesAll: "sees the whole input",
  convolution: (before: string) => `Its kernel, over ${before}:`,
  mean: (before: string, weight: string) => `The mean of 2 × 2 units of ${before}, times ${weight}, and a bias.`,
  maximum: (before: string) => `The largest of 2 × 2 units of ${before}.`,
  input: "the input",
  maps: (layer: string) => `the maps of ${layer}`,
  unitsOf: (layer: string) => `the units of ${layer}`,
  choose: "Arrow keys choose a unit.",
};

const numbers = {
  answer: "Number",
  none: "–",
  loading: "loading…",
  empty: "The pad is empty.",
  unlikely: (text: string, share: string) => `No number: as ${text} it has a probability of only ${share} per digit.`,
  sure: (share: string) => `with probability ${share}`,
  stripLabel: "The line, 28 pixels high",
  outputsLabel: "The eleven outputs along the line",
  best: "The best answer at each place",
  facts: (parameters: string) => `${parameters} parameters`,
};

/** Why a picture has no digit or number: the words of lenet_zoo, which are English. Those left out stay as they are. */
const reasons: Record<string, string> = {};

export const en = { name: "English", page, said, networks, unit, numbers, reasons };
