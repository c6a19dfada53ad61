/** Revocation lists for tests, in a folder that goes with the test. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import type { Authority } from '../../pki/authority/authority.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { RevocationLists } from '../../pki/revocation-lists.ts';
import type { StalePolicy } from '../../pki/revocation.ts';
import { createLog } from '../../runtime/log.ts';
import type { Metrics } from '../../runtime/observe.ts';
import { createMetrics } from '../../runtime/observe.ts';

export interface ListsForTest {
  readonly lists: RevocationLists;
  readonly directory: string;
  readonly metrics: Metrics;
  /** What was logged. */
  readonly events: readonly { readonly event: string; readonly [field: string]: unknown }[];
}

export function temporaryDirectory(context: TestContext): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'plombe-lists-'));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export function listsIn(
  directory: string,
  roots: readonly Certificate[],
  stalePolicy: StalePolicy = { action: 'warn' },
): ListsForTest {
  const events: { event: string }[] = [];
  const log = createLog('test', 'debug', {
    write: (line) => void events.push(JSON.parse(line) as { event: string }),
  });
  const metrics = createMetrics();
  const lists = new RevocationLists({ directory, roots, stalePolicy, metrics, log });
  return { lists, directory, metrics, events };
}

export function freshLists(
  context: TestContext,
  roots: readonly Certificate[],
  stalePolicy?: StalePolicy,
): ListsForTest {
  return listsIn(temporaryDirectory(context), roots, stalePolicy);
}

/** The E2E bundle that an authority issued last. */
export function bundleOf(authority: Authority): Buffer {
  return readFileSync(path.join(authority.directory, 'e2e', 'crl.pem'));
}

/** The same of the TLS PKI. */
export function tlsBundleOf(authority: Authority): Buffer {
  return readFileSync(path.join(authority.directory, 'tls', 'crl.pem'));
}
