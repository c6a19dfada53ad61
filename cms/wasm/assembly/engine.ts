/**
 * Multiplication of points by scalars on one curve, for ECMQV. AssemblyScript, compiled once per curve over the field
 * arithmetic that `generate.ts` writes as `./curve`; `engine.ts` one folder up is the only caller.
 *
 * Points are in Jacobian coordinates, (X/Z², Y/Z³) with a = −3, and in tables affine. The formulas, under the names of
 * Bernstein and Lange's Explicit-Formulas Database (https://hyperelliptic.org/EFD/g1p/auto-shortw-jacobian-3.html), have
 * exceptions: the sum of two equal points or of two opposite ones. Both give Z = 0, and every formula keeps a Z of 0, so
 * one look at the end tells, and the caller then computes anew with complete formulas. It takes a scalar out of 2^250 to
 * see that where the scalar is secret.
 *
 * What a secret scalar touches has no branch and no address that depends on it: its digits are signs, never 0, and a table
 * entry is found by reading all of them. Functions of public values say so.
 */
import {
  B,
  BITS,
  COORDINATE_BYTES,
  EXPORT_X,
  EXPORT_Y,
  IMPORT_SCALAR,
  IMPORT_X,
  IMPORT_Y,
  INVERSION_EXPONENT,
  INVERSION_EXPONENT_DIGITS,
  LIMBS,
  MODULUS,
  ONE,
  ORDER,
  WIDTH,
  add,
  canonical,
  canonicalScalar,
  fourLess,
  less,
  lessLessTwice,
  multiply,
  multiplyScalars,
  nineLessEight,
  square,
  subtract,
  threeLessEight,
} from './curve';

const ELEMENT: i32 = 4 * LIMBS;
const AFFINE: i32 = (2 * ELEMENT + 15) & ~15;
const VECTORS: i32 = AFFINE / 16;
const JACOBIAN: i32 = 3 * ELEMENT;
const HALF_BITS: i32 = (BITS + 1) / 2;

// The largest comb has 6 teeth and 4 blocks.
const BASES_MAX: i32 = 24;
const POINTS_MAX: i32 = 128;
const DIGITS_MAX: i32 = 640;
const WINDOW: i32 = 5;
const WINDOW_ENTRIES: i32 = 1 << (WINDOW - 1);
const WINDOWS: i32 = (BITS + WINDOW - 1) / WINDOW;

/** Octets in and out; all integers in them are big-endian and as long as a coordinate. */
export const exchange: usize = memory.data(POINTS_MAX * 2 * 66, 16);
/** A point read or made here, affine. */
export const point: usize = memory.data(AFFINE, 16);
export const affineBytes: i32 = AFFINE;

const lazy1: usize = memory.data(ELEMENT, 16);
const lazy2: usize = memory.data(ELEMENT, 16);
const temporary1: usize = memory.data(ELEMENT, 16);
const temporary2: usize = memory.data(ELEMENT, 16);
const temporary3: usize = memory.data(ELEMENT, 16);
const temporary4: usize = memory.data(ELEMENT, 16);
const temporary5: usize = memory.data(ELEMENT, 16);
const powers: usize = memory.data(16 * ELEMENT, 16);
const inverse: usize = memory.data(ELEMENT, 16);
const prefixes: usize = memory.data(POINTS_MAX * ELEMENT, 16);
const littleEndian: usize = memory.data(96, 16);

/** The x coordinate of `point` as it came or goes, canonical and not in Montgomery form: what avf looks at. */
const plainX: usize = memory.data(ELEMENT, 16);
const scalar: usize = memory.data(ELEMENT, 16);
const otherScalar: usize = memory.data(ELEMENT, 16);
const associate: usize = memory.data(ELEMENT, 16);
/** One octet per binary digit, 1 for plus and 0 for minus, the lowest first. */
const digits: usize = memory.data(DIGITS_MAX, 16);
const entry: usize = memory.data(AFFINE, 16);

const sums: usize = memory.data(POINTS_MAX * JACOBIAN, 16);
const bases: usize = memory.data(2 * BASES_MAX * JACOBIAN, 16);
const affineBases: usize = memory.data(2 * BASES_MAX * AFFINE, 16);
const windowTable: usize = memory.data(WINDOW_ENTRIES * AFFINE, 16);

