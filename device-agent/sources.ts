/** The collectors that a configuration asks for, each with the devices that it feeds. */
import { statSync } from 'node:fs';
import type { Clock } from '../domain/clock.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { ConfigError } from '../runtime/config.ts';
import type { Wait } from '../runtime/wait.ts';
import type { Collector } from './collector/collector.ts';
import type { CsvOptions } from './collector/csv.ts';
import { collectCsv } from './collector/csv.ts';
import { replay } from './collector/replay.ts';
import { skipTaken } from './collector/resume.ts';
import { simulate } from './collector/simulator.ts';
import { collectJsonLines } from './collector/stdin.ts';
import type { AgentConfig, CollectorConfig, CsvConfig, ReplayConfig } from './config.ts';
import type { Outbox } from './outbox.ts';

export interface Source {
  readonly kind: CollectorConfig['kind'] | 'replay';
  readonly collector: Collector;
  readonly pace: 'waits' | 'live';
  /** The device that all samples are of; undefined if each sample names its own. */
  readonly device: NamespacePath | undefined;
  /** Names the content of a file, so that a restart goes on where it stopped. */
  readonly fileContent: string | undefined;
}

export interface SourceContext {
  readonly outbox: Outbox;
  readonly stdin: AsyncIterable<Uint8Array>;
  readonly clock: Clock;
  readonly wait: Wait;
}

/**
 * @param devices - in the order of the configuration
 * @throws ConfigError if the replay names a device that is not among those without a collector
 */
export function openSources(
  config: AgentConfig,
  devices: readonly NamespacePath[],
  context: SourceContext,
): Source[] {
  const sources: Source[] = [];
  const unfed: NamespacePath[] = [];
  for (const [index, device] of devices.entries()) {
    const collector = config.devices[index]?.collector;
    if (collector === undefined) unfed.push(device);
    else sources.push(openSource(collector, device, context));
  }
  if (config.replay !== undefined) sources.push(openReplay(config.replay, unfed, context));
  return sources;
}

function openSource(config: CollectorConfig, device: NamespacePath, context: SourceContext): Source {
  const { outbox, stdin, clock, wait } = context;
  switch (config.kind) {
    case 'simulator': {
      const collector = simulate(config, clock, wait);
      return { kind: config.kind, collector, pace: 'live', device, fileContent: undefined };
    }
    case 'csv': {
      const fileContent = contentOf(config.file);
      const taken = outbox.takenUpTo(device, fileContent);
      const collector = skipTaken(collectCsv(config.file, csvOptions(config)), (_, line) => line <= taken);
      return { kind: config.kind, collector, pace: 'waits', device, fileContent };
    }
    case 'stdin': {
      const collector = collectJsonLines(stdin, { device, deviceType: config.deviceType }, clock);
      return { kind: config.kind, collector, pace: 'waits', device, fileContent: undefined };
    }
    default:
      throw new TypeError(`no such collector: ${JSON.stringify(config)}`);
  }
}

function openReplay(config: ReplayConfig, devices: readonly NamespacePath[], context: SourceContext): Source {
  const { outbox, clock, wait } = context;
  const fileContent = contentOf(config.file);
  const taken = new Map<string | undefined, number>(
    devices.map((device) => [device, outbox.takenUpTo(device, fileContent)]),
  );
  const source =
    config.format === 'cmapss'
      ? { format: config.format, file: config.file }
      : { format: config.format, file: config.file, csv: csvOptions(config.csv) };
  const collector = replay(
    source,
    config.speed,
    assignment(config, devices),
    (device, line) => line <= (taken.get(device) ?? 0),
    clock,
    wait,
  );
  return { kind: 'replay', collector, pace: 'waits', device: undefined, fileContent };
}

/** With a pattern, machines of other agents' devices are left out; a map names devices of this agent alone. */
function assignment(
  { file, units }: ReplayConfig,
  devices: readonly NamespacePath[],
): (machine: string) => string | undefined {
  const known = new Set<string>(devices);
  if (typeof units === 'string') {
    return (machine) => {
      const device = units.replaceAll('{unit}', machine);
      return known.has(device) ? device : undefined;
    };
  }
  const foreign = Object.entries(units).filter(([, device]) => !known.has(device));
  if (foreign.length > 0) {
    throw new ConfigError(
      file,
      foreign.map(([machine, device]) => ({
        path: `replay.units.${machine}`,
        message: `${device} is not a device without a collector`,
      })),
    );
  }
  const assigned = new Map(Object.entries(units));
  return (machine) => assigned.get(machine);
}

function csvOptions(config: CsvConfig): CsvOptions {
  const { deviceType, timeColumn, deviceColumn, delimiter, start, intervalMs } = config;
  return {
    deviceType,
    delimiter,
    intervalMs,
    ...(timeColumn === undefined ? {} : { timeColumn }),
    ...(deviceColumn === undefined ? {} : { deviceColumn }),
    ...(start === undefined ? {} : { startMs: Date.parse(start) }),
  };
}

/** A file that grew or was replaced is read from its beginning; a restart cannot tell what of it is new. */
function contentOf(file: string): string {
  const { size, mtimeMs } = statSync(file);
  return `${file} ${size} ${mtimeMs}`;
}
