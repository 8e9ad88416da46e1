import type { Io } from './cli.ts';

/** Questions to a person at a terminal. Undefined: the person left. */
export interface Ask {
  text(message: string, placeholder: string): Promise<string | undefined>;
  /** Default: no. `signal` takes the question back: undefined then too. */
  confirm(message: string, signal?: AbortSignal): Promise<boolean | undefined>;
}

/** A terminal that says it has no columns, as over a serial line, would get each letter on a line of its own. */
const giveSize = (terminal: NodeJS.WriteStream): void => {
  if (terminal.columns === 0) Object.assign(terminal, { columns: 80, rows: terminal.rows || 24 });
};

/** Loads the prompts when there is something to ask; undefined where nobody can answer. */
export const askPerson = async (io: Io): Promise<Ask | undefined> => {
  const stdin = io.stdin();
  if (stdin.kind === 'none' || !('isTTY' in stdin.stream) || stdin.stream.isTTY !== true || io.stdout.isTTY !== true)
    return undefined;
  giveSize(process.stdout);
  const { confirm, isCancel, text } = await import('@clack/prompts');
  return {
    text: async (message, placeholder) => {
      const answer = await text({
        message,
        placeholder,
        validate: (value) => ((value ?? '').trim() === '' ? 'type something' : undefined),
      });
      return isCancel(answer) ? undefined : answer.trim();
    },
    confirm: async (message, signal) => {
      const answer = await confirm({ message, initialValue: false, ...(signal === undefined ? {} : { signal }) });
      return isCancel(answer) ? undefined : answer;
    },
  };
};
