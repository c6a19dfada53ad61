/** The last head of each customer's ledger that was countersigned. */
import type { Migration } from '../ddl.ts';
import { tableStatements } from '../ddl.ts';

export const ledgers: Migration = {
  name: '009-ledgers',
  statements: (words) => {
    const { bytes, integer, longBytes, text } = words;
    return tableStatements(
      words,
      'ledger_head',
      [
        `origin ${text(128)} not null primary key`, // which ledger: its owner and its id
        `owner ${text(64)} not null`,
        `size ${integer} not null`,
        `subtrees ${bytes(2048)} not null`, // of the tree, 32 bytes each, largest first
        `head ${longBytes} not null`, // CMS with both signatures
        `countersigned_ms ${integer} not null`,
      ],
      { clustered: true },
    );
  },
};
