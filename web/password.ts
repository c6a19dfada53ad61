/** Passwords at rest: scrypt (RFC 7914), with its parameters and a salt of its own beside each. */
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import type { ScryptOptions } from 'node:crypto';

/** OWASP's recommendation for scrypt (Password Storage Cheat Sheet): N = 2^17, r = 8, p = 1, 128 MiB. */
const cost = { N: 2 ** 17, r: 8, p: 1 };
const maxMemoryBytes = 256 * 1024 * 1024;
const keyBytes = 32;
const saltBytes = 16;

export const passwordLengthMin = 10;
export const passwordLengthMax = 200;

/** @returns `scrypt$N$r$p$salt$key`, the last two in base64url */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(saltBytes);
  const key = await derive(password, salt, cost);
  return ['scrypt', cost.N, cost.r, cost.p, salt.toString('base64url'), key.toString('base64url')].join('$');
}

/** @returns whether it is the password; false also for a hash that we did not make */
export async function isPassword(password: string, hash: string): Promise<boolean> {
  const [scheme, n, r, p, salt, key] = hash.split('$');
  if (scheme !== 'scrypt' || salt === undefined || key === undefined) return false;
  const wanted = Buffer.from(key, 'base64url');
  const options = { N: Number(n), r: Number(r), p: Number(p) };
  const found = await derive(password, Buffer.from(salt, 'base64url'), options);
  return found.length === wanted.length && timingSafeEqual(found, wanted);
}

function derive(password: string, salt: Buffer, options: ScryptOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    // NFKC, so that a password is the same from every keyboard.
    scrypt(
      password.normalize('NFKC'),
      salt,
      keyBytes,
      { ...options, maxmem: maxMemoryBytes },
      (error, key) => (error === null ? resolve(key) : reject(error)),
    );
  });
}
