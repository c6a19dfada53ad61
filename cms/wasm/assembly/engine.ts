/**
 * Multiplication of points by scalars on one curve, for ECMQV. AssemblyScript, compiled once per curve over the field
 * arithmetic that `scripts/wasm/generate.ts` writes as `./curve`; `../wasm-engine.ts` is the only caller.
 *
 * What a secret scalar touches has no branch and no address that depends on it: its digits are signs, never 0, and a table
 * entry is found by reading all of them. Functions of public values say so. Where the formulas have an exception (see
 * `points.ts`), there is no result, and the caller computes anew by other ones; with a secret scalar, which is random, the
 * chance of that is below 2^−240.
 */
import {
  B,
  COORDINATE_BYTES,
  EXPORT_X,
  EXPORT_Y,
  IMPORT_X,
  IMPORT_Y,
  INVERSION_SLOTS,
  MODULUS,
  ONE,
  canonical,
  less,
  multiply,
  square,
  subtract,
} from './curve';
import {
  AFFINE,
  BASES_MAX,
  DIGITS_MAX,
  ELEMENT,
  JACOBIAN,
  WINDOW,
  WINDOWS,
  WINDOW_ENTRIES,
  affineBases,
  bases,
  digits,
  entry,
  exchange,
  inverse,
  lazy1,
  lazy2,
  otherScalar,
  plainX,
  point,
  powers,
  prefixes,
  scalar,
  sums,
  temporary1,
  temporary2,
  temporary3,
  temporary4,
  temporary5,
  windowTable,
} from './layout';
import { addAffine, addJacobian, double, normalize, setAffine, zeroMask } from './points';
import { lessMask, readInteger, writeInteger } from './octets';
import { recode, recodeAssociate } from './scalars';
import { comb, negateEntry, scan } from './combs';

export { exchange, freeMemory, point } from './layout';
export { makeComb } from './combs';
export { addAssociated, readScalar, recode } from './scalars';

export const affineBytes: i32 = AFFINE;

/**
 * Reads x and y from `exchange` into `point`. Public.
 *
 * @returns whether that is a point of the curve with reduced coordinates
 */
export function readPoint(): bool {
  readInteger(plainX, exchange);
  readInteger(temporary1, exchange + COORDINATE_BYTES);
  if ((lessMask(plainX, MODULUS) & lessMask(temporary1, MODULUS)) === 0) return false;
  multiply(point, plainX, IMPORT_X);
  multiply(point + ELEMENT, temporary1, IMPORT_Y);
  // y² = (x² − 3)·x + b
  square(temporary1, point);
  subtract(lazy1, temporary1, ONE);
  subtract(lazy1, lazy1, ONE);
  less(temporary1, lazy1, ONE);
  multiply(temporary1, temporary1, point);
  square(temporary2, point + ELEMENT);
  subtract(lazy1, temporary2, temporary1);
  less(temporary1, lazy1, B);
  return zeroMask(temporary1) !== 0;
}

/** The digits · (the comb's point), as the sum number `index`. The digits are as many as the comb takes. */
export function multiplyFixed(index: i32, table: usize, teeth: i32, blocks: i32, columns: i32): void {
  comb(sums + index * JACOBIAN, table, teeth, blocks, columns, true);
}

/** point + avf(point) · (the comb's point), as the sum number 0. Public. */
export function addImplicit(combPoint: usize, table: usize, teeth: i32, blocks: i32, columns: i32): void {
  recodeAssociate(teeth * blocks * columns);
  comb(sums, table, teeth, blocks, columns, false);
  if ((load<i32>(plainX) & 1) === 0) {
    memory.copy(entry, combPoint, AFFINE);
    negateEntry(-1);
    addAffine(sums, entry);
  }
  addAffine(sums, point);
}

/**
 * scalar · (the sum number 0), as the sum number 0, up to the sign of y: by windows of 5 digits, that is, odd multiples up
 * to 31 with a sign.
 *
 * @returns whether there was no exception in the table, which is public
 */
