/** How far a bench is: a bar on stderr. */
import { wholeText } from './figures.ts';
import { channelsOfMachine } from './telemetry.ts';

const barWidth = 30;
const showEveryMs = 500;

export class Progress {
  readonly #total: number;
  readonly #channels: number;
  readonly #startedMs = performance.now();
  #done = 0;
  #shownMs = 0;

  /**
   * @param total - of snapshots
   * @param channels - values of one
   */
  constructor(total: number, channels = channelsOfMachine) {
    this.#total = total;
    this.#channels = channels;
  }

  add(snapshots: number): void {
    this.#done += snapshots;
    if (performance.now() - this.#shownMs < showEveryMs) return;
    this.#shownMs = performance.now();
    this.#show('  ');
  }

  end(): void {
    this.#show('\n');
  }

  #show(end: string): void {
    const seconds = (performance.now() - this.#startedMs) / 1000;
    const rate = wholeText((this.#done * this.#channels) / seconds);
    const filled = Math.round((barWidth * this.#done) / this.#total);
    const bar = `${'#'.repeat(filled)}${'.'.repeat(barWidth - filled)}`;
    const percent = Math.floor((100 * this.#done) / this.#total);
    process.stderr.write(`\r  [${bar}] ${percent} %  ${seconds.toFixed(0)} s  ${rate} values/s${end}`);
  }
}
