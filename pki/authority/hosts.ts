/** Host names and addresses for the alternative names of a broker's certificate. */
import { isIPv4, isIPv6 } from 'node:net';
import { PkiError } from '../errors.ts';
import { alternativeNames } from './encode.ts';
import type { Extension } from '../extensions.ts';

const hostsMax = 64;
const dnsName = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i;

/**
 * @param hosts - DNS names (no wildcards), IPv4 and IPv6 addresses; at least one
 * @throws PkiError `pki.malformed_request`
 */
export function alternativeNamesOf(hosts: readonly string[]): Extension {
  if (hosts.length > hostsMax)
    throw new PkiError('pki.malformed_request', `more than ${hostsMax} host names`);
  const addresses = hosts.filter((host) => isIPv4(host) || isIPv6(host));
  const names = hosts.filter((host) => !addresses.includes(host));
  const wrong = names.find((name) => !dnsName.test(name) || /^[\d.]+$/.test(name));
  if (wrong !== undefined) {
    throw new PkiError(
      'pki.malformed_request',
      `${JSON.stringify(wrong)} is neither a host name nor an address`,
    );
  }
  return alternativeNames(names, addresses.map(octetsOf));
}

function octetsOf(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  const [plain = ''] = address.split('%');
  const withHexTail = plain.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...parts) => {
    const [a = 0, b = 0, c = 0, d = 0] = parts.slice(0, 4).map(Number);
    return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
  });
  const [head = '', tail] = withHexTail.split('::');
  const left = groupsOf(head);
  const right = groupsOf(tail);
  const middle = Array.from({ length: 8 - left.length - right.length }, () => '0');
  return Buffer.from([...left, ...middle, ...right].map((group) => group.padStart(4, '0')).join(''), 'hex');
}

function groupsOf(part: string | undefined): string[] {
  return part === undefined || part === '' ? [] : part.split(':');
}