export function multiplySum(): bool {
  memory.copy(bases, sums, JACOBIAN);
  memory.copy(sums + WINDOW_ENTRIES * JACOBIAN, sums, JACOBIAN);
  const twice = sums + WINDOW_ENTRIES * JACOBIAN;
  double(twice);
  for (let i = 1; i < WINDOW_ENTRIES; i++) {
    memory.copy(sums + i * JACOBIAN, sums + (i - 1) * JACOBIAN, JACOBIAN);
    addJacobian(sums + i * JACOBIAN, twice);
  }
  if (!normalize(sums, WINDOW_ENTRIES, windowTable)) return false;
  recode(WINDOWS * WINDOW);
  for (let window = WINDOWS - 1; window >= 0; window--) {
    const at = digits + window * WINDOW;
    let index: i32 = 0;
    for (let i = 0; i < WINDOW - 1; i++) index |= (<i32>load<u8>(at + i)) << i;
    const minus: i32 = <i32>load<u8>(at + WINDOW - 1) - 1;
    scan(windowTable, WINDOW_ENTRIES, (index ^ minus) & (WINDOW_ENTRIES - 1));
    negateEntry(minus);
    if (window === WINDOWS - 1) {
      setAffine(sums, entry);
    } else {
      for (let i = 0; i < WINDOW; i++) double(sums);
      addAffine(sums, entry);
    }
  }
  return true;
}

/**
 * Writes the first `count` sums to `exchange`, x and y of each, and the first to `point`.
 *
 * @returns whether all of them are points: neither infinity nor an exception
 */
export function writeSums(count: i32): bool {
  const affine = affineBases;
  let written: i32 = 0;
  while (written < count) {
    const batch = min(count - written, 2 * BASES_MAX);
    if (!normalize(sums + written * JACOBIAN, batch, affine)) return false;
    for (let i = 0; i < batch; i++) {
      const q = affine + i * AFFINE;
      const octets = exchange + (written + i) * 2 * COORDINATE_BYTES;
      multiply(temporary1, q, EXPORT_X);
      canonical(temporary1, temporary1);
      writeInteger(octets, temporary1);
      if (written + i === 0) {
        memory.copy(plainX, temporary1, ELEMENT);
        memory.copy(point, q, AFFINE);
      }
      multiply(temporary1, q + ELEMENT, EXPORT_Y);
      canonical(temporary1, temporary1);
      writeInteger(octets + COORDINATE_BYTES, temporary1);
    }
    written += batch;
  }
  return true;
}

/** Negates `point`, and y of the first result in `exchange`, if the mask is all ones. */
export function negateFirst(mask: i32): void {
  memory.copy(entry, point, AFFINE);
  negateEntry(mask);
  memory.copy(point, entry, AFFINE);
  multiply(temporary1, point + ELEMENT, EXPORT_Y);
  canonical(temporary1, temporary1);
  writeInteger(exchange + COORDINATE_BYTES, temporary1);
}

/** Erases whatever a secret was computed in, `exchange` included. */
export function wipe(count: i32): void {
  memory.fill(exchange, 0, <usize>(count * 2 * COORDINATE_BYTES));
  memory.fill(sums, 0, <usize>(count * JACOBIAN));
  memory.fill(lazy1, 0, ELEMENT);
  memory.fill(lazy2, 0, ELEMENT);
  memory.fill(temporary1, 0, ELEMENT);
  memory.fill(temporary2, 0, ELEMENT);
  memory.fill(temporary3, 0, ELEMENT);
  memory.fill(temporary4, 0, ELEMENT);
  memory.fill(temporary5, 0, ELEMENT);
  memory.fill(powers, 0, INVERSION_SLOTS * ELEMENT);
  memory.fill(inverse, 0, ELEMENT);
  memory.fill(prefixes, 0, <usize>(count * ELEMENT));
  memory.fill(affineBases, 0, 2 * BASES_MAX * AFFINE);
  memory.fill(scalar, 0, ELEMENT);
  memory.fill(otherScalar, 0, ELEMENT);
  memory.fill(digits, 0, DIGITS_MAX);
  memory.fill(entry, 0, AFFINE);
}
