/** The types of the devices that a person sees. */
import type { DeviceTypeItem } from '../domain/view.ts';
import type { Database } from './connect.ts';
import type { Scope } from './scope.ts';
import { scopeBounds, scopeCondition } from './scope.ts';
import { inSnapshot } from './statements.ts';

export const deviceTypesSql = {
  list: `select t.name, count(*) as devices from device d join device_type t on t.id = d.device_type_id
    where ${scopeCondition('d.path')} group by t.name order by t.name`,
  one: `select d.id from device_type t join device d on d.device_type_id = t.id
    where t.name = ? and ${scopeCondition('d.path')} limit 1`,
} as const;

/** @returns by name */
export async function listDeviceTypes(database: Database, scope: Scope): Promise<DeviceTypeItem[]> {
  return inSnapshot(database, async (statements) => {
    const rows = await statements.all<DeviceTypeItem>(deviceTypesSql.list, scopeBounds(scope));
    return rows.map((row) => ({ ...row }));
  });
}

/** @returns whether there is a device of the type within the scope */
export async function hasDeviceOfType(database: Database, scope: Scope, name: string): Promise<boolean> {
  return inSnapshot(database, async (statements) => {
    const rows = await statements.all(deviceTypesSql.one, [name, ...scopeBounds(scope)]);
    return rows.length > 0;
  });
}
