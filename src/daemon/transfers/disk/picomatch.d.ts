declare module 'picomatch' {
  interface Options {
    readonly dot?: boolean;
    readonly nocase?: boolean;
  }
  interface Scanned {
    readonly isGlob: boolean;
  }
  interface Picomatch {
    (pattern: string, options?: Options): (name: string) => boolean;
    scan(pattern: string): Scanned;
  }
  const picomatch: Picomatch;
  export default picomatch;
}