/** Where tables may begin. */
export function freeMemory(): usize {
  return (__heap_base + 15) & ~15;
}

// --- Points

/** dbl-2001-b, with 2YZ for Z: 4 multiplications and 4 squarings. */
function double(p: usize): void {
  const x = p;
  const y = p + ELEMENT;
  const z = p + 2 * ELEMENT;
  square(temporary1, z);
  square(temporary2, y);
  multiply(temporary3, x, temporary2);
  subtract(lazy1, x, temporary1);
  add(lazy2, x, temporary1);
  multiply(temporary1, lazy1, lazy2); // α/3
  add(lazy1, y, y);
  multiply(z, lazy1, z);
  square(temporary4, temporary1);
  nineLessEight(x, temporary4, temporary3);
  fourLess(temporary3, temporary3, x);
  multiply(temporary3, temporary1, temporary3);
  square(temporary2, temporary2);
  threeLessEight(y, temporary3, temporary2);
}

/** madd-2004-hmv: p + q for an affine q; 8 multiplications and 3 squarings. */
function addAffine(p: usize, q: usize): void {
  const x = p;
  const y = p + ELEMENT;
  const z = p + 2 * ELEMENT;
  square(temporary1, z);
  multiply(temporary2, q, temporary1);
  multiply(temporary1, temporary1, z);
  multiply(temporary1, temporary1, q + ELEMENT);
  subtract(lazy1, temporary2, x);
  subtract(lazy2, temporary1, y);
  multiply(z, z, lazy1);
  square(temporary1, lazy1);
  multiply(temporary2, lazy1, temporary1);
  multiply(temporary3, x, temporary1);
  square(temporary1, lazy2);
  lessLessTwice(x, temporary1, temporary2, temporary3);
  subtract(lazy1, temporary3, x);
  multiply(temporary1, lazy1, lazy2);
  multiply(temporary2, y, temporary2);
  less(y, temporary1, temporary2);
}

/** add-1998-cmo-2: p + q for a Jacobian q; 12 multiplications and 4 squarings. */
function addJacobian(p: usize, q: usize): void {
  const x = p;
  const y = p + ELEMENT;
  const z = p + 2 * ELEMENT;
  const otherZ = q + 2 * ELEMENT;
  square(temporary1, z);
  square(temporary2, otherZ);
  multiply(temporary3, x, temporary2); // U1
  multiply(temporary4, q, temporary1); // U2
  multiply(temporary1, temporary1, z);
  multiply(temporary1, temporary1, q + ELEMENT); // S2
  multiply(temporary2, temporary2, otherZ);
  multiply(temporary2, temporary2, y); // S1
  subtract(lazy1, temporary4, temporary3);
  subtract(lazy2, temporary1, temporary2);
  multiply(z, z, otherZ);
  multiply(z, z, lazy1);
  square(temporary1, lazy1);
  multiply(temporary4, lazy1, temporary1);
  multiply(temporary3, temporary3, temporary1);
  square(temporary1, lazy2);
  lessLessTwice(x, temporary1, temporary4, temporary3);
  subtract(lazy1, temporary3, x);
  multiply(temporary1, lazy1, lazy2);
  multiply(temporary2, temporary2, temporary4);
  less(y, temporary1, temporary2);
}

function setAffine(p: usize, q: usize): void {
  memory.copy(p, q, 2 * ELEMENT);
  memory.copy(p + 2 * ELEMENT, ONE, ELEMENT);
}

/** All ones if the element is 0 modulo p, else 0. */
function zeroMask(element: usize): i32 {
  canonical(temporary5, element);
  let bits: i32 = 0;
  for (let i = 0; i < LIMBS; i++) bits |= load<i32>(temporary5 + 4 * i);
  return ~((bits | -bits) >> 31);
}

/** Fermat: a^(p − 2), by windows of 4 digits of the exponent, which is no secret. */
function invert(out: usize, a: usize): void {
  memory.copy(powers, ONE, ELEMENT);
  for (let i = 1; i < 16; i++) multiply(powers + i * ELEMENT, powers + (i - 1) * ELEMENT, a);
  memory.copy(temporary5, powers + <i32>load<u8>(INVERSION_EXPONENT) * ELEMENT, ELEMENT);
  for (let i = 1; i < INVERSION_EXPONENT_DIGITS; i++) {
    square(temporary5, temporary5);
    square(temporary5, temporary5);
    square(temporary5, temporary5);
    square(temporary5, temporary5);
    multiply(temporary5, temporary5, powers + <i32>load<u8>(INVERSION_EXPONENT + i) * ELEMENT);
  }
  memory.copy(out, temporary5, ELEMENT);
}

