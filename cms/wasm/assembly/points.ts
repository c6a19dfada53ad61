/**
 * Formulas for points in Jacobian coordinates, (X/Z², Y/Z³) with a = −3, named as in Bernstein and Lange's
 * Explicit-Formulas Database (https://hyperelliptic.org/EFD/g1p/auto-shortw-jacobian-3.html).
 *
 * They have exceptions: the sum of two equal points or of two opposite ones. Both give Z = 0, and every formula keeps a Z
 * of 0, so one look at the end tells.
 */
import {
  INVERSION,
  INVERSION_STEPS,
  LIMBS,
  ONE,
  add,
  canonical,
  fourLess,
  less,
  lessLessTwice,
  multiply,
  nineLessEight,
  square,
  subtract,
  threeLessEight,
} from './curve';
import {
  AFFINE,
  ELEMENT,
  JACOBIAN,
  inverse,
  lazy1,
  lazy2,
  powers,
  prefixes,
  temporary1,
  temporary2,
  temporary3,
  temporary4,
  temporary5,
} from './layout';

/** dbl-2001-b, with 2YZ for Z, since (Y + Z)² does not fit: 4 multiplications and 4 squarings. */
export function double(p: usize): void {
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
export function addAffine(p: usize, q: usize): void {
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
export function addJacobian(p: usize, q: usize): void {
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

export function setAffine(p: usize, q: usize): void {
  memory.copy(p, q, 2 * ELEMENT);
  memory.copy(p + 2 * ELEMENT, ONE, ELEMENT);
}

/** All ones if the element is 0 modulo p, else 0. */
export function zeroMask(element: usize): i32 {
  canonical(temporary5, element);
  let bits: i32 = 0;
  for (let i = 0; i < LIMBS; i++) bits |= load<i32>(temporary5 + 4 * i);
  return ~((bits | -bits) >> 31);
}

/** Fermat: a^(p − 2), by the steps that the exponent, which is no secret, was resolved into. */
function invert(out: usize, a: usize): void {
  memory.copy(powers, a, ELEMENT);
  let to: usize = powers;
  for (let step = 0; step < INVERSION_STEPS; step++) {
    const at = INVERSION + 8 * step;
    to = powers + <i32>load<u16>(at, 6) * ELEMENT;
    memory.copy(temporary5, powers + <i32>load<u16>(at) * ELEMENT, ELEMENT);
    const squarings: i32 = load<u16>(at, 2);
    for (let i = 0; i < squarings; i++) square(temporary5, temporary5);
    multiply(to, temporary5, powers + <i32>load<u16>(at, 4) * ELEMENT);
  }
  memory.copy(out, to, ELEMENT);
}

/**
 * Makes Jacobian points affine with one inversion for all (Montgomery's trick).
 *
 * @returns whether that was possible: no Z is 0
 */
export function normalize(jacobian: usize, count: i32, out: usize): bool {
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
