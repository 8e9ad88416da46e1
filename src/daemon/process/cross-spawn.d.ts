declare module 'cross-spawn' {
  interface ParsedCommand {
    readonly command: string;
    /** What was found; undefined where nothing was. */
    readonly file: string | undefined;
    readonly args: string[];
    readonly options: { readonly windowsVerbatimArguments?: boolean };
  }
  const crossSpawn: {
    /** Windows: finds the program by PATHEXT and wraps what only cmd can start, quoted. Elsewhere: no change. */
    _parse(command: string, args: readonly string[], options: { env: object; cwd: string }): ParsedCommand;
  };
  export default crossSpawn;
}
