/** Everything that names a device goes through here. */
import { z } from 'zod';
import { readDevice } from '../../database/fleet.ts';
import type { DeviceRow } from '../../database/fleet.ts';
import type { Scope } from '../../database/scope.ts';
import { parseDevicePath } from '../../domain/namespace.ts';
import type { NamespacePath } from '../../domain/namespace.ts';
import { ApiError } from '../../web/api-error.ts';
import type { ApiContext } from './context.ts';

const pathLengthMax = 62;
export const pathType = z.string().max(pathLengthMax);
/** The bounds of ECMAScript's dates, so that no sum of two of them is inexact. */
export const timeType = z.coerce.number().min(-8.64e15).max(8.64e15);

/** @throws ApiError `api.not_found` if there is none, or none within the scope: nobody learns which */
export async function requireDevice(
  context: ApiContext,
  scope: Scope,
  path: string,
): Promise<DeviceRow & { readonly path: NamespacePath }> {
  const devicePath = parseDevicePath(path);
  const row = devicePath && (await readDevice(context.database, scope, devicePath));
  if (devicePath === undefined || row === undefined)
    throw new ApiError('api.not_found', 'there is no such device');
  return { ...row, path: devicePath };
}
