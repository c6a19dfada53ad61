/** Scalars modulo n, and their digits. */
import { BITS, IMPORT_SCALAR, LIMBS, ORDER, WIDTH, add, canonicalScalar, multiplyScalars } from './curve';
import { associate, digits, exchange, otherScalar, plainX, scalar } from './layout';
import { lessMask, readInteger, writeInteger } from './octets';

/** ⌈f/2⌉ with f the bit length of n, which is that of p. */
const HALF_BITS: i32 = (BITS + 1) / 2;

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
export function recodeAssociate(count: i32): void {
  for (let position = 0; position < count; position++) {
    const bit = position + 1;
    const limb = load<i32>(plainX + 4 * (bit / WIDTH));
    store<u8>(digits + position, bit < HALF_BITS ? (limb >> (bit % WIDTH)) & 1 : bit === HALF_BITS ? 1 : 0);
  }
  store<u8>(digits + count - 1, 1);
}
