/** The customers' brokers, as each of them last said of itself. */
import type { Migration } from '../ddl.ts';
import { tableStatements } from '../ddl.ts';

export const brokers: Migration = {
  name: '003-brokers',
  statements: (words) => {
    const { integer, text } = words;
    return tableStatements(
      words,
      'broker_state',
      [
        `path ${text(62)} not null primary key`,
        `name ${text(64)} not null`,
        `version ${text(64)} not null`,
        `connection ${text(8)} not null`,
        `received_ms ${integer} not null`,
        `connected_since_ms ${integer}`,
        `queued ${integer} not null`,
        `queued_bytes ${integer} not null`,
        `oldest_waiting_ms ${integer} not null`,
        `forwarded_up ${integer} not null`,
        `forwarded_down ${integer} not null`,
        `refused ${integer} not null`,
      ],
      { clustered: true },
    );
  },
};