/**
 * Makes Jacobian points affine with one inversion for all (Montgomery's trick).
 *
 * @returns whether that was possible: no Z is 0
 */
function normalize(jacobian: usize, count: i32, out: usize): bool {
  memory.copy(prefixes, jacobian + 2 * ELEMENT, ELEMENT);
  for (let i = 1; i < count; i++) {
    multiply(prefixes + i * ELEMENT, prefixes + (i - 1) * ELEMENT, jacobian + i * JACOBIAN + 2 * ELEMENT);
  }
  const product = prefixes + (count - 1) * ELEMENT;
  if (zeroMask(product) !== 0) return false;
  invert(inverse, product);
  for (let i = count - 1; i >= 0; i--) {
    const p = jacobian + i * JACOBIAN;
    const q = out + i * AFFINE;
    if (i > 0) {
      multiply(temporary1, inverse, prefixes + (i - 1) * ELEMENT);
      multiply(inverse, inverse, p + 2 * ELEMENT);
    } else {
      memory.copy(temporary1, inverse, ELEMENT);
    }
    square(temporary2, temporary1);
    multiply(q, p, temporary2);
    multiply(temporary2, temporary2, temporary1);
    multiply(q + ELEMENT, p + ELEMENT, temporary2);
  }
  return true;
}

// --- Octets

function readInteger(out: usize, octets: usize): void {
  for (let i = 0; i < COORDINATE_BYTES; i++) {
    store<u8>(littleEndian + i, load<u8>(octets + COORDINATE_BYTES - 1 - i));
  }
  for (let i = 0; i < LIMBS; i++) {
    const bit = i * WIDTH;
    const word = load<u64>(littleEndian + (bit >> 3)) >> (bit & 7);
    store<i32>(out + 4 * i, <i32>(word & ((1 << WIDTH) - 1)));
  }
}

/** @param a - canonical */
function writeInteger(octets: usize, a: usize): void {
  memory.fill(littleEndian, 0, 96);
  for (let i = 0; i < LIMBS; i++) {
    const bit = i * WIDTH;
    const at = littleEndian + (bit >> 3);
    store<u64>(at, load<u64>(at) | ((<u64>load<i32>(a + 4 * i)) << (bit & 7)));
  }
  for (let i = 0; i < COORDINATE_BYTES; i++) {
    store<u8>(octets + COORDINATE_BYTES - 1 - i, load<u8>(littleEndian + i));
  }
  memory.fill(littleEndian, 0, 96);
}

/** All ones if a is less than b, both with limbs that are not negative. */
function lessMask(a: usize, b: usize): i32 {
  let carry: i32 = 0;
  for (let i = 0; i < LIMBS; i++) {
    carry = (load<i32>(a + 4 * i) - load<i32>(b + 4 * i) + carry) >> WIDTH;
  }
  return carry;
}

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

// --- Scalars

/**
 * Reads a scalar from `exchange`.
 *
 * @returns 1 if it is from 1 to n − 1, else 0
 */
export function readScalar(): i32 {
  readInteger(scalar, exchange);
  return lessMask(scalar, ORDER) & ~isZeroScalar(scalar) & 1;
}

function isZeroScalar(a: usize): i32 {
  let bits: i32 = 0;
  for (let i = 0; i < LIMBS; i++) bits |= load<i32>(a + 4 * i);
  return ~((bits | -bits) >> 31);
}

/**
 * scalar + avf(point)·d mod n, where d is read from `exchange`, stands in for the scalar, and is written to `exchange`.
 * The associate value (SP 800-56A §5.7.2.2) is the lower half of the x coordinate with the bit above it set.
 *
 * @returns 0 if that is 0
 */
