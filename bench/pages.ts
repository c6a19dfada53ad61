/**
 * What the pages cost that people look at all day: the API's answers for a fleet of 2,000 devices and for a machine of 340
 * channels, over HTTP as a browser asks, and what a real Chromium does to show them.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Page } from 'playwright-core';
import { startApi } from '../backend/api/server.ts';
import { Feed } from '../backend/feed.ts';
import { connectDatabase } from '../database/connect.ts';
import type { Database } from '../database/connect.ts';
import { addUser } from '../database/users.ts';
import { createLog } from '../runtime/log.ts';
import { launch, logIn, openPageAt } from '../test/dashboard/browser.ts';
import { hashPassword } from '../web/password.ts';
import { figureLine, goalText, machineText, medianOf, quantileOf } from './figures.ts';
import { buildValues, fleetSize } from './queries-build.ts';
import { channelsOfMachine, endMs, machinePath, measuredChannels, startMs } from './telemetry.ts';

const usage = `usage: npm run bench -- pages [options]

  --values 3.4M   how many values the machines have (340,000 at least)
  --asks N        how often each question is asked (100)`;
const user = 'bench';
const password = 'nobody else is here';
const pauseMs = 10;
/** W3C Long Tasks: what takes longer is felt. */
const longTaskMs = 50;
const settleMs = 1500;

/** @param args - see `usage` */
export async function run(args: readonly string[]): Promise<void> {
  const { values: given } = parseArgs({
    args: [...args],
    options: { values: { type: 'string', default: '3.4M' }, asks: { type: 'string', default: '100' } },
  });
  const values = given.values.endsWith('M') ? Number(given.values.slice(0, -1)) * 1e6 : Number(given.values);
  const asks = Number(given.asks);
  if (!(values >= 340_000 && asks >= 1)) {
    console.error(usage);
    process.exitCode = 2;
    return;
  }
  console.log(machineText());
  const folder = mkdtempSync(path.join(tmpdir(), 'plombe-bench-pages-'));
  const database = await connectDatabase(`sqlite:${path.join(folder, 'plombe.db')}`);
  try {
    await onDatabase(database, await buildValues(database, values), asks);
  } finally {
    await database.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function onDatabase(database: Database, snapshots: number, asks: number): Promise<void> {
  const account = { name: user, role: 'operator', scope: '' } as const;
  await addUser(database, { ...account, passwordHash: await hashPassword(password) }, Date.now());
  const server = await startApi({ host: '127.0.0.1', port: 0 }, undefined, {
    database,
    clock: Date.now,
    log: createLog('bench', 'silent'),
    feed: new Feed(),
    commands: undefined,
  });
  try {
    const origin = `http://127.0.0.1:${server.port}`;
    await askAll(origin, snapshots, asks);
    await lookAll(origin);
  } finally {
    await server.close();
  }
}

async function askAll(origin: string, snapshots: number, asks: number): Promise<void> {
  const login = await fetch(`${origin}/api/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ user, password }),
  });
  const cookie = login.headers.getSetCookie()[0]?.split(';', 1)[0] ?? '';
  const question = async (name: string, url: string, goalMs?: number): Promise<void> => {
    const times: number[] = [];
    for (let index = -5; index < asks; index++) {
      await sleep(pauseMs);
      const startedMs = performance.now();
      const answer = await fetch(`${origin}${url}`, { headers: { cookie } });
      await answer.arrayBuffer();
      if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
      if (index >= 0) times.push(performance.now() - startedMs);
    }
    const p95 = quantileOf(times, 0.95);
    const figure = `p50 ${medianOf(times).toFixed(1)} ms  p95 ${p95.toFixed(1)} ms`;
    console.log(
      figureLine(name, figure, goalMs === undefined ? '' : goalText(p95 <= goalMs, `${goalMs} ms`)),
    );
  };
  const device = machinePath(0);
  const [channel = ''] = measuredChannels;
  const range = `fromMs=${startMs}&toMs=${endMs(snapshots)}`;
  console.log('\nover HTTP');
  await question(`fleet list of ${fleetSize} devices`, '/api/fleet', 20);
  await question(`a device of ${channelsOfMachine} channels`, `/api/device?path=${device}`);
  await question('its record, services and history', `/api/metadata?path=${device}`);
  await question(
    'a channel in 500 points',
    `/api/series?path=${device}&channel=${channel}&${range}&points=500`,
  );
}

async function lookAll(origin: string): Promise<void> {
  const browser = await launch();
  try {
    const { page } = await openPageAt(browser, origin);
    await page.evaluate(watchLongTasks);
    console.log('\nin Chromium: work of its main thread, and the longest piece of it');
    await look(page, 'fleet list, from the login on', async () => {
      await logIn(page, user, password);
      await page.locator('tbody tr').nth(50).waitFor();
    });
    await look(page, 'sorted by device', () =>
      page.getByRole('button', { name: 'Device', exact: true }).click(),
    );
    await look(page, 'searched, six letters', () => page.getByRole('searchbox').pressSequentially('acc-1/'));
    await look(page, `page of a device of ${channelsOfMachine} channels`, async () => {
      await page.goto(`${origin}/#/device/${machinePath(0)}`);
      await page.locator('.chart canvas').waitFor();
    });
    const chart = page.locator('.chart-card');
    await look(page, 'chart of another channel', () =>
      chart.locator('select').selectOption(measuredChannels[7] ?? ''),
    );
    await look(page, 'chart of a day', () => chart.getByRole('button', { name: '24 h' }).click());
  } finally {
    await browser.close();
  }
}

async function look(page: Page, name: string, act: () => Promise<unknown>): Promise<void> {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Performance.enable');
  const busySeconds = async (): Promise<number> => {
    const { metrics } = await devtools.send('Performance.getMetrics');
    const of = (wanted: string): number => metrics.find((metric) => metric.name === wanted)?.value ?? 0;
    return of('ScriptDuration') + of('LayoutDuration') + of('RecalcStyleDuration');
  };
  await page.evaluate(takeLongest);
  const before = await busySeconds();
  await act();
  await sleep(settleMs);
  const ms = ((await busySeconds()) - before) * 1000;
  const longest = await page.evaluate(takeLongest);
  const piece = longest === 0 ? `under ${longTaskMs}` : String(Math.round(longest));
  console.log(
    figureLine(
      name,
      `${ms.toFixed(0)} ms, longest ${piece} ms`,
      goalText(longest <= 2 * longTaskMs, `${2 * longTaskMs} ms`),
    ),
  );
}

declare global {
  interface Window {
    longestMs?: number;
  }
}

/** In the page. */
function watchLongTasks(): void {
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries())
      window.longestMs = Math.max(window.longestMs ?? 0, duration);
  }).observe({ type: 'longtask' });
}

/** In the page. @returns milliseconds; 0 if no task was a long one since it was asked last */
function takeLongest(): number {
  const longest = window.longestMs ?? 0;
  window.longestMs = 0;
  return longest;
}
