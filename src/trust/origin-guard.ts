import type { ErrorName } from '../protocol/errors.ts';

/** What a browser, or a page in it, may have put on a request. As Node gives them: more than one value is a list. */
export interface OriginHeaders {
  readonly host?: string | readonly string[] | undefined;
  readonly origin?: string | readonly string[] | undefined;
  readonly 'sec-fetch-site'?: string | readonly string[] | undefined;
  readonly 'sec-fetch-mode'?: string | readonly string[] | undefined;
  readonly 'sec-fetch-dest'?: string | readonly string[] | undefined;
}

/** A request over plain HTTP on loopback. */
export interface OriginRequest {
  readonly method: string;
  readonly headers: OriginHeaders;
  /** True where the path is one of the page's own files, which hold nothing secret. */
  readonly pageFile: boolean;
}

/** Why a request is not served. */
export interface OriginRefusal {
  readonly error: Extract<ErrorName, 'foreign_origin'>;
  readonly message: string;
}

const OWN_HOST = /^(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]{1,5})?$/i;

const refuse = (message: string): OriginRefusal => ({ error: 'foreign_origin', message });

/** A link on any page, or a bookmark, may lead to the page's files: as a whole document, never inside another page. */
const isPlainNavigation = ({ method, headers, pageFile }: OriginRequest): boolean =>
  pageFile &&
  method === 'GET' &&
  headers.origin === undefined &&
  headers['sec-fetch-mode'] === 'navigate' &&
  headers['sec-fetch-dest'] === 'document';

/**
 * Decides whether a request on loopback comes from a program, or from our own page, and not from a foreign page or
 * through a foreign name (DNS rebinding). Pure; fail closed. @returns `undefined` where it is served.
 */
export const guardOrigin = (request: OriginRequest): OriginRefusal | undefined => {
  const { host, origin, 'sec-fetch-site': site } = request.headers;
  if (typeof host !== 'string' || !OWN_HOST.test(host)) return refuse('the Host of this request is not this node');
  const sameOrigin = typeof origin === 'string' && origin.toLowerCase() === `http://${host.toLowerCase()}`;
  if (origin !== undefined && !sameOrigin) return refuse('the Origin of this request is another page');
  if (site === undefined || site === 'same-origin' || site === 'none') return undefined;
  return isPlainNavigation(request) ? undefined : refuse('a page of another origin made this request');
};