export function addAssociated(): i32 {
  readInteger(otherScalar, exchange);
  for (let i = 0; i < LIMBS; i++) {
    const above = HALF_BITS - i * WIDTH;
    const limb = load<i32>(plainX + 4 * i);
    const kept = above >= WIDTH ? limb : above > 0 ? limb & ((1 << above) - 1) : 0;
    store<i32>(associate + 4 * i, above >= 0 && above < WIDTH ? kept | (1 << above) : kept);
  }
  multiplyScalars(associate, associate, IMPORT_SCALAR);
  multiplyScalars(otherScalar, associate, otherScalar);
  canonicalScalar(otherScalar, otherScalar);
  add(otherScalar, otherScalar, scalar);
  canonicalScalar(scalar, otherScalar);
  writeInteger(exchange, scalar);
  return ~isZeroScalar(scalar) & 1;
}

/**
 * Writes `count` digits, each plus or minus 1, whose sum by weight is the scalar if that is odd, and n − scalar if not
 * (n is odd). Such a sum is Σ (2tᵢ − 1)·2ⁱ = 2t − (2^count − 1), so t is (scalar − 1)/2 with the bit count − 1 set.
 *
 * @returns all ones if it is n − scalar, so that the product's opposite results
 */
export function recode(count: i32): i32 {
  const even: i32 = (load<i32>(scalar) & 1) - 1;
  let carry: i32 = 0;
  let next = digits - 1;
  const end = digits + count - 1;
  for (let i = 0; i < LIMBS; i++) {
    const limb = load<i32>(scalar + 4 * i);
    carry += load<i32>(ORDER + 4 * i) - limb;
    const opposite = carry & ((1 << WIDTH) - 1);
    carry >>= WIDTH;
    const chosen = limb ^ ((limb ^ opposite) & even);
    for (let bit = 0; bit < WIDTH && next < end; bit++) {
      // The lowest bit, which is 1, falls just before the digits.
      if (next >= digits) store<u8>(next, (chosen >> bit) & 1);
      next++;
    }
  }
  while (next < end) store<u8>(next++, 0);
  store<u8>(end, 1);
  return even;
}

/** The same for avf(point), made odd by setting its lowest bit. Public. */
function recodeAssociate(count: i32): void {
  for (let position = 0; position < count; position++) {
    const bit = position + 1;
    const limb = load<i32>(plainX + 4 * (bit / WIDTH));
    store<u8>(digits + position, bit < HALF_BITS ? (limb >> (bit % WIDTH)) & 1 : bit === HALF_BITS ? 1 : 0);
  }
  store<u8>(digits + count - 1, 1);
}

// --- Combs

/** Reads all of the table, so that nothing tells which entry is taken. */
function scan(table: usize, count: i32, index: i32): void {
  let v0 = i32x4.splat(0);
  let v1 = v0;
  let v2 = v0;
  let v3 = v0;
  let v4 = v0;
  let v5 = v0;
  let v6 = v0;
  let v7 = v0;
  let v8 = v0;
  let v9 = v0;
  let at = table;
  for (let i = 0; i < count; i++) {
    const mask = i32x4.eq(i32x4.splat(i), i32x4.splat(index));
    v0 = v128.or(v0, v128.and(v128.load(at, 0), mask));
    v1 = v128.or(v1, v128.and(v128.load(at, 16), mask));
    v2 = v128.or(v2, v128.and(v128.load(at, 32), mask));
    v3 = v128.or(v3, v128.and(v128.load(at, 48), mask));
    v4 = v128.or(v4, v128.and(v128.load(at, 64), mask));
    if (VECTORS > 5) v5 = v128.or(v5, v128.and(v128.load(at, 80), mask));
    if (VECTORS > 6) v6 = v128.or(v6, v128.and(v128.load(at, 96), mask));
    if (VECTORS > 7) v7 = v128.or(v7, v128.and(v128.load(at, 112), mask));
    if (VECTORS > 8) v8 = v128.or(v8, v128.and(v128.load(at, 128), mask));
    if (VECTORS > 9) v9 = v128.or(v9, v128.and(v128.load(at, 144), mask));
    at += AFFINE;
  }
  v128.store(entry, v0, 0);
  v128.store(entry, v1, 16);
  v128.store(entry, v2, 32);
  v128.store(entry, v3, 48);
  v128.store(entry, v4, 64);
  if (VECTORS > 5) v128.store(entry, v5, 80);
  if (VECTORS > 6) v128.store(entry, v6, 96);
  if (VECTORS > 7) v128.store(entry, v7, 112);
  if (VECTORS > 8) v128.store(entry, v8, 128);
  if (VECTORS > 9) v128.store(entry, v9, 144);
}

