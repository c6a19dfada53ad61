/** Everything that names a device goes through here. */
import { z } from 'zod';
import { hasDeviceOfType } from '../../database/device-types.ts';
import { readDevice } from '../../database/fleet.ts';
import type { Scope } from '../../database/scope.ts';
import { parseDevicePath } from '../../domain/namespace.ts';
import type { NamespacePath } from '../../domain/namespace.ts';
import type { FleetRow } from '../../domain/view.ts';
import { ApiError } from '../../web/api-error.ts';
import type { ApiContext } from './context.ts';

const pathLengthMax = 62;
export const pathType = z.string().max(pathLengthMax);
export const deviceTypeType = z.string().min(1).max(64);
/** The bounds of ECMAScript's dates, so that no sum of two of them is inexact. */
export const timeType = z.coerce.number().min(-8.64e15).max(8.64e15);

/** @throws ApiError `api.not_found` if there is none, or none within the scope: nobody learns which */
export async function requireDevice(
  context: ApiContext,
  scope: Scope,
  path: string,
): Promise<FleetRow & { readonly path: NamespacePath }> {
  const devicePath = parseDevicePath(path);
  const row = devicePath && (await readDevice(context.database, scope, devicePath, context.clock()));
  if (devicePath === undefined || row === undefined)
    throw new ApiError('api.not_found', 'there is no such device');
  return { ...row, path: devicePath };
}

/** @throws ApiError `api.not_found` if no device of the type is within the scope, whether or not there is one elsewhere */
export async function requireDeviceType(context: ApiContext, scope: Scope, name: string): Promise<void> {
  if (!(await hasDeviceOfType(context.database, scope, name)))
    throw new ApiError('api.not_found', 'there is no such device type');
}
