// Reads pictures beside the page, so that a large one does not block it. In: { turn, file }. Out: ReaderAnswer.

import { PictureError, readPicture, type Fault, type Picture } from "./pictures/reading";

export interface ReaderAnswer {
  turn: number;
  picture?: Picture;
  /** What is wrong with the file. */
  fault?: Fault;
}

self.onmessage = async ({ data: { turn, file } }: MessageEvent<{ turn: number; file: Blob }>) => {
  const answer: ReaderAnswer = { turn };
  try {
    answer.picture = await readPicture(file);
  } catch (error) {
    // Out of memory, for one.
    answer.fault = error instanceof PictureError ? error.fault : { kind: "unreadable", why: String(error) };
  }
  self.postMessage(answer, { transfer: answer.picture ? [answer.picture.bitmap] : [] });
};
