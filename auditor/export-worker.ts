/** A thread that exports, a piece whenever it is asked for one; `exports.ts` starts it. */
import os from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { createOpener } from '../cms/open.ts';
import type { Originator, Originators } from '../cms/originator.ts';
import { originatorsOf } from '../cms/originator.ts';
import { OriginatorDirectory } from '../cms/originator-directory.ts';
import { decodeDeviceCertificates } from '../domain/device-certificates.ts';
import { parseCertificate } from '../pki/certificate.ts';
import type { Certificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import { readArchive } from './archive-reading.ts';
import { exportCsv, exportJson, exportParquet } from './export.ts';
import type { ExportSettings, FromExporter } from './export-messages.ts';
import type { ExportSource } from './export-source.ts';
import { eitherOf } from './originators.ts';
import { readPolicyHistory } from './policy-history.ts';
import type { RecordIndex } from './record-index.ts';
import { readRecordIndex } from './record-index.ts';

const niceness = 10;

const port = parentPort;
if (port === null) throw new Error('this is a thread of the auditor');
// The audit comes first. On Linux this is of the thread alone (setpriority(2), "C library/kernel differences").
if (process.platform === 'linux') os.setPriority(niceness);

const settings = workerData as ExportSettings;
const pieces = piecesOf(settings);
const tell = (message: FromExporter, transfer: readonly ArrayBuffer[] = []): void =>
  port.postMessage(message, [...transfer]);

async function next(): Promise<void> {
  const { done, value } = await pieces.next();
  if (done === true) {
    tell({ kind: 'end' });
    port?.close();
    return;
  }
  const octets = typeof value === 'string' ? new TextEncoder().encode(value) : value;
  tell({ kind: 'piece', octets }, octets.buffer instanceof ArrayBuffer ? [octets.buffer] : []);
}
port.on('message', () => void next()); // what it throws ends the thread, and `exports.ts` says so

function piecesOf({
  job,
  nowMs,
}: ExportSettings): Generator<string, void> | AsyncGenerator<Uint8Array, void> {
  const { device, file } = job;
  const source = sourceOf(settings);
  if (file.format === 'json') return exportJson(source, device, nowMs);
  const { format, table } = file;
  return format === 'csv' ? exportCsv(source, table, device) : exportParquet(source, table, device);
}

/** What it opens is closed with the thread. */
function sourceOf({ directory, hasArchive, recipient, job }: ExportSettings): ExportSource {
  const index = readRecordIndex(directory);
  const { fromMs = -Infinity, untilMs = Infinity } = job;
  const own = { key: recipient.key, certificate: certificateOf(recipient.certificate) };
  return {
    directory,
    index,
    opener: createOpener({ recipient: own, originators: originatorsFor(settings, index) }),
    archive: hasArchive ? readArchive(directory) : undefined,
    policyHistory: readPolicyHistory(directory),
    bounds: { fromMs, untilMs, last: index.lastNumber },
  };
}

function originatorsFor({ roots, issuers, job }: ExportSettings, index: RecordIndex): Originators {
  const directory = new OriginatorDirectory(roots.map(certificateOf));
  for (const { payload, receivedMs } of index.certificatesOf(job.device)) {
    try {
      directory.publish(job.device, decodeDeviceCertificates(payload), receivedMs);
    } catch (error) {
      if (!(error instanceof PkiError)) throw error; // another root is pinned now
    }
  }
  const known = issuers.map(({ commonName, signature, keyAgreement }): Originator => ({
    commonName,
    keyAgreement: certificateOf(keyAgreement),
    ...(signature && { signature: certificateOf(signature) }),
  }));
  return eitherOf(directory, originatorsOf(known));
}

function certificateOf(der: Uint8Array): Certificate {
  return parseCertificate(Buffer.from(der));
}
