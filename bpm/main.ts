/** bpm: judges snapshots, runs the workflows that a changed condition starts, and tells people. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Clock } from '../domain/clock.ts';
import { systemClock } from '../domain/clock.ts';
import { loadConfig } from '../runtime/config.ts';
import type { Log } from '../runtime/log.ts';
import { createLog } from '../runtime/log.ts';
import type { Metrics } from '../runtime/observe.ts';
import { createMetrics, startObservation } from '../runtime/observe.ts';
import { runUntilSignal } from '../runtime/shutdown.ts';
import { createWait } from '../runtime/wait.ts';
import type { Database } from '../database/connect.ts';
import { connectDatabase } from '../database/connect.ts';
import { isUnavailable } from '../database/errors.ts';
import { migrate } from '../database/migrate.ts';
import { saveRules } from '../database/processes.ts';
import { countUnjudged } from '../database/processes-backlog.ts';
import { errorText } from '../domain/error-text.ts';
import type { BpmConfig } from './config.ts';
import { bpmConfigSchema } from './config.ts';
import { loadDefinitions } from './definitions.ts';
import type { NotificationOutcome, Transport } from './notification.ts';
import { createHttpTransport, createMailTransport, sendDue } from './notification.ts';
import type { RowContext } from './rows.ts';
import { loadRules } from './rules.ts';
import { continueReady } from './tasks.ts';
import { createTimeOrderedIds } from './time-ordered-id.ts';
import type { WatchResult } from './watcher.ts';
import { batchMax, createWatcher, watchCursor } from './watcher.ts';

export interface BpmDependencies {
  readonly log: Log;
  readonly clock?: Clock;
  readonly random?: () => number;
  readonly newId?: () => string;
}

export interface RunningBpm {
  /** Undefined without `observe`. */
  readonly observePort: number | undefined;
  stop(): Promise<void>;
}

