/** Waiting that can be told to stop. */

/** @returns whether the time has passed; false as soon as the waiter was told to stop */
export type Wait = (delayMs: number) => Promise<boolean>;

/** The longest that one timer can take; a longer wait is several. */
const timerMsMax = 2 ** 31 - 1;

export function createWait(signal: AbortSignal): Wait {
  return async (delayMs) => {
    let leftMs = delayMs;
    do {
      await timer(Math.min(Math.max(0, leftMs), timerMsMax), signal);
      leftMs -= timerMsMax;
    } while (leftMs > 0 && !signal.aborted);
    return !signal.aborted;
  };
}

function timer(delayMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(handle);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const handle = setTimeout(done, delayMs);
    signal.addEventListener('abort', done, { once: true });
  });
}
