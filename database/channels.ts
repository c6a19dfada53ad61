/** The channels of a device type as people see them: their history, and other names for them. */
import { noteChangeBy } from './changes.ts';
import type { Database } from './connect.ts';
import { DatabaseError } from './errors.ts';
import { channelGroup } from '../domain/snapshot.ts';
import type { ChannelChangeField, ValueKind } from './schema.ts';
import { inSnapshot, inTransaction } from './statements.ts';

export interface ChannelRow {
  readonly name: string;
  readonly unit: string | null;
  readonly kind: ValueKind;
  readonly createdMs: number;
  /** The oldest first. */
  readonly changes: readonly ChannelChange[];
  /** What devices may still call it. */
  readonly formerNames: readonly string[];
}

export interface ChannelChange {
  readonly changedMs: number;
  /** The name of a user; empty where a device did it. */
  readonly changedBy: string;
  readonly field: ChannelChangeField;
  readonly oldValue: string;
  readonly newValue: string;
}

const selectChannels = `select c.id, c.name, u.symbol as unit, c.kind, c.created_ms from device_type t
  join channel c on c.device_type_id = t.id left join unit u on u.id = c.unit_id where t.name = ? order by c.name`;
const selectChanges = `select h.channel_id, h.changed_ms, h.changed_by, h.field, h.old_value, h.new_value from device_type t
  join channel c on c.device_type_id = t.id join channel_change h on h.channel_id = c.id
  where t.name = ? order by h.id`;
const selectAliases = `select a.channel_id, a.name from device_type t
  join channel_alias a on a.device_type_id = t.id where t.name = ? order by a.name`;
const selectNamed = `select c.id, c.device_type_id, c.group_id from device_type t
  join channel c on c.device_type_id = t.id where t.name = ? and c.name = ?`;

/** @returns by name; nothing for a type that never was */
export async function readChannelRows(database: Database, deviceType: string): Promise<ChannelRow[]> {
  return inSnapshot(database, async (statements) => {
    const channels = await statements.all<{
      id: number;
      name: string;
      unit: string | null;
      kind: ValueKind;
      created_ms: number;
    }>(selectChannels, [deviceType]);
    const changes = await statements.all<{
      channel_id: number;
      changed_ms: number;
      changed_by: string;
      field: ChannelChangeField;
      old_value: string;
      new_value: string;
    }>(selectChanges, [deviceType]);
    const aliases = await statements.all<{ channel_id: number; name: string }>(selectAliases, [deviceType]);
    return channels.map(({ id, name, unit, kind, created_ms: createdMs }) => ({
      name,
      unit,
      kind,
      createdMs,
      changes: changes
        .filter(({ channel_id }) => channel_id === id)
        .map(({ changed_ms, changed_by, field, old_value, new_value }) => ({
          changedMs: changed_ms,
          changedBy: changed_by,
          field,
          oldValue: old_value,
          newValue: new_value,
        })),
      formerNames: aliases.filter(({ channel_id }) => channel_id === id).map((alias) => alias.name),
    }));
  });
}

/**
 * Gives a channel another name. It keeps its values, and devices may go on to send either name.
 *
 * @returns false if there is no such channel
 * @throws DatabaseError `database.conflict` if the type has a channel of the new name, or had
 */
export async function renameChannel(
  database: Database,
  deviceType: string,
  from: string,
  to: string,
  { by, nowMs }: { readonly by: string; readonly nowMs: number },
): Promise<boolean> {
  return inTransaction(database, async (statements) => {
    const [channel] = await statements.all<{ id: number; device_type_id: number }>(selectNamed, [
      deviceType,
      from,
    ]);
    if (channel === undefined) return false;
    const { id, device_type_id: typeId } = channel;
    const taken = await statements.all<{ id: number }>(
      `select id from channel where device_type_id = ? and name = ?
       union all select channel_id from channel_alias where device_type_id = ? and name = ? and channel_id <> ?`,
      [typeId, to, typeId, to, id],
    );
    if (taken.length > 0)
      throw new DatabaseError('database.conflict', `${deviceType} has a channel "${to}", or had one`);
    const group = channelGroup(to);
    const [known] = await statements.all<{ id: number }>(
      'select id from channel_group where device_type_id = ? and name = ?',
      [typeId, group],
    );
    const groupId =
      known?.id ??
      (await statements.run('insert into channel_group (device_type_id, name) values (?, ?)', [
        typeId,
        group,
      ]));
    // It may have had the new name before.
    await statements.run('delete from channel_alias where device_type_id = ? and name = ?', [typeId, to]);
    await statements.insertMany(
      'channel_alias',
      ['device_type_id', 'name', 'channel_id'],
      [[typeId, from, id]],
    );
    await statements.insertMany(
      'channel_change',
      ['channel_id', 'changed_ms', 'changed_by', 'field', 'old_value', 'new_value'],
      [[id, nowMs, by, 'name', from, to]],
    );
    await statements.run('update channel set name = ?, group_id = ?, changes = changes + 1 where id = ?', [
      to,
      groupId,
      id,
    ]);
    await noteChangeBy(statements, database.engine, 'metadata');
    await noteChangeBy(statements, database.engine, 'channels');
    return true;
  });
}
