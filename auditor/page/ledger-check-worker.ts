/** The thread that verifies the ledger from its file, as `plombe audit verify` does, while the auditor goes on. */
import { existsSync, readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { LedgerError } from '../../ledger/errors.ts';
import { readHead } from '../../ledger/tree-head.ts';
import { verifyLedger } from '../../ledger/verify.ts';
import { parseCertificate } from '../../pki/certificate.ts';
import type { LedgerCheckMessage, LedgerCheckSettings } from './ledger-check.ts';

const namedMax = 100;

const { ledgerFile, headFile, roots } = workerData as LedgerCheckSettings;
const port = parentPort;
if (port === null) throw new Error('this is a thread of the auditor');
const tell = (message: LedgerCheckMessage): void => port.postMessage(message, []);

try {
  // Before the ledger, which only grows.
  const heads = existsSync(headFile) ? [readHead(readFileSync(headFile))] : [];
  const found = verifyLedger(ledgerFile, {
    roots: roots.map((der) => parseCertificate(Buffer.from(der))),
    heads,
    onProgress: ({ doneBytes, bytes }) => tell({ kind: 'progress', share: doneBytes / bytes }),
  });
  const { leaves, passages, alarms, root, signedHead, gaps, forks, fault } = found;
  tell({
    kind: 'found',
    finding: {
      leaves,
      passages,
      alarms,
      root: root.toString('hex'),
      signedSize: signedHead?.size ?? 0,
      signers: signedHead?.signers ?? [],
      comparedSize: heads[0]?.size ?? 0,
      gaps: gaps.slice(0, namedMax),
      gapCount: gaps.length,
      forks: forks.slice(0, namedMax),
      forkCount: forks.length,
      fault,
    },
  });
} catch (error) {
  if (!(error instanceof LedgerError)) throw error;
  tell({ kind: 'failed', reason: error.message });
}
