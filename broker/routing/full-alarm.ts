/** Whether a queue cannot take more: an alarm that begins when something does not fit, and ends when there is room again. */

export interface Filling {
  readonly messages: number;
  readonly bytes: number;
}

/** Not at the first message that fits again, or every one would be an end and a beginning. */
const roomAgain = 0.9;

export class FullAlarm {
  readonly #onChange: (isFull: boolean) => void;
  #isRaised = false;

  /** @param onChange - something did not fit; and once more when there is room again */
  constructor(onChange: (isFull: boolean) => void) {
    this.#onChange = onChange;
  }

  raise(): void {
    if (this.#isRaised) return;
    this.#isRaised = true;
    this.#onChange(true);
  }

  /** The queue has become shorter. @returns whether the alarm is over by that */
  lower({ messages, bytes }: Filling, most: () => Filling): boolean {
    if (!this.#isRaised) return false;
    const bounds = most();
    if (messages > bounds.messages * roomAgain || bytes > bounds.bytes * roomAgain) return false;
    this.#isRaised = false;
    this.#onChange(false);
    return true;
  }
}
