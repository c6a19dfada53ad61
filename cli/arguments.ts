/** What several commands take as an argument, or as that of an option. */
import { InvalidArgumentError } from 'commander';
import { parseDevicePath } from '../domain/namespace.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { endpointType } from '../runtime/config.ts';
import type { Endpoint } from '../runtime/config.ts';

export function parseDevice(text: string): NamespacePath {
  const path = parseDevicePath(text);
  if (path !== undefined) return path;
  throw new InvalidArgumentError('Wanted masterAccount/account/equipment.');
}

/** Of a peer, so its port is known. */
export function parseEndpoint(text: string): Endpoint {
  const parsed = endpointType.safeParse(text);
  if (parsed.success && parsed.data.port > 0) return parsed.data;
  throw new InvalidArgumentError('Wanted host:port.');
}

/** @returns a parser of whole numbers, 1 to `max` */
export function parseWhole(max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= 1 && value <= max) return value;
    throw new InvalidArgumentError(`Wanted a whole number, 1 to ${max}.`);
  };
}
