/** Tables of multiples of a point, and multiplication by them. */
import { LIMBS } from './curve';
import { AFFINE, ELEMENT, JACOBIAN, affineBases, bases, digits, entry, point, sums } from './layout';
import { addAffine, double, normalize, setAffine } from './points';

const VECTORS: i32 = AFFINE / 16;

/** Reads all of the table, so that nothing tells which entry is taken. */
export function scan(table: usize, count: i32, index: i32): void {
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
export function negateEntry(mask: i32): void {
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
export function comb(p: usize, table: usize, teeth: i32, blocks: i32, columns: i32, isSecret: bool): void {
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
