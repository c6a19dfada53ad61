/** What the upkeep of values has done: which runs it thinned, and up to where it dropped snapshots. */
import type { Migration } from '../ddl.ts';
import { tableStatements } from '../ddl.ts';

export const upkeep: Migration = {
  name: '005-upkeep',
  statements: (words) => {
    const { integer } = words;
    return [
      ...tableStatements(
        words,
        'thinned_run',
        [
          `device_id ${integer} not null`,
          `t0 ${integer} not null`,
          `sealing ${integer} not null`,
          `stretch_ms ${integer} not null`, // of each stretch one snapshot stayed whole
          'primary key (device_id, t0, sealing)',
        ],
        { clustered: true },
      ),
      ...tableStatements(
        words,
        'dropped',
        [
          `device_id ${integer} not null primary key`,
          `sequence ${integer} not null`, // up to here whatever comes is too late
          `time_ms ${integer} not null`,
        ],
        { clustered: true },
      ),
    ];
  },
};
