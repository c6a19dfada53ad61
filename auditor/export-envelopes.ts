/** What is in the envelopes that are kept of a device: values, commands and answers. What cannot be opened is an alarm among the entries. */
import { CmsError } from '../cms/errors.ts';
import type { OpenedEnvelope, Opener } from '../cms/open.ts';
import { CommandError, decodeCommand, decodeCommandResult } from '../domain/command.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { decodeSenmlCbor, decodeSenmlJson, SenmlError } from '../domain/senml.ts';
import type { Snapshot } from '../domain/snapshot.ts';
import { streamOf } from '../ledger/stream.ts';
import type { ArchivedEnvelope } from './archive.ts';
import { timeCell } from './csv.ts';
import type { ExportSource, Row } from './export-source.ts';

/** A row a value. */
export function* snapshotRows(source: ExportSource, device: NamespacePath): Generator<Row> {
  for (const archived of source.archive?.of(device, 'snapshot', source.bounds) ?? []) {
    const opened = openArchived(archived, source.opener);
    const snapshot = opened && snapshotIn(opened, device);
    if (opened === undefined || snapshot === undefined) continue;
    const common = {
      ...commonCells(archived),
      measured: timeCell(snapshot.timeMs),
      sequence: opened.sequence,
      outcome: outcomeOf(source, archived, opened),
      type: snapshot.deviceType,
    };
    for (const { channel, unit, value } of snapshot.readings) yield { ...common, channel, unit, value };
  }
}

/** A row a command, and one an answer. */
export function* commandRows(source: ExportSource, device: NamespacePath): Generator<Row> {
  for (const archived of source.archive?.of(device, 'command', source.bounds) ?? []) {
    const opened = openArchived(archived, source.opener);
    const said = opened && commandCells(archived.topic, opened);
    if (opened === undefined || said === undefined) continue;
    yield { ...commonCells(archived), from: opened.originator.commonName, ...said };
  }
}

/** @returns undefined for what cannot be opened any more, or never could */
export function openArchived(
  { envelope, topic }: ArchivedEnvelope,
  opener: Opener,
): OpenedEnvelope | undefined {
  try {
    return opener.open(envelope, { expectedTopic: topic });
  } catch (error) {
    if (error instanceof CmsError) return undefined;
    throw error;
  }
}

/** @returns undefined for what is no snapshot */
export function snapshotIn(
  { contentType, content }: OpenedEnvelope,
  device: NamespacePath,
): Snapshot | undefined {
  try {
    if (contentType === 'senml+cbor') return decodeSenmlCbor(device, content);
    return contentType === 'senml+json' ? decodeSenmlJson(device, content) : undefined;
  } catch (error) {
    if (error instanceof SenmlError) return undefined;
    throw error;
  }
}

function commonCells({ number, topic, receivedMs }: ArchivedEnvelope): Row {
  return { entry: number, received: timeCell(receivedMs), topic };
}

function outcomeOf(
  { index }: ExportSource,
  { topic }: ArchivedEnvelope,
  { digest }: OpenedEnvelope,
): string | undefined {
  return index.known(streamOf({ topic, direction: 'out' }), digest)[0]?.outcome;
}

function commandCells(topic: string, { content }: OpenedEnvelope): Row | undefined {
  try {
    if (topic.endsWith('/result')) {
      const { id, outcome, finishedAtMs, detail } = decodeCommandResult(content);
      return { direction: 'out', id, name: 'result', outcome, at: timeCell(finishedAtMs), detail };
    }
    const { id, name, issuedAtMs, expiresAtMs, parameters } = decodeCommand(content);
    const [at, expires] = [timeCell(issuedAtMs), timeCell(expiresAtMs)];
    return { direction: 'in', id, name, at, expires, detail: JSON.stringify(parameters) };
  } catch (error) {
    if (error instanceof CommandError) return undefined;
    throw error;
  }
}
