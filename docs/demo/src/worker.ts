// Reads pictures beside the page, so that a large one does not block it. In: Question. Out: ReaderAnswer.

import {
  PictureError,
  readLinePicture,
  readPicture,
  type Fault,
  type LinePicture,
  type Picture,
} from "./pictures/reading";

export interface Question {
  turn: number;
  file: Blob;
  /** A digit, or a number. */
  kind: "digit" | "number";
}

export interface ReaderAnswer {
  turn: number;
  picture?: Picture | LinePicture;
  /** What is wrong with the file. */
  fault?: Fault;
}

self.onmessage = async ({ data: { turn, file, kind } }: MessageEvent<Question>) => {
  const answer: ReaderAnswer = { turn };
  try {
    answer.picture = await (kind === "digit" ? readPicture(file) : readLinePicture(file));
  } catch (error) {
    // Out of memory, for one.
    answer.fault = error instanceof PictureError ? error.fault : { kind: "unreadable", why: String(error) };
  }
  self.postMessage(answer, { transfer: answer.picture ? [answer.picture.bitmap] : [] });
};