/** @throws ConfigError, ProcessError or DatabaseError if it cannot start */
export async function startBpm(config: BpmConfig, dependencies: BpmDependencies): Promise<RunningBpm> {
  const { log, clock = systemClock, random = Math.random } = dependencies;
  const { newId = createTimeOrderedIds(clock, randomBytes) } = dependencies;
  const rules = loadRules(config.rules);
  const transports = createTransports(config);
  const database = await connectDatabase(config.database);
  try {
    await migrate(database, clock());
    const definitions = await loadDefinitions(config.processes, database, clock);
    await saveRules(database, new Map([...rules.byType].map(([type, own]) => [type, JSON.stringify(own)])));
    const rowContext = (): RowContext => ({
      nowMs: clock(),
      newId,
      recipients: recipientsOf(config, transports),
    });
    const watcher = createWatcher({ database, rules, definition: definitions.condition, rowContext });
    const counters = createCounters(createMetrics());
    const works: readonly Work[] = [
      {
        name: 'watch',
        run: async () => {
          const result = await watcher.judgeBatch();
          const atMs = clock();
          counters.waiting(await countUnjudged(database, watchCursor), atMs);
          if (result !== undefined) counters.watched(result, log);
          return result === undefined || result.snapshots === batchMax;
        },
      },
      {
        name: 'tasks',
        run: async () => counters.continued(await continueReady({ database, definitions, rowContext })),
      },
      {
        name: 'outbox',
        run: async () => counters.sent(await sendDue({ database, transports, clock, random, log })),
      },
    ];
    return await startLoops(config, { works, database, transports, counters, log });
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** Runs bpm as a program. */
export async function runBpm(configFile: string): Promise<never> {
  // Until the configuration is read nobody knows the level.
  return runUntilSignal('bpm', createLog('bpm'), async () => {
    const config = loadConfig(configFile, bpmConfigSchema);
    return startBpm(config, { log: createLog('bpm', config.log.level) });
  });
}

interface Work {
  readonly name: string;
  /** @returns whether there may be more to do at once */
  readonly run: () => Promise<boolean>;
}

interface Counters {
  readonly metrics: Metrics;
  watched(result: WatchResult, log: Log): void;
  continued(steps: number): boolean;
  sent(outcomes: readonly NotificationOutcome[]): boolean;
  failed(work: string): void;
  /** @param snapshots - not judged yet, as they were counted at `atMs` */
  waiting(snapshots: number, atMs: number): void;
  state(): object;
}

function createCounters(metrics: Metrics): Counters {
  const totals = { snapshots: 0, started: 0, repeated: 0, steps: 0, sent: 0 };
  const backlog = { backlog: -1, backlogAtMs: 0 };
  const backlogGauge = metrics.gauge('plombe_bpm_backlog', 'snapshots stored and not judged yet');
  const snapshots = metrics.counter('plombe_bpm_snapshots_total', 'snapshots judged');
  const started = metrics.counter('plombe_bpm_instances_total', 'workflows started', ['classification']);
  const repeated = metrics.counter(
    'plombe_bpm_repeated_total',
    'changes for which a workflow was open already',
  );
  const steps = metrics.counter('plombe_bpm_steps_total', 'steps taken behind a task or a timer');
  const notifications = metrics.counter('plombe_bpm_notifications_total', 'attempts to send', ['outcome']);
  const failures = metrics.counter('plombe_bpm_failures_total', 'rounds given up and tried again', ['work']);
  return {
    metrics,
    watched: (result, log) => {
      totals.snapshots += result.snapshots;
      totals.repeated += result.repeated;
      snapshots.inc(result.snapshots);
      repeated.inc(result.repeated);
      for (const classification of ['normal', 'abnormal', 'overdue'] as const) {
        const count = result.started[classification];
        if (count === 0) continue;
        totals.started += count;
        started.inc({ classification }, count);
        log.info({ classification, count }, 'workflow.started');
      }
    },
    continued: (count) => {
      totals.steps += count;
      steps.inc(count);
      return count > 0;
    },
    sent: (outcomes) => {
      for (const outcome of outcomes) notifications.inc({ outcome });
      totals.sent += outcomes.filter((outcome) => outcome === 'sent').length;
      return outcomes.length > 0;
    },
    failed: (work) => failures.inc({ work }),
    waiting: (snapshots, atMs) => {
      backlogGauge.set(snapshots);
      Object.assign(backlog, { backlog: snapshots, backlogAtMs: atMs });
    },
    // -1 until it was counted for the first time
    state: () => ({ ...totals, ...backlog }),
  };
}

interface Parts {
  readonly works: readonly Work[];
  readonly database: Database;
  readonly transports: readonly Transport[];
  readonly counters: Counters;
  readonly log: Log;
}

async function startLoops(config: BpmConfig, parts: Parts): Promise<RunningBpm> {
  const { works, database, transports, counters, log } = parts;
  const stopping = new AbortController();
  const failing = new Set<string>();
  const observation =
    config.observe === undefined
      ? undefined
      : await startObservation(config.observe, {
          metrics: counters.metrics,
          health: () =>
            failing.size === 0
              ? { healthy: true }
              : { healthy: false, reason: `fails: ${[...failing].join(', ')}` },
          state: () => counters.state(),
        });
  // Each work by itself, so that a slow mail server does not hold up the watch.
  const loops = works.map((work) =>
    loop(work, config.pollIntervalMs, stopping.signal, { failing, counters, log }),
  );
  log.info(observation === undefined ? {} : { observePort: observation.port }, 'bpm.started');
  return {
    observePort: observation?.port,
    stop: async () => {
      stopping.abort();
      await Promise.all(loops);
      await observation?.close();
      for (const transport of transports) transport.close();
      await database.close();
    },
  };
}

async function loop(
  work: Work,
  pollIntervalMs: number,
  signal: AbortSignal,
  { failing, counters, log }: { failing: Set<string>; counters: Counters; log: Log },
): Promise<void> {
  const wait = createWait(signal);
  while (!signal.aborted) {
    let more = false;
    try {
      more = await work.run();
      failing.delete(work.name);
    } catch (error) {
      // The database may come back; anything else is our fault, is loud, and leaves the other works running.
      failing.add(work.name);
      counters.failed(work.name);
      const fields = { work: work.name, reason: errorText(error) };
      if (isUnavailable(error)) log.warn(fields, 'bpm.round_failed');
      else
        log.error({ ...fields, stack: error instanceof Error ? error.stack : undefined }, 'bpm.round_failed');
    }
    if (!more) await wait(pollIntervalMs);
  }
}

function createTransports({ mail, sms, webhook }: BpmConfig): Transport[] {
  return [
    ...(mail === undefined ? [] : [createMailTransport(mail.smtp, mail.from)]),
    ...(sms === undefined ? [] : [createGateway('sms', sms)]),
    ...(webhook === undefined ? [] : [createGateway('webhook', webhook)]),
  ];
}

function createGateway(
  channel: 'sms' | 'webhook',
  { url, tokenFile }: { readonly url: string; readonly tokenFile?: string | undefined },
): Transport {
  return createHttpTransport(
    channel,
    url,
    tokenFile === undefined ? undefined : readFileSync(tokenFile, 'utf8').trim(),
  );
}

function recipientsOf(config: BpmConfig, transports: readonly Transport[]): RowContext['recipients'] {
  return {
    channels: transports.map(({ channel }) => channel),
    list: config.mail?.to ?? [],
    webhook: config.webhook?.url,
    technician: { mail: config.technician.mail, phone: config.technician.phone },
  };
}
