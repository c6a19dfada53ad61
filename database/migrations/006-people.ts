/** What people say of devices and channels, and who said it when. */
import type { Migration } from '../ddl.ts';
import { tableStatements } from '../ddl.ts';

export const people: Migration = {
  name: '006-people',
  statements: (words) => {
    const { id, integer, text, longText } = words;
    return [
      ...tableStatements(
        words,
        'device_metadata',
        [
          `device_id ${integer} not null primary key`,
          `labels ${longText} not null`, // a JSON array of texts
          `technician ${text(200)} not null`,
          `service_hours ${integer}`, // of operation between two services
          `service_days ${integer}`,
        ],
        { clustered: true },
      ),
      ...tableStatements(
        words,
        'device_metadata_change',
        [
          `id ${id}`,
          `device_id ${integer} not null`,
          `changed_ms ${integer} not null`,
          `changed_by ${text(64)} not null`,
          `field ${text(16)} not null`,
          `old_value ${longText} not null`,
          `new_value ${longText} not null`,
        ],
        { indexes: { by_device: 'device_id, id' } },
      ),
      // What devices still call a channel that was renamed.
      ...tableStatements(
        words,
        'channel_alias',
        [
          `device_type_id ${integer} not null`,
          `name ${text(64)} not null`,
          `channel_id ${integer} not null`,
          'primary key (device_type_id, name)',
        ],
        { clustered: true },
      ),
      // A name is longer than a unit; SQLite's texts have no bound.
      ...(words.engine === 'mysql'
        ? ['old_value', 'new_value'].map(
            (column) => `alter table channel_change modify ${column} ${text(64)} not null`,
          )
        : []),
    ];
  },
};
