/** What begins as a share, or a folder of a drive. */
const WINDOWS_PATH = /^(?:\\\\|[A-Za-z]:\\)/;

/**
 * What is said of a destination that is a path of Windows where the system is another one, which would make a file of
 * that name; undefined for any other.
 */
export const foreignPath = (
  given: string,
  platform: NodeJS.Platform,
): { readonly why: string; readonly hint: string } | undefined => {
  if (platform === 'win32' || !WINDOWS_PATH.test(given)) return undefined;
  const system = platform === 'darwin' ? 'macOS' : 'Linux';
  return {
    why: `is a path of Windows; this node runs on ${system}`,
    hint: `name one like ~/x or /tmp/x; a file that is really called so is written ./${given}`,
  };
};
