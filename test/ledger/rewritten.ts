/** A ledger that its own operator writes anew: the same beginning, other entries, no index that would tell. */
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { PassageLeaf } from '../../ledger/leaf.ts';
import { openAt, piecesOf, writePieces } from './written.ts';

export function rewritten(file: string, leaves: readonly PassageLeaf[], folder = path.dirname(file)): void {
  const [beginning] = piecesOf(file);
  if (beginning === undefined) throw new Error('a ledger has a beginning');
  mkdirSync(folder, { recursive: true });
  for (const end of ['', '-wal', '-shm']) rmSync(path.join(folder, `auditor.sqlite${end}`), { force: true });
  const target = path.join(folder, path.basename(file));
  writePieces(target, [beginning]);
  const ledger = openAt(target);
  ledger.append(leaves);
  ledger.close();
}
