/** Another process of a bench: when it listens, and what it has taken of the machine (proc(5)). */
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isListening } from '../scripts/listening.ts';

const startTimeoutMs = 20_000;
const ticksPerSecond = 100; // USER_HZ of Linux

/** Kills it if it does not in time. */
export async function untilListening(port: number, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + startTimeoutMs;
  while (Date.now() < deadline && child.exitCode === null) {
    if (await isListening(port)) return;
    await sleep(20);
  }
  child.kill('SIGKILL');
  throw new Error(`nobody listens on port ${port}`);
}

/** @returns CPU seconds of user and system since its start */
export function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** @returns bytes that are in memory now */
export function memoryBytesOf(pid: number): number {
  return statusBytes(pid, 'VmRSS');
}

/** @returns the most bytes that ever were in memory */
export function peakMemoryBytesOf(pid: number): number {
  return statusBytes(pid, 'VmHWM');
}

function statusBytes(pid: number, name: string): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const line = status.split('\n').find((text) => text.startsWith(`${name}:`));
  return Number(/(\d+) kB/.exec(line ?? '')?.[1]) * 1024;
}
