/** Services that people noted, which device another one was before it changed hands, and who renamed a channel. */
import type { Migration } from '../ddl.ts';
import { tableStatements } from '../ddl.ts';

export const records: Migration = {
  name: '013-records',
  statements: (words) => {
    const { id, integer, real, text } = words;
    return [
      ...tableStatements(
        words,
        'device_service',
        [
          `id ${id}`,
          `device_id ${integer} not null`,
          `serviced_ms ${integer} not null`,
          `hours ${real}`, // what the counter of operating hours said then
          `remark ${text(500)} not null`,
          `noted_ms ${integer} not null`,
          `noted_by ${text(64)} not null`,
          `withdrawn_ms ${integer}`, // noted by mistake; it stays to be seen
          `withdrawn_by ${text(64)}`,
        ],
        { indexes: { by_device: 'device_id, serviced_ms' } },
      ),
      ...tableStatements(
        words,
        'device_former',
        [
          `device_id ${integer} not null primary key`,
          `former_id ${integer} not null unique`, // the same machine under its former owner's name
          `noted_ms ${integer} not null`,
          `noted_by ${text(64)} not null`,
        ],
        { clustered: true },
      ),
      // Empty where a device did it.
      `alter table channel_change add column changed_by ${text(64)} not null default ''`,
    ];
  },
};
