/** There is no digit in the picture; the message says why. */
export class NoDigit extends Error {}

/** There is more than one. */
export class SeveralCharacters extends NoDigit {
  constructor() {
    super("several characters: lenet-zoo read reads numbers");
  }
}
