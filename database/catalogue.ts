/** Device types, channels and units, which appear by themselves from what devices send, within limits. */
import { channelNameLengthMax, unitLengthMax } from '../domain/limits.ts';
import type { ChannelValue, Reading, Snapshot } from '../domain/snapshot.ts';
import { channelGroup } from '../domain/snapshot.ts';
import type { ValueKind } from './schema.ts';
import type { Statements } from './statements.ts';

export interface CatalogueLimits {
  readonly deviceTypesMax: number;
  readonly channelsPerTypeMax: number;
  readonly unitsMax: number;
  /** How many renames and unit changes of one channel are remembered; later ones take effect without a record. */
  readonly changesPerChannelMax: number;
}

export const defaultCatalogueLimits: CatalogueLimits = {
  deviceTypesMax: 1000,
  channelsPerTypeMax: 2000,
  unitsMax: 2000,
  changesPerChannelMax: 100,
};

export type CatalogueRefusal =
  | 'bad_device_type'
  | 'bad_unit'
  | 'duplicate_channel'
  | 'too_many_types'
  | 'too_many_channels'
  | 'too_many_units';

export interface ResolvedSnapshot {
  readonly typeId: number;
  /** Until another number stands for the type, a snapshot of the same channels, units and kinds is resolved the same. */
  readonly epoch: number;
  /** In the order of the readings. */
  readonly channelIds: readonly number[];
  readonly values: readonly ChannelValue[];
}

interface KnownChannel {
  readonly id: number;
  unit: string;
  kind: ValueKind;
  changes: number;
  /** By which snapshot it was last found: a second time is once too often. */
  seenBy: number;
}

interface KnownType {
  readonly id: number;
  epoch: number;
  readonly channels: Map<string, KnownChannel>;
}

/** What a device that states no type gets. */
const untyped = 'unknown';
const typeNameLengthMax = 64;

const selectChannels = `select c.name, c.id, u.symbol as unit, c.kind, c.changes
  from channel c left join unit u on u.id = c.unit_id where c.device_type_id = ?`;
/** What devices still call a channel that was renamed. */
const selectAliases = 'select name, channel_id from channel_alias where device_type_id = ?';

/** Remembers every row that it has seen, so that a familiar snapshot costs no query. */
export class Catalogue {
  readonly #limits: CatalogueLimits;
  readonly #types = new Map<string, KnownType>();
  readonly #units = new Map<string, number>();
  /** By id of the type. */
  readonly #epochs = new Map<number, number>();
  #epoch = 0;
  #kindChanges = 0;
  #channelChanges = 0;
  #resolved = 0;

  constructor(limits: CatalogueLimits = defaultCatalogueLimits) {
    this.#limits = limits;
  }

  /** After a rollback: what it remembers may not be there. */
  forget(): void {
    this.#types.clear();
    this.#epochs.clear();
    this.#units.clear();
  }

  /** How many values had another kind than their channel had before. */
  get kindChanges(): number {
    return this.#kindChanges;
  }

  /** How many channels were added, or got another unit or kind. */
  get channelChanges(): number {
    return this.#channelChanges;
  }

  /** @returns the number that stands for what is known of a type; undefined if nothing is */
  epochOf(typeId: number): number | undefined {
    return this.#epochs.get(typeId);
  }

