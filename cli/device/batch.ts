/** Prepares many devices: those that a CSV file names, each with a token or a whole identity. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { BrokerAddress } from '../../domain/enrolment.ts';
import { parseDevicePath } from '../../domain/namespace.ts';
import { readToken, tokenExpiresAtMs, writeToken } from '../../enrolment/token.ts';
import { isEnrolled } from '../../enrolment/key-directory.ts';
import type { Authority } from '../../pki/authority/authority.ts';
import { certificatesFromPem } from '../../pki/certificate.ts';
import { writeFileAtomically } from '../../runtime/files.ts';

export interface Batch {
  readonly authority: Authority;
  readonly csvFile: string;
  readonly directory: string;
  readonly count: number | undefined;
  readonly first: string | undefined;
  /** For tokens. */
  readonly broker: BrokerAddress | undefined;
  readonly tokenLifetimeMs: number;
  /** Keys and certificates of each, rather than a token. */
  readonly isComplete: boolean;
  readonly keyPassphrase: string | undefined;
  readonly print: (line: string) => void;
  readonly progress: { readonly isTTY?: boolean; write(text: string): unknown };
}

interface Prepared {
  readonly path: string;
  readonly file: string;
  readonly validUntilMs: number;
}

const secretMode = 0o600;
const barWidth = 30;
const header = 'path,file,valid until';

/**
 * What is there already is left as it is, so an interrupted batch goes on where it stopped. The CSV file says in the end
 * where each device's file is.
 */
export async function enrolBatch(batch: Batch): Promise<void> {
  const { csvFile, directory, print } = batch;
  const paths = existsSync(csvFile) ? readPaths(csvFile, batch.count) : countUp(batch);
  if (!existsSync(csvFile))
    writeCsv(
      csvFile,
      paths.map((device) => `${device},,`),
    );
  const prepared: Prepared[] = [];
  let made = 0;
  for (const device of paths) {
    const known = existing(device, batch);
    if (known === undefined) made += 1;
    prepared.push(known ?? (await prepare(device, batch)));
    showProgress(batch.progress, prepared.length, paths.length);
  }
  batch.progress.write('\n');
  writeCsv(
    csvFile,
    prepared.map(({ path: device, file, validUntilMs }) => {
      return `${device},${path.relative(path.dirname(csvFile), file)},${new Date(validUntilMs).toISOString()}`;
    }),
  );
  print(`${paths.length} devices in ${directory}, ${made} of them new; ${csvFile} lists them`);
}

function existing(device: string, batch: Batch): Prepared | undefined {
  const file = fileOf(device, batch);
  if (batch.isComplete)
    return isEnrolled(file) ? { path: device, file, validUntilMs: identityExpiryMs(file) } : undefined;
  if (!existsSync(file)) return undefined;
  const token = readToken(readFileSync(file, 'utf8'), Date.now());
  return { path: device, file, validUntilMs: tokenExpiresAtMs(token) };
}

async function prepare(device: string, batch: Batch): Promise<Prepared> {
  const { authority, broker, tokenLifetimeMs, isComplete, keyPassphrase } = batch;
  const file = fileOf(device, batch);
  if (isComplete) {
    const passphrase = keyPassphrase === undefined ? {} : { passphrase: keyPassphrase };
    await authority.issue({ path: device, outputDirectory: file, ...passphrase });
    return { path: device, file, validUntilMs: identityExpiryMs(file) };
  }
  if (broker === undefined) throw new TypeError('a token needs the address of a broker');
  const invitation = await authority.invite({ path: device, lifetimeMs: tokenLifetimeMs });
  writeFileAtomically(
    file,
    writeToken({ path: device, broker, ...invitation, roots: authority.roots }),
    secretMode,
  );
  return { path: device, file, validUntilMs: tokenExpiresAtMs(invitation) };
}

function fileOf(device: string, { directory, isComplete }: Batch): string {
  return path.join(directory, ...device.split('/')) + (isComplete ? '' : '.token');
}

function identityExpiryMs(directory: string): number {
  const leaves = ['tls', 'sig', 'enc'].flatMap((name) =>
    certificatesFromPem(readFileSync(path.join(directory, `${name}.crt.pem`))),
  );
  return Math.min(...leaves.map(({ notAfterMs }) => notAfterMs));
}

function readPaths(csvFile: string, count: number | undefined): string[] {
  const [head = '', ...rows] = readFileSync(csvFile, 'utf8').split(/\r?\n/);
  const column = head.split(',').indexOf('path');
  if (column < 0) throw new Error(`${csvFile}: no column "path" in its first line`);
  const paths = rows.filter((row) => row.trim() !== '').map((row) => row.split(',')[column]?.trim() ?? '');
  const wrong = paths.find((device) => parseDevicePath(device) === undefined);
  if (wrong !== undefined)
    throw new Error(`${csvFile}: ${JSON.stringify(wrong)} is not masterAccount/account/equipment`);
  if (new Set(paths).size !== paths.length) throw new Error(`${csvFile}: a device is in it twice`);
  if (count !== undefined && count !== paths.length) {
    throw new Error(`${csvFile}: ${paths.length} devices are in it, and --count says ${count}`);
  }
  return paths;
}

/** `…/dev-0001` and a count of 3: `…/dev-0001`, `…/dev-0002`, `…/dev-0003`. */
function countUp({ csvFile, count, first }: Batch): string[] {
  if (count === undefined || first === undefined) {
    throw new Error(`${csvFile} is not there: to make it, give --count and --first`);
  }
  const [, stem, digits] = /^(.*?)(\d+)$/.exec(first) ?? [];
  if (stem === undefined || digits === undefined)
    throw new Error(`${JSON.stringify(first)} does not end in a number`);
  return Array.from({ length: count }, (_, index) => {
    const device = `${stem}${String(Number(digits) + index).padStart(digits.length, '0')}`;
    if (parseDevicePath(device) !== undefined) return device;
    throw new Error(`${JSON.stringify(device)} is not masterAccount/account/equipment`);
  });
}

function writeCsv(file: string, rows: readonly string[]): void {
  writeFileAtomically(file, `${[header, ...rows].join('\n')}\n`);
}

function showProgress(to: Batch['progress'], done: number, total: number): void {
  const isTTY = to.isTTY === true;
  const step = Math.max(1, Math.floor(total / (isTTY ? 200 : 10)));
  if (done % step !== 0 && done !== total) return;
  const filled = Math.round((barWidth * done) / total);
  const bar = `[${'#'.repeat(filled)}${'.'.repeat(barWidth - filled)}] ${done} of ${total}`;
  to.write(isTTY ? `\r${bar}` : `${bar}\n`);
}
