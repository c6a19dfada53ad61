/** What a person may see: everything, or one path of the namespace and what lies below it. */
import { sql } from 'kysely';
import type { RawBuilder, SqlBool } from 'kysely';

/** Empty for everything, or a namespace path. */
export type Scope = string;

/**
 * The meaning of domain/namespace.ts's `isWithin`, as ranges of an index: `0` is the character behind `/`, so all
 * that lies below `ms-acc-1` is from `ms-acc-1/` up to, and without, `ms-acc-10`.
 *
 * @param column - for example `device.path`
 */
export function within(column: string, scope: Scope): RawBuilder<SqlBool> {
  if (scope === '') return sql<SqlBool>`1 = 1`;
  const path = sql.ref(column);
  return sql<SqlBool>`(${path} = ${scope} or (${path} >= ${`${scope}/`} and ${path} < ${`${scope}0`}))`;
}

/**
 * The same for plain statements: the condition takes `scopeBounds`.
 *
 * @param column - for example `d.path`
 */
export function scopeCondition(column: string): string {
  return `(${column} = ? or (${column} >= ? and ${column} < ?))`;
}

/** @returns what stands for the condition's values; everything is from the empty text to above all letters of a path */
export function scopeBounds(scope: Scope): [string, string, string] {
  return scope === '' ? ['', '', '~'] : [scope, `${scope}/`, `${scope}0`];
}

/** Behind a `select`: the devices `d` of a type within a scope. Takes the type's id and `scopeBounds`. */
export const devicesOfType = `from device d where d.device_type_id = ? and ${scopeCondition('d.path')}`;
