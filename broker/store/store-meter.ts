/** What the open store says of its size, and of the disk that it is on. */
import { statfsSync } from 'node:fs';
import type { Meter } from './room.ts';
import { pageBytes } from './store-file.ts';
import { sql } from './store-statements.ts';
import type { Transactions } from './transactions.ts';
import type { Unwritten } from './unwritten.ts';

export function meterOf(directory: string, transactions: Transactions, unwritten: Unwritten): Meter {
  return {
    usedBytes: () => {
      const pages = Number(transactions.readOne(sql.pages)['page_count']);
      const freePages = Number(transactions.readOne(sql.freePages)['freelist_count']);
      return (pages - freePages) * pageBytes + unwritten.bytes;
    },
    freeBytes: () => {
      const { bavail, bsize } = statfsSync(directory);
      return bavail * bsize;
    },
  };
}
