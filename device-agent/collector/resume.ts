/** Going on in a file where the agent stopped, so that no row of it is taken twice. */
import type { Collector } from './collector.ts';

/** @returns whether the line of that machine is in the outbox, or was */
export type IsTaken = (device: string | undefined, line: number) => boolean;

/** Leaves out what has been taken before. */
export async function* skipTaken(collector: Collector, isTaken: IsTaken): Collector {
  for await (const item of collector) {
    if (item.kind === 'sample' && item.line !== undefined && isTaken(item.device, item.line)) continue;
    yield item;
  }
}
