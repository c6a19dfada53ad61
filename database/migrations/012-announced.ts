/** Up to which sequence a device says that a broker has taken everything. */
import type { Migration } from '../ddl.ts';

export const announced: Migration = {
  name: '012-announced',
  statements: ({ integer }) => [
    `alter table device add column announced_sequence ${integer} not null default 0`,
    `alter table device add column announced_ms ${integer} not null default 0`, // when it first said so
  ],
};
