/** Envelopes as they came, for as long as the configuration says. */
import type { Migration } from '../ddl.ts';
import { tableStatements } from '../ddl.ts';

export const evidence: Migration = {
  name: '007-evidence',
  statements: (words) => {
    const { id, integer, longBytes } = words;
    return tableStatements(
      words,
      'evidence',
      [
        `id ${id}`,
        `device_id ${integer} not null`,
        `sequence ${integer} not null`,
        `received_ms ${integer} not null`,
        `envelope ${longBytes} not null`,
        'unique (device_id, sequence)',
      ],
      { indexes: { by_time: 'received_ms' } },
    );
  },
};
