/**
 * The conditions on sequence flows: comparisons of a variable with a literal, joined by `and` and `or`.
 *
 *     classification = "abnormal" and (sequence > 10 or deviceType != "FM")
 *
 * A subset of FEEL (DMN 1.3 §10.3): it is read into a tree and the tree is evaluated, so a file can
 * compare, and nothing else.
 */
import { ProcessError } from './process-error.ts';

export type Scalar = string | number | boolean;
export type Variables = Readonly<Record<string, Scalar>>;

export type Comparator = '=' | '!=' | '<' | '<=' | '>' | '>=';
export type Expression =
  | {
      readonly kind: 'compare';
      readonly variable: string;
      readonly comparator: Comparator;
      readonly literal: Scalar;
    }
  | { readonly kind: 'and' | 'or'; readonly terms: readonly Expression[] };

const expressionLengthMax = 500;
const depthMax = 16;
const tokenPattern = /\s*(?:(>=|<=|!=|[=<>()])|"([^"\\]*)"|(-?\d+(?:\.\d+)?)|([A-Za-z][A-Za-z0-9]*))/y;

type Lexeme =
  | { readonly kind: 'symbol' | 'word'; readonly text: string }
  | { readonly kind: 'literal'; readonly value: Scalar };

/** @throws ProcessError `process.expression` with what was wanted */
export function parseExpression(text: string): Expression {
  if (text.length > expressionLengthMax) {
    throw new ProcessError(
      'process.expression',
      `expression has ${text.length} characters; at most ${expressionLengthMax}`,
    );
  }
  const lexemes = readLexemes(text);
  const position = { index: 0 };
  const expression = readTerms('or', lexemes, position, 0);
  if (position.index < lexemes.length) throw faultAt(lexemes, position, 'the end');
  return expression;
}

/**
 * A variable that is not there is an error rather than false: a mistyped name must not pick a branch in silence.
 *
 * @throws ProcessError `process.expression`
 */
export function evaluate(expression: Expression, variables: Variables): boolean {
  if (expression.kind !== 'compare') {
    const holds = (term: Expression): boolean => evaluate(term, variables);
    return expression.kind === 'and' ? expression.terms.every(holds) : expression.terms.some(holds);
  }
  const value = Object.hasOwn(variables, expression.variable) ? variables[expression.variable] : undefined;
  if (value === undefined) {
    throw new ProcessError('process.expression', `there is no variable "${expression.variable}"`);
  }
  return compare(value, expression.comparator, expression.literal);
}

/** Values of different types are unequal and in no order, so only `!=` holds between them. */
export function compare(value: Scalar, comparator: Comparator, other: Scalar): boolean {
  if (typeof value !== typeof other) return comparator === '!=';
  return comparisons[comparator](value, other);
}

const comparisons: Readonly<Record<Comparator, (value: Scalar, other: Scalar) => boolean>> = {
  '=': (value, other) => value === other,
  '!=': (value, other) => value !== other,
  '<': (value, other) => value < other,
  '<=': (value, other) => value <= other,
  '>': (value, other) => value > other,
  '>=': (value, other) => value >= other,
};

/** @returns the names of all variables that `expression` reads */
export function variablesOf(expression: Expression): string[] {
  return expression.kind === 'compare' ? [expression.variable] : expression.terms.flatMap(variablesOf);
}

function readLexemes(text: string): Lexeme[] {
  const lexemes: Lexeme[] = [];
  const source = text.trim();
  tokenPattern.lastIndex = 0;
  while (tokenPattern.lastIndex < source.length) {
    const start = tokenPattern.lastIndex;
    const match = tokenPattern.exec(source);
    if (match === null) {
      throw new ProcessError(
        'process.expression',
        `cannot read ${JSON.stringify(source.slice(start, start + 20))}`,
      );
    }
    const [, symbol, string, number, word] = match;
    if (symbol !== undefined) lexemes.push({ kind: 'symbol', text: symbol });
    else if (string !== undefined) lexemes.push({ kind: 'literal', value: string });
    else if (number !== undefined) lexemes.push({ kind: 'literal', value: Number(number) });
    else if (word === 'true' || word === 'false') lexemes.push({ kind: 'literal', value: word === 'true' });
    else if (word !== undefined) lexemes.push({ kind: 'word', text: word });
  }
  return lexemes;
}

function readTerms(
  joiner: 'and' | 'or',
  lexemes: readonly Lexeme[],
  position: { index: number },
  depth: number,
): Expression {
  if (depth > depthMax)
    throw new ProcessError('process.expression', `parentheses are nested more than ${depthMax} deep`);
  const readTerm = (): Expression =>
    joiner === 'or' ? readTerms('and', lexemes, position, depth) : readComparison(lexemes, position, depth);
  const first = readTerm();
  const terms = [first];
  while (isWord(lexemes[position.index], joiner)) {
    position.index++;
    terms.push(readTerm());
  }
  return terms.length === 1 ? first : { kind: joiner, terms };
}

function readComparison(lexemes: readonly Lexeme[], position: { index: number }, depth: number): Expression {
  if (isSymbol(lexemes[position.index], '(')) {
    position.index++;
    const inner = readTerms('or', lexemes, position, depth + 1);
    if (!isSymbol(lexemes[position.index], ')')) throw faultAt(lexemes, position, '")"');
    position.index++;
    return inner;
  }
  const variable = lexemes[position.index];
  if (variable?.kind !== 'word' || variable.text === 'and' || variable.text === 'or') {
    throw faultAt(lexemes, position, 'the name of a variable');
  }
  position.index++;
  const symbol = lexemes[position.index];
  const comparator = symbol?.kind === 'symbol' ? comparatorOf(symbol.text) : undefined;
  if (comparator === undefined) throw faultAt(lexemes, position, 'one of = != < <= > >=');
  position.index++;
  const literal = lexemes[position.index];
  if (literal?.kind !== 'literal')
    throw faultAt(lexemes, position, 'a text in double quotes, a number, true or false');
  position.index++;
  return { kind: 'compare', variable: variable.text, comparator, literal: literal.value };
}

const comparators: readonly Comparator[] = ['=', '!=', '<', '<=', '>', '>='];

/** @returns undefined if `text` is no comparator */
export function comparatorOf(text: string): Comparator | undefined {
  return comparators.find((known) => known === text);
}

function isWord(lexeme: Lexeme | undefined, text: string): boolean {
  return lexeme?.kind === 'word' && lexeme.text === text;
}

function isSymbol(lexeme: Lexeme | undefined, text: string): boolean {
  return lexeme?.kind === 'symbol' && lexeme.text === text;
}

function faultAt(lexemes: readonly Lexeme[], position: { index: number }, wanted: string): ProcessError {
  const found = lexemes[position.index];
  const text =
    found === undefined ? 'the end' : JSON.stringify(found.kind === 'literal' ? found.value : found.text);
  return new ProcessError('process.expression', `wanted ${wanted}, found ${text}`);
}
