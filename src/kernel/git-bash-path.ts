/** Git Bash writes `/c/x` for `C:/x`; what it writes is given back as Windows knows it, anything else as it is. */
export const fromGitBash = (path: string): string =>
  path.replace(/^\/([A-Za-z])(?:\/|$)/, (_, letter: string) => `${letter.toUpperCase()}:/`);
