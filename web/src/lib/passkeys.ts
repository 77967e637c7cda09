// Passkeys: the browser asks a phone, a key or the machine itself to prove who is there.
import { ApiError } from './api/error';

/** Whether this browser can; the server says whether it can under this address. */
export const knowsPasskeys = (): boolean =>
  typeof PublicKeyCredential === 'function' &&
  'parseCreationOptionsFromJSON' in PublicKeyCredential;

/** What the authenticator answers; the server reads it as any object. */
export type Shown = Record<string, never>;

async function answerOf(asked: Promise<Credential | null>): Promise<Shown> {
  try {
    const credential = await asked;
    if (credential instanceof PublicKeyCredential) {
      return credential.toJSON() as unknown as Shown;
    }
  } catch (failure) {
    const name = failure instanceof DOMException ? failure.name : '';
    if (name === 'InvalidStateError') throw new ApiError('passkey_known', 'Known already.');
    // The browser does not say whether it was refused, given up or timed out.
    if (name !== 'NotAllowedError' && name !== 'AbortError') throw failure;
  }
  throw new ApiError('passkey_cancelled', 'No passkey was shown.');
}

/** Makes a passkey of what the server asks for. */
export function makePasskey(options: PublicKeyCredentialCreationOptionsJSON): Promise<Shown> {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
  return answerOf(navigator.credentials.create({ publicKey }));
}

/** Shows a passkey as the server asks for it. */
export function showPasskey(options: PublicKeyCredentialRequestOptionsJSON): Promise<Shown> {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  return answerOf(navigator.credentials.get({ publicKey }));
}
