/** Conditions of devices, the workflows that they start, and what those ask of people. */
import type { DdlWords, Migration } from '../ddl.ts';
import { tableStatements } from '../ddl.ts';

export const processes: Migration = {
  name: '002-processes',
  statements: (words) => [
    ...definitions(words),
    ...conditions(words),
    ...instances(words),
    ...errands(words),
  ],
};

const elementIdLengthMax = 100;

/** What bpm read from its files, for the dashboard to show and for instances to end by. */
function definitions(words: DdlWords): string[] {
  const { integer, text, longText, longBytes } = words;
  return [
    ...tableStatements(
      words,
      'process_definition',
      [
        `digest ${text(64)} not null primary key`,
        `name ${text(elementIdLengthMax)} not null`,
        `title ${text(200)} not null`,
        `xml ${longBytes} not null`,
        `loaded_ms ${integer} not null`,
      ],
      { indexes: { by_name: 'name, loaded_ms' } },
    ),
    ...tableStatements(words, 'device_type_rules', [
      `device_type ${text(64)} not null primary key`,
      `rules ${longText} not null`,
    ]),
  ];
}

function conditions(words: DdlWords): string[] {
  const { integer, text } = words;
  return [
    ...tableStatements(words, 'process_cursor', [
      `name ${text(40)} not null primary key`,
      `position ${integer} not null`,
    ]),
    ...tableStatements(words, 'condition_state', [
      `device_id ${integer} not null primary key`,
      `sequence ${integer} not null`,
      `device_condition ${text(8)} not null`,
      `candidate ${text(8)}`,
      `candidate_count ${integer} not null`,
      `since_ms ${integer}`,
      `reason ${text(500)} not null`,
    ]),
  ];
}

function instances(words: DdlWords): string[] {
  const { integer, text, longText } = words;
  return [
    ...tableStatements(
      words,
      'process_instance',
      [
        `id ${text(36)} not null primary key`,
        `definition ${text(elementIdLengthMax)} not null`,
        `digest ${text(64)} not null`,
        `device_id ${integer} not null`,
        `classification ${text(8)} not null`,
        `open_key ${text(32)} unique`, // both engines let any number of rows be null
        `state ${text(10)} not null`,
        `variables ${longText} not null`,
        `visited ${longText} not null`,
        `started_ms ${integer} not null`,
        `ended_ms ${integer}`,
        `detail ${text(500)} not null`,
      ],
      { indexes: { by_start: 'started_ms', by_device: 'device_id, started_ms' } },
    ),
    ...tableStatements(
      words,
      'process_token',
      [
        `id ${text(36)} not null primary key`,
        `instance_id ${text(36)} not null`,
        `element_id ${text(elementIdLengthMax)} not null`,
        `waits_for ${text(5)} not null`,
        `arrived_by ${text(elementIdLengthMax)}`,
        `due_ms ${integer}`,
        `host_token_id ${text(36)}`,
      ],
      { indexes: { by_instance: 'instance_id', by_due: 'waits_for, due_ms' } },
    ),
  ];
}

/** What a workflow asks of people, and what it tells them. */
function errands(words: DdlWords): string[] {
  const { integer, text, longText } = words;
  return [
    ...tableStatements(
      words,
      'task',
      [
        `id ${text(36)} not null primary key`,
        `instance_id ${text(36)} not null`,
        `element_id ${text(elementIdLengthMax)} not null`,
        `device_id ${integer} not null`,
        `title ${text(200)} not null`,
        `assignee ${text(200)} not null`,
        `instructions ${longText} not null`,
        `state ${text(10)} not null`,
        `created_ms ${integer} not null`,
        `completed_ms ${integer}`,
        `completed_by ${text(64)} not null`,
        `comment ${text(1000)} not null`,
      ],
      { indexes: { by_state: 'state, created_ms', by_instance: 'instance_id' } },
    ),
    ...tableStatements(
      words,
      'notification',
      [
        `id ${text(36)} not null primary key`,
        `instance_id ${text(36)} not null`,
        `device_id ${integer} not null`,
        `channel ${text(8)} not null`,
        `recipients ${text(2000)} not null`,
        `subject ${text(200)} not null`,
        `body ${longText} not null`,
        `state ${text(8)} not null`,
        `attempts ${integer} not null`,
        `due_ms ${integer} not null`,
        `created_ms ${integer} not null`,
        `sent_ms ${integer}`,
        `detail ${text(500)} not null`,
      ],
      { indexes: { by_due: 'state, due_ms', by_creation: 'created_ms' } },
    ),
  ];
}
