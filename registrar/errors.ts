/** Why a request is refused, and why nothing is answered yet. */
export class RefusalError extends Error {
  override readonly name = 'RefusalError';
}

/** What came cannot be kept now, such as on a full disk. Whoever asked is not told: it is tried again. */
export class PostponedError extends Error {
  override readonly name = 'PostponedError';
}
