/** Files for the tests of collectors, in a folder that goes when the test ends. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import type { Collected, Collector, Rejection, Sample } from '../../../device-agent/collector/collector.ts';

export function temporaryFolder(context: TestContext): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'plombe-agent-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function temporaryFile(context: TestContext, content: string | Uint8Array): string {
  const file = path.join(temporaryFolder(context), 'source');
  writeFileSync(file, content);
  return file;
}

export async function gathered<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

export function collected(collector: Collector): Promise<Collected[]> {
  return gathered(collector);
}

export function samplesOf(items: readonly Collected[]): Sample[] {
  return items.filter((item) => item.kind === 'sample');
}

export function rejectionsOf(items: readonly Collected[]): Rejection[] {
  return items.filter((item) => item.kind === 'rejected');
}

/** `text` in pieces of at most `length` characters. */
export async function* inPieces(text: string, length: number): AsyncGenerator<string> {
  for (let at = 0; at < text.length; at += length) yield text.slice(at, at + length);
}
