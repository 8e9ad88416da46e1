/** An option. Without `value` it is a switch. */
export interface OptionSpec {
  readonly name: string;
  readonly short?: string;
  /** How help names its value. */
  readonly value?: string;
  readonly repeat?: true;
  readonly summary: string;
}

/** A positional argument. */
export interface ArgSpec {
  readonly name: string;
  readonly optional?: true;
  /** One or more of it. */
  readonly repeat?: true;
  /** The rest of the line, word by word and never parsed: a command for another machine. */
  readonly verbatim?: true;
  /** A path of another machine: no shell here can complete it. */
  readonly remote?: true;
  /** An option that stands in its place: behind that one, it is left out. */
  readonly replacedBy?: string;
  /** The only words that it may be. */
  readonly choices?: readonly string[];
}

/** An example: what to type, and what it does. */
type Example = readonly [line: string, does: string];

/** One command. */
export interface CommandSpec {
  /** Its words, e.g. `peers add`. */
  readonly path: string;
  readonly summary: string;
  readonly args?: readonly ArgSpec[];
  readonly options?: readonly OptionSpec[];
  readonly examples: readonly Example[];
  /** More than the summary says, for help. */
  readonly details?: string;
}