/** Negates y of `entry` if the mask is all ones. */
function negateEntry(mask: i32): void {
  for (let i = 0; i < LIMBS; i++) {
    const limb = load<i32>(entry + ELEMENT + 4 * i);
    store<i32>(entry + ELEMENT + 4 * i, (limb ^ mask) - mask);
  }
}

/**
 * Lim and Lee's comb ("More flexible exponentiation with precomputation", CRYPTO '94) over the digits: they are laid out
 * in rows, one per tooth, and the rows are cut into blocks of columns. A table per block has the rows' points summed with
 * every choice of signs, the highest row's being plus; the other half is their opposites.
 *
 * @param isSecret - whether the digits are
 */
function comb(p: usize, table: usize, teeth: i32, blocks: i32, columns: i32, isSecret: bool): void {
  const entries = 1 << (teeth - 1);
  const rowDigits = blocks * columns;
  let isFirst = true;
  for (let column = columns - 1; column >= 0; column--) {
    if (!isFirst) double(p);
    for (let block = 0; block < blocks; block++) {
      let at = digits + block * columns + column;
      let index: i32 = 0;
      for (let tooth = 0; tooth < teeth - 1; tooth++) {
        index |= (<i32>load<u8>(at)) << tooth;
        at += rowDigits;
      }
      const minus: i32 = <i32>load<u8>(at) - 1;
      index = (index ^ minus) & (entries - 1);
      const blockTable = table + block * entries * AFFINE;
      if (isSecret) scan(blockTable, entries, index);
      else memory.copy(entry, blockTable + index * AFFINE, AFFINE);
      negateEntry(minus);
      if (isFirst) setAffine(p, entry);
      else addAffine(p, entry);
      isFirst = false;
    }
  }
}

/**
 * Makes the tables of a comb for `point`. Public.
 *
 * @param table - blocks · 2^(teeth − 1) · affineBytes octets of memory
 * @returns whether there was no exception: which depends on the order and the shape only
 */
export function makeComb(table: usize, teeth: i32, blocks: i32, columns: i32): bool {
  const count = teeth * blocks;
  setAffine(sums, point);
  for (let i = 0; i < count; i++) {
    memory.copy(bases + i * JACOBIAN, sums, JACOBIAN);
    for (let column = 0; column < columns; column++) {
      double(sums);
      if (column === 0) memory.copy(bases + (count + i) * JACOBIAN, sums, JACOBIAN);
    }
  }
  if (!normalize(bases, 2 * count, affineBases)) return false;
  const entries = 1 << (teeth - 1);
  for (let block = 0; block < blocks; block++) {
    const first = sums + block * entries * JACOBIAN;
    setAffine(first, affineBases + ((teeth - 1) * blocks + block) * AFFINE);
    for (let tooth = 0; tooth < teeth - 1; tooth++) {
      memory.copy(entry, affineBases + (tooth * blocks + block) * AFFINE, AFFINE);
      negateEntry(-1);
      addAffine(first, entry);
    }
    for (let tooth = 0; tooth < teeth - 1; tooth++) {
      const twice = affineBases + (count + tooth * blocks + block) * AFFINE;
      for (let index = 0; index < 1 << tooth; index++) {
        const sum = first + ((1 << tooth) + index) * JACOBIAN;
        memory.copy(sum, first + index * JACOBIAN, JACOBIAN);
        addAffine(sum, twice);
      }
    }
  }
  return normalize(sums, blocks * entries, table);
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

// --- Results

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
  memory.fill(powers, 0, 16 * ELEMENT);
  memory.fill(inverse, 0, ELEMENT);
  memory.fill(prefixes, 0, <usize>(count * ELEMENT));
  memory.fill(affineBases, 0, 2 * BASES_MAX * AFFINE);
  memory.fill(scalar, 0, ELEMENT);
  memory.fill(otherScalar, 0, ELEMENT);
  memory.fill(digits, 0, DIGITS_MAX);
  memory.fill(entry, 0, AFFINE);
}
