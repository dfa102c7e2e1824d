// Reads pictures beside the page, so that a large one does not block it. In: { turn, file }. Out: ReaderAnswer.

import { PictureError, readPicture, type Picture } from "./pictures/reading";

export interface ReaderAnswer {
  turn: number;
  picture?: Picture;
  /** What is wrong with the file, for the reader of the page. */
  error?: string;
}

self.onmessage = async ({ data: { turn, file } }: MessageEvent<{ turn: number; file: Blob }>) => {
  const answer: ReaderAnswer = { turn };
  try {
    answer.picture = await readPicture(file);
  } catch (error) {
    // Out of memory, for one.
    answer.error = error instanceof PictureError ? error.message : `The picture cannot be read: ${error}`;
  }
  self.postMessage(answer, { transfer: answer.picture ? [answer.picture.bitmap] : [] });
};
