// The page's side of the worker that reads pictures.

import { PictureError, type LinePicture, type Picture } from "./pictures/reading";
import type { Question, ReaderAnswer } from "./worker";

/** Reads one picture at a time: a newer one takes the place of one that is not read yet. */
export class PictureReader {
  private worker: Worker | null = null; // the first picture brings it
  private turn = 0;
  private settle: (answer: ReaderAnswer) => void = () => {};

  private start(): Worker {
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }: MessageEvent<ReaderAnswer>) => {
      if (data.turn === this.turn) this.settle(data);
    };
    worker.onerror = () => {
      worker.terminate();
      this.worker = null; // it would never answer; the next picture brings another
      this.settle({ turn: this.turn, fault: { kind: "noReader" } });
    };
    return worker;
  }

  /** The picture of a digit, or null if a picture was asked for or `stop` called since. Throws PictureError. */
  async read(file: Blob): Promise<Picture | null> {
    return (await this.ask(file, "digit")) as Picture | null;
  }

  /** The same of a number. */
  async readLine(file: Blob): Promise<LinePicture | null> {
    return (await this.ask(file, "number")) as LinePicture | null;
  }

  private async ask(file: Blob, kind: Question["kind"]): Promise<Picture | LinePicture | null> {
    this.stop();
    const answer = await new Promise<ReaderAnswer>((resolve) => {
      this.settle = resolve;
      this.worker ??= this.start();
      this.worker.postMessage({ turn: this.turn, file, kind } satisfies Question);
    });
    if (answer.fault) throw new PictureError(answer.fault);
    return answer.picture ?? null;
  }

  /** Drops the picture that is not read yet. */
  stop(): void {
    this.settle({ turn: this.turn });
    this.turn += 1;
  }
}
