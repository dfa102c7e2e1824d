// The page's side of the worker that reads pictures.

import { PictureError, type Picture } from "./pictures/reading";
import type { ReaderAnswer } from "./worker";

/** Reads one picture at a time: a newer one takes the place of one that is not read yet. */
export class PictureReader {
  private readonly worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  private turn = 0;
  private settle: (answer: ReaderAnswer) => void = () => {};

  constructor() {
    this.worker.onmessage = ({ data }: MessageEvent<ReaderAnswer>) => {
      if (data.turn === this.turn) this.settle(data);
    };
    this.worker.onerror = () =>
      this.settle({ turn: this.turn, error: "The part of the page that reads pictures did not load." });
  }

  /** The picture, or null if `read` or `stop` was called since. Throws PictureError. */
  async read(file: Blob): Promise<Picture | null> {
    this.stop();
    const answer = await new Promise<ReaderAnswer>((resolve) => {
      this.settle = resolve;
      this.worker.postMessage({ turn: this.turn, file });
    });
    if (answer.error !== undefined) throw new PictureError(answer.error);
    return answer.picture ?? null;
  }

  /** Drops the picture that is not read yet. */
  stop(): void {
    this.settle({ turn: this.turn });
    this.turn += 1;
  }
}
