/** Runs `run` for what changed last: any number of changes while it runs make one more run. */
export function latest(run: (since: number) => Promise<void>): (since: number) => Promise<void> {
  let pending: number | null = null;
  let busy = false;
  return async (since) => {
    pending = since;
    if (busy) return;
    busy = true;
    document.body.dataset.busy = ""; // for whoever waits for the last answer
    try {
      while (pending !== null) {
        const cause = pending;
        pending = null;
        await run(cause);
      }
    } finally {
      busy = false;
      delete document.body.dataset.busy;
    }
  };
}