  /** Finds or makes every row that the snapshot's values refer to. */
  async resolve(
    statements: Statements,
    snapshot: Snapshot,
    nowMs: number,
  ): Promise<ResolvedSnapshot | { readonly refused: CatalogueRefusal }> {
    const name = snapshot.deviceType === '' ? untyped : snapshot.deviceType;
    const familiar = this.#familiar(name, snapshot);
    if (familiar !== undefined) return familiar;
    if (name.length > typeNameLengthMax || !isPlain(name)) return { refused: 'bad_device_type' };
    if (new Set(snapshot.readings.map(({ channel }) => channel)).size !== snapshot.readings.length) {
      return { refused: 'duplicate_channel' };
    }
    const found = this.#types.get(name) ?? (await findType(statements, name));
    const refused = await this.#refusal(statements, found, snapshot);
    if (refused !== undefined) return { refused };
    // Its present name and a former one.
    const ids = snapshot.readings.flatMap(({ channel }) => found?.channels.get(channel)?.id ?? []);
    if (new Set(ids).size !== ids.length) return { refused: 'duplicate_channel' };
    const type = found ?? (await addType(statements, name, nowMs));
    this.#types.set(name, type);
    if (!this.#epochs.has(type.id)) this.#changeEpoch(type);
    const channelIds: number[] = [];
    for (const reading of snapshot.readings) {
      const channel =
        type.channels.get(reading.channel) ?? (await this.#addChannel(statements, type, reading, nowMs));
      if (channel.unit !== (reading.unit ?? '') || channel.kind !== kindOf(reading.value)) {
        await this.#changeChannel(statements, channel, reading, nowMs);
        this.#changeEpoch(type);
      }
      channelIds.push(channel.id);
    }
    return { typeId: type.id, epoch: type.epoch, channelIds, values: valuesOf(snapshot) };
  }

  /** @returns undefined unless everything in the snapshot is known and as it was */
  #familiar(name: string, snapshot: Snapshot): ResolvedSnapshot | undefined {
    const type = this.#types.get(name);
    if (type === undefined) return undefined;
    this.#resolved += 1;
    const channelIds: number[] = [];
    for (const { channel: channelName, unit = '', value } of snapshot.readings) {
      const channel = type.channels.get(channelName);
      if (channel === undefined || channel.seenBy === this.#resolved) return undefined;
      if (channel.unit !== unit || channel.kind !== typeof value) return undefined;
      channel.seenBy = this.#resolved;
      channelIds.push(channel.id);
    }
    return { typeId: type.id, epoch: type.epoch, channelIds, values: valuesOf(snapshot) };
  }

  #changeEpoch(type: KnownType): void {
    type.epoch = ++this.#epoch;
    this.#epochs.set(type.id, type.epoch);
  }

  async #refusal(
    statements: Statements,
    type: KnownType | undefined,
    snapshot: Snapshot,
  ): Promise<CatalogueRefusal | undefined> {
    if (type !== undefined && snapshot.readings.every((reading) => isFamiliar(type, reading, this.#units)))
      return undefined;
    if (type === undefined && (await count(statements, 'device_type')) >= this.#limits.deviceTypesMax)
      return 'too_many_types';
    // Another program may have added some since we looked.
    if (type !== undefined) await loadChannels(statements, type);
    const added = snapshot.readings.filter((reading) => type?.channels.has(reading.channel) !== true);
    if ((type?.channels.size ?? 0) + added.length > this.#limits.channelsPerTypeMax)
      return 'too_many_channels';
    const symbols = new Set(snapshot.readings.flatMap(({ unit }) => (unit === undefined ? [] : [unit])));
    await this.#loadUnits(statements);
    if (![...symbols].every(isPlain)) return 'bad_unit';
    for (const symbol of this.#units.keys()) symbols.delete(symbol);
    return this.#units.size + symbols.size > this.#limits.unitsMax ? 'too_many_units' : undefined;
  }

  async #loadUnits(statements: Statements): Promise<void> {
    const rows = await statements.all<{ id: number; symbol: string }>('select id, symbol from unit', []);
    for (const row of rows) this.#units.set(row.symbol, row.id);
  }

  async #unitId(statements: Statements, symbol: string | undefined): Promise<number | null> {
    if (symbol === undefined || symbol === '') return null;
    const known = this.#units.get(symbol);
    if (known !== undefined) return known;
    const id = await statements.run('insert into unit (symbol) values (?)', [symbol.slice(0, unitLengthMax)]);
    this.#units.set(symbol, id);
    return id;
  }

  async #addChannel(
    statements: Statements,
    type: KnownType,
    reading: Reading,
    nowMs: number,
  ): Promise<KnownChannel> {
    const groupId = await ensureGroup(statements, type.id, channelGroup(reading.channel));
    const kind = kindOf(reading.value);
    const id = await statements.run(
      'insert into channel (device_type_id, group_id, name, unit_id, kind, created_ms) values (?, ?, ?, ?, ?, ?)',
      [
        type.id,
        groupId,
        reading.channel.slice(0, channelNameLengthMax),
        await this.#unitId(statements, reading.unit),
        kind,
        nowMs,
      ],
    );
    const channel: KnownChannel = { id, unit: reading.unit ?? '', kind, changes: 0, seenBy: 0 };
    type.channels.set(reading.channel, channel);
    this.#channelChanges += 1;
    return channel;
  }

  async #changeChannel(
    statements: Statements,
    channel: KnownChannel,
    reading: Reading,
    nowMs: number,
  ): Promise<void> {
    const kind = kindOf(reading.value);
    const unit = reading.unit ?? '';
    const changes = [
      ...(channel.unit === unit ? [] : [['unit', channel.unit, unit] as const]),
      ...(channel.kind === kind ? [] : [['kind', channel.kind, kind] as const]),
    ].slice(0, Math.max(0, this.#limits.changesPerChannelMax - channel.changes));
    await statements.insertMany(
      'channel_change',
      ['channel_id', 'changed_ms', 'field', 'old_value', 'new_value'],
      changes.map((change) => [channel.id, nowMs, ...change]),
    );
    if (channel.kind !== kind) this.#kindChanges += 1;
    this.#channelChanges += 1;
    channel.unit = unit;
    channel.kind = kind;
    channel.changes += changes.length;
    await statements.run('update channel set unit_id = ?, kind = ?, changes = ? where id = ?', [
      await this.#unitId(statements, reading.unit),
      kind,
      channel.changes,
      channel.id,
    ]);
  }
}

/** MySQL's collations take `m` and `m ` for one key (PAD SPACE), and half a surrogate pair for a replacement character. */
function isPlain(text: string): boolean {
  return text.isWellFormed() && text === text.trimEnd();
}

function isFamiliar(type: KnownType, reading: Reading, units: ReadonlyMap<string, number>): boolean {
  return type.channels.has(reading.channel) && (reading.unit === undefined || units.has(reading.unit));
}

function valuesOf({ readings }: Snapshot): ChannelValue[] {
  return readings.map(({ value }) => value);
}

function kindOf(value: ChannelValue): ValueKind {
  return typeof value as ValueKind;
}

async function count(statements: Statements, table: 'device_type'): Promise<number> {
  const [row] = await statements.all<{ n: number }>(`select count(*) as n from ${table}`, []);
  return row?.n ?? 0;
}

async function findType(statements: Statements, name: string): Promise<KnownType | undefined> {
  const [row] = await statements.all<{ id: number }>('select id from device_type where name = ?', [name]);
  if (row === undefined) return undefined;
  const type: KnownType = { id: row.id, epoch: 0, channels: new Map() };
  await loadChannels(statements, type);
  return type;
}

async function addType(statements: Statements, name: string, nowMs: number): Promise<KnownType> {
  const id = await statements.run('insert into device_type (name, created_ms) values (?, ?)', [name, nowMs]);
  return { id, epoch: 0, channels: new Map() };
}

async function loadChannels(statements: Statements, type: KnownType): Promise<void> {
  const rows = await statements.all<{
    name: string;
    id: number;
    unit: string | null;
    kind: ValueKind;
    changes: number;
  }>(selectChannels, [type.id]);
  for (const { name, id, unit, kind, changes } of rows)
    type.channels.set(name, { id, unit: unit ?? '', kind, changes, seenBy: 0 });
  const byId = new Map(Array.from(type.channels.values(), (channel) => [channel.id, channel]));
  for (const { name, channel_id } of await statements.all<{ name: string; channel_id: number }>(
    selectAliases,
    [type.id],
  )) {
    const channel = byId.get(channel_id);
    if (channel !== undefined) type.channels.set(name, channel);
  }
}

async function ensureGroup(statements: Statements, typeId: number, name: string): Promise<number> {
  const [row] = await statements.all<{ id: number }>(
    'select id from channel_group where device_type_id = ? and name = ?',
    [typeId, name],
  );
  if (row !== undefined) return row.id;
  return statements.run('insert into channel_group (device_type_id, name) values (?, ?)', [typeId, name]);
}
