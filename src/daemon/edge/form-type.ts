import { LoopsyError } from '../../protocol/errors.ts';

/** RFC 2046: 1 to 70 of these, and no space at the end. In quotes where one of them is no character of a token. */
const FORM = /^multipart\/form-data *; *boundary=(?:"([\w'()+,\-./:=? ]{0,69}[\w'()+,\-./:=?])"|([\w'+\-.]{1,70}))$/i;

/**
 * The type of a form's body in its one form, fit to be read here or sent on.
 * @throws {LoopsyError} `invalid_request` for anything but a form with a sound boundary.
 */
export const formType = (header: string | undefined): string => {
  const [, quoted, plain] = FORM.exec(header ?? '') ?? [];
  const boundary = quoted ?? plain;
  if (boundary !== undefined) return `multipart/form-data; boundary="${boundary}"`;
  throw new LoopsyError('invalid_request', {
    message: 'this operation takes a form: multipart/form-data with a boundary',
    hint: 'curl: -F destPath=<path> -F file=@<file>',
  });
};
